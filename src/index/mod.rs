//! The index: one SQLite database a host and repository, derived from journal and packs, never the only place of anything.
//! The only room that knows SQLite.

pub mod apply;
pub mod ask;
pub mod bad;
pub mod beyond;
pub mod changes;
pub mod check;
pub mod chunks;
mod contents;
pub mod error;
mod frames;
pub mod history;
pub mod image;
pub mod live;
pub mod needs;
pub mod open;
pub mod packs;
pub mod paths;
pub mod release;
pub mod relink;
mod restate;
pub mod rows;
pub mod scan;
pub mod sources;
mod statement;
pub mod stats;
pub mod tree;
