//! Schedules: against a walk through every minute of two years, as a machine that goes through them, and as the command line
//! shows them.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod lines;
mod minutes;
mod simulated;
