//! What several tests need: repositories with real captures, real file systems, and a look at trees.

#![allow(dead_code, unreachable_pub, reason = "each test binary is a crate of its own and uses a part")]

pub mod place;
pub mod repository;
pub mod tree;
