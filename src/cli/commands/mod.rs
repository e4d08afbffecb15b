//! The commands, one file each.

pub mod completions;
pub mod config_check;
pub mod source;
