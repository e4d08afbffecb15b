//! Other sites: copies of a repository in other stores, kept by comparing two listings. A copy is a repository with the same id and
//! the same keys, byte for byte, that can be mounted, verified and promoted.
//!
//! Plan, then act: what is missing is copied in an order in which nothing names what is not there yet, and authenticated on its way;
//! what collection has deleted at the origin goes at the site when a statement says so, and whatever else the origin lacks stays.

pub mod act;
pub mod error;
mod extra;
pub mod known;
mod listing;
pub mod plan;
pub mod run;
