//! Whether a directory, whatever put it there, equals an instant: proved by the index alone, and set down in a receipt.

pub mod aspects;
mod beside;
pub mod check;
mod content;
mod digest;
mod node;
mod readers;
pub mod receipt;
pub mod report;
