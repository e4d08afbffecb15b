//! Retention: which snapshots of a source are kept, by which rules, and what each rule costs. It plans and acts on nothing.
//!
//! # What is promised
//!
//! A rule has a step and a window. The window of `daily = "90d"` reaches from the beginning of the day 90 days ago until now; that
//! of `every = "48h"`, in exact units, from the instant 48 hours ago.
//!
//! - **`every`**: each instant of its window shows what it would show had nothing ever been released.
//! - **`hourly` to `yearly`**: so does the end of each hour, day, week, month or year that ends in its window, and the end of the
//!   last one before; such an end is what the name of the period denotes. So an instant `t` of the window shows a snapshot that is
//!   never older than what the period before that of `t` ended with.
//! - **`lock`**: as `every`. No snapshot that an instant of its window shows is released, whatever the rules say.
//! - The newest snapshot of a source is kept, and all that a legal hold touches.
//! - With no rule at all everything is kept, also beside a `lock`.
//!
//! These hold after any number of plans that were acted on, however irregularly, with snapshots taken in between, and with
//! a clock that was put back by up to [`plan::SLACK_NS`] between two of them: a plan takes now to be that much earlier. They hold for
//! windows and a zone that stayed the same: what was released does not come back when a window is lengthened or the zone changed.
//!
//! # Why it holds
//!
//! A rule asks for instants: ends of periods, or each. A snapshot stands for those from its own time until just before the
//! next one's, and is kept where one of them lies in the window. What a rule asks for before the newest snapshot never changes,
//! since snapshots are only added after it; and where a window begins never moves back. So a snapshot that stands for none of the
//! instants asked for now never will, and once it has gone the snapshot before it stands only for instants that nobody asks for any
//! more: a plan of what a plan has left leaves all of it. Each rule holds by itself, whatever the others keep.
//! `promise_tests.rs` compares it with a history of which nothing was ever released.

pub mod cost;
pub mod maintain;
pub mod plan;
pub mod policy;
#[cfg(test)]
mod promise_tests;
pub mod vain;
