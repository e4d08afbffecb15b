//! Disaster recovery between sites: how each stands against its objectives, which place of the repository goes on, and how histories
//! that two places wrote are brought together again.
//!
//! The repository of the settings is one place, and each site another. A promotion ([`crate::repo::promotion`]) makes one of them go on;
//! the others are fenced by it as soon as they learn of it. Nothing is ever undone: what a fenced place had captured beyond the promotion
//! stays in it, and is joined as a history of its own.

pub mod error;
pub mod estimate;
pub mod loss;
pub mod rejoin;
pub mod standing;
pub mod takeover;
