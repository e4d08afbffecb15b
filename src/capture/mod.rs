//! From a live directory into the repository: watch, scan, plan, read.

pub mod compare;
pub mod copy;
pub mod database;
pub mod dirty;
pub mod engine;
mod exclusive;
pub mod freeze;
pub mod heartbeat;
pub mod hold;
pub mod left_out;
pub mod once;
pub mod pace;
pub mod queue;
mod relative;
pub mod report;
pub mod resolve;
pub mod scan;
pub mod scope;
mod state;
pub mod steer;
pub mod visit;
pub mod watch;
pub mod watching;
mod way;
mod worker;
