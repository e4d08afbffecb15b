//! The audit trail: who did what to the repository, when, and how it ended.
//!
//! Each run of a program writes a chain of its own, so that nobody waits for anybody; each entry names the one before it and the
//! newest entries of other runs that its host knows, by their hashes. So all entries hang together, and one that was altered or
//! removed is missed by another, or by a host that has seen it.

pub mod captures;
pub mod check;
pub mod entry;
pub mod error;
pub mod event;
pub mod found;
pub(super) mod known;
pub mod measured;
pub mod named;
pub mod order;
pub mod place;
pub mod policy;
pub mod who;
pub mod witness;
pub mod writer;
