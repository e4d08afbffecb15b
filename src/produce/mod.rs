//! Data that has to be made before it can be captured: what commands print, what the system says of itself, what a database
//! server hands out; and what runs before and after a snapshot.

pub mod archiver;
pub mod base;
mod command;
pub mod error;
pub mod go_on;
pub mod hooks;
pub mod invariants;
mod logical;
pub mod note;
pub mod past;
pub mod receiver;
pub mod run;
mod system;
pub mod take;
pub mod tools;
pub mod wal;
