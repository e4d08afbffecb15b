//! What the operating system gives, behind small interfaces: the only room that reads the clock or writes files.

pub mod clock;
//! What touches the machine: files and their metadata, durable writing, the process itself.

pub mod apply;
pub mod dir;
pub mod durable;
pub mod make;
pub mod meta;
pub mod mounts;
pub mod process;
pub mod read;
pub mod stat;
#[cfg(test)]
mod testfs;
