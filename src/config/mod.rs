//! The settings: one TOML file, typed, with all defaults in one place.

pub mod check;
pub mod drill;
pub mod edit;
pub mod error;
pub mod invariant;
pub mod jobs;
pub mod kinds;
pub mod lenient;
pub mod limits;
pub mod load;
pub mod model;
pub mod own;
pub mod patterns;
pub mod places;
mod ranges;
pub mod retention;
pub mod roles;
pub mod site;
mod source;
mod values;
pub mod watched;
