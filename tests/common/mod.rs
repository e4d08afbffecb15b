//! What several tests need: repositories with real captures, real file systems, and a look at trees.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod place;
pub mod repository;
pub mod tree;
