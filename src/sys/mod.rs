//! What touches the machine: files and their metadata, durable writing, the process itself.

pub mod apply;
pub mod dir;
pub mod durable;
pub mod flags;
pub mod make;
pub mod meta;
pub mod mounts;
pub mod process;
pub mod read;
mod resident;
pub mod stat;
#[cfg(test)]
pub(crate) mod testfs;
