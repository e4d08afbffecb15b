//! The commands, one file each.

pub mod cat;
pub mod completions;
pub mod config_check;
pub mod diff;
pub mod find;
pub mod index;
pub mod init;
pub mod key;
pub mod list;
pub mod log;
pub mod mount;
mod produced;
pub mod protect;
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
pub mod wal;
pub mod watch;
