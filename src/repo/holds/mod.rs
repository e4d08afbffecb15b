//! Legal holds in the repository: what was done about each case, as objects that are only ever added.

pub mod error;
pub mod event;
pub mod force;
pub mod touched;
pub mod write;
