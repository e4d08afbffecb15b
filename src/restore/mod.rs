//! Bringing files back as they were: a plan, which is data, and then the act.

pub mod act;
pub mod aside;
mod attributes;
mod batch;
mod beside;
pub mod check;
mod compare;
mod content;
mod decide;
mod delete;
pub mod error;
mod finish;
pub mod held;
pub mod kept;
mod leftover;
mod linked;
pub mod mapping;
pub mod mode;
mod needs;
mod open;
pub mod plan;
mod queue;
pub mod report;
mod roots;
pub mod stage;
mod walk;
pub mod went_back;
