//! Named immutable bytes: what a repository is kept in.

pub mod api;
pub mod cache;
pub mod limit;
pub mod local;
pub mod s3;
pub mod spool;
mod upload;
