//! Recovery plans: steps with what each needs, read from a file and checked, run with a journal, and taken back where they fail.

mod anchor;
mod attempt;
pub mod check;
pub mod checked;
pub mod error;
pub mod estimate;
pub mod graph;
pub mod ground;
pub mod inputs;
pub mod invariants;
pub mod journal;
mod made;
pub mod model;
pub mod parse;
pub mod places;
pub mod rates;
mod raw;
pub mod run;
pub mod show;
pub mod stage;
mod steps;
mod takeback;
pub mod template;
pub mod undo;
pub mod when;
