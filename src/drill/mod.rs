//! Drills: a recovery plan run apart, over views of history and without a copy, and proof that what came back is what was there.

mod ahead;
pub mod coverage;
pub mod disaster;
pub mod error;
pub mod inside;
pub mod order;
pub mod outside;
pub mod overlays;
pub mod page;
pub mod place;
pub mod proof;
pub mod record;
mod scene;
pub mod verdicts;
pub mod when;
