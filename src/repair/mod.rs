//! Repair without a copy: what is whole is kept, what the disk still has is stored anew, what is lost is named. Nothing is deleted here,
//! and what was killed in the middle is begun again.

pub mod contents;
mod disk;
pub mod error;
pub mod ground;
pub mod histories;
