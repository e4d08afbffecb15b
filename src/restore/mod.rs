//! Bringing files back as they were: a plan, which is data, and then the act.

pub mod act;
mod attributes;
mod batch;
mod beside;
mod compare;
mod content;
mod decide;
mod delete;
pub mod error;
mod finish;
mod held;
mod open;
pub mod plan;
mod queue;
pub mod report;
mod roots;
mod walk;
