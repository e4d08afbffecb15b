//! The commands, one file each.

pub mod completions;
pub mod config_check;
pub mod index;
pub mod init;
pub mod restore;
pub mod snapshot;
pub mod source;
pub mod verify;
