//! Recovery plans, by the real program: mistakes, runs that end, stop, crash, are resumed and rolled back, and the ready plans on real
//! data.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod checked;
#[path = "../kinds/cluster.rs"]
mod cluster;
mod databases;
mod ready;
mod runs;
mod undo;
#[path = "../kinds/world.rs"]
mod world;
