//! Drills, by the real program: plans rehearsed apart over real repositories, what is proved of them, and that nothing of it stays.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "../kinds/cluster.rs"]
mod cluster;
mod databases;
mod invariants;
mod rehearsed;
#[path = "../kinds/world.rs"]
mod world;
