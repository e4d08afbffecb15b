//! The watchers on real file systems. A small planner follows their hints; what it knows in the end must be what is there.

#![allow(clippy::disallowed_methods, reason = "tests change what is watched")]

mod follower;
mod limits;
mod moves;
mod places;
mod storm;
