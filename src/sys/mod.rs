//! What touches the machine: files and their metadata, durable writing, the process itself.

pub mod dir;
pub mod meta;
pub mod mounts;
pub mod read;
pub mod stat;
