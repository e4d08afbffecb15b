//! Named immutable bytes: what a repository is kept in.

pub mod api;
pub mod cache;
pub mod counts;
pub mod credentials;
pub mod guard;
pub mod limit;
pub mod local;
pub mod s3;
pub mod s3_lock;
pub mod spool;
mod upload;
