//! When jobs run: schedules, the windows in which they must not, and a planner that says what is due.
//!
//! All of it is pure: it reads no clock and keeps nothing. [`model`] holds what [`parse`] reads; [`next`] goes from one run to
//! the next; [`blackout`] postpones; [`job`] puts them together, and [`planner`] goes through time with them.

pub mod blackout;
mod cron;
pub mod error;
pub mod job;
pub mod model;
pub mod next;
pub mod parse;
pub mod planner;
mod words;
