//! The commands, one file each.

pub mod audit;
pub mod cat;
pub mod completions;
pub mod config_check;
pub mod diff;
pub mod find;
pub mod hold;
mod hold_export;
pub mod index;
pub mod init;
pub mod key;
pub mod list;
pub mod log;
pub mod mount;
pub mod protect;
pub mod report;
pub mod restore;
mod restore_first;
pub mod retention;
pub mod schedule;
pub mod snapshot;
pub mod source;
pub mod status;
mod status_text;
pub mod umount;
pub mod verify;
pub mod watch;
