//! The repository: the only room that knows store, index, chunks and keys together.

pub mod attach;
mod branch;
pub mod error;
pub mod fetch;
pub mod frames;
pub mod header;
pub mod ingest;
pub mod measure;
pub mod moment;
pub mod names;
pub mod open;
mod own;
pub mod pack;
mod parts;
pub mod record;
pub mod replay;
pub mod segment;
pub mod write;
