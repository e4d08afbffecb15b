//! A tree as of an instant: look-up, list, read.

pub mod content;
pub mod instant;
pub mod names;
pub mod timeline;
