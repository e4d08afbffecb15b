//! A tree as of an instant: look-up, list, read; what led from one to another; the history of a path.

pub mod ahead;
pub mod before;
pub mod compare;
pub mod content;
pub mod diff;
pub mod find;
pub mod glob;
pub mod history;
pub mod instant;
#[cfg(test)]
mod model;
pub mod names;
pub mod positions;
pub mod timeline;
mod trail;
pub mod whose;
