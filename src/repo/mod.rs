//! The repository: the only room that knows store, index, chunks and keys together.

pub mod absent;
pub mod attach;
pub mod audit;
mod branch;
pub mod collect;
pub mod error;
pub mod fetch;
mod follow;
pub mod frames;
pub mod header;
pub mod holds;
pub mod ingest;
pub mod measure;
pub mod moment;
pub mod names;
mod noted;
pub mod open;
mod own;
pub mod pack;
mod parts;
pub mod record;
pub mod recording;
pub mod replay;
mod sealed;
pub mod segment;
pub mod verified;
pub mod write;
