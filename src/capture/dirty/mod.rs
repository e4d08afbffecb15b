//! What is dirty, and when to cut a snapshot: pure state machines, without threads, files or a clock of their own.

pub mod budget;
pub mod machine;
pub mod set;

#[cfg(test)]
mod tests;
