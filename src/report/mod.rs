//! The report on compliance: what was protected, how well, and what became of it, for a reader who does not know the tool.

pub mod coverage;
pub mod findings;
pub mod gather;
pub(crate) mod html;
pub mod kit;
pub mod model;
pub mod page;
mod sources;
mod trail;
