//! How everything stands, for those who watch over it: facts, and what metrics and checks of health make of them.

pub mod exposition;
pub mod facts;
pub mod gather;
pub mod health;
#[cfg(test)]
mod health_tests;
pub mod metrics;
pub mod verified;
