//! The index: one SQLite database a host and repository, derived from journal and packs, never the only place of anything.
//! The only room that knows SQLite.

pub mod apply;
pub mod check;
pub mod chunks;
pub mod error;
pub mod open;
pub mod rows;
pub mod sources;
pub mod tree;
