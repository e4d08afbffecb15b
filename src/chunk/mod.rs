//! Content into chunks and frames and back: pure, no files, no keys of its own.

pub mod compress;
pub mod cut;
