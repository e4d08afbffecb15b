//! What the operating system gives, behind small interfaces: the clock, files and their metadata, durable writing, the
//! process itself. The only room that reads the clock or writes files.

pub mod account;
pub mod apart;
pub mod apply;
pub mod btrfs;
pub mod bucket;
pub mod buffer;
pub mod child;
pub mod clear;
pub mod clock;
pub mod dir;
pub mod durable;
mod family;
pub mod fanotify;
pub mod flags;
pub mod fuse;
pub mod layered;
pub mod lines;
pub mod local;
pub mod make;
pub mod meta;
pub mod mounts;
pub mod open_files;
pub mod overlay;
pub mod pressure;
pub mod probe;
pub mod process;
pub mod read;
mod resident;
pub mod room;
pub mod service;
pub mod shared;
pub mod space;
pub mod stat;
#[cfg(test)]
mod testfs;
pub mod users;
