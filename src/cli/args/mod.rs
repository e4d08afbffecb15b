//! What can be said on the command line, and its help.

pub mod disaster;
pub mod dr;
pub mod drill;
pub mod evidence;
pub mod history;
pub mod kit;
pub mod of_host;
pub mod plan;
pub mod recovery;
pub mod repair;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod service;
pub mod setup;
pub mod sites;
pub mod times;
pub mod top;
pub mod upkeep;
pub mod wal;
pub mod watched;
