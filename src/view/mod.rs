//! A tree as of an instant: look-up, list, read.

pub mod content;
pub mod instant;
