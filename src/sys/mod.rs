//! The clock, and files that last.

pub mod durable;
