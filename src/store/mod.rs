//! Named immutable bytes: what a repository is kept in.

pub mod api;
pub mod local;
