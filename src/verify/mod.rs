//! Checking a repository: its structure always, every byte on demand. Every problem is listed; none hides another.

pub mod against;
pub mod chains;
pub mod check;
mod data;
pub mod files;
mod journal;
mod keys;
mod merged;
mod others;
mod packs;
pub mod report;
pub mod told;
pub mod tree;
