//! The service: it supervises watching, schedules, upload and mounts, and answers at a socket.

mod answer;
mod backoff;
mod captures;
pub mod client;
mod control;
pub mod error;
pub mod host;
mod jobs;
mod metrics;
pub mod notices;
pub mod observed;
mod pause;
pub mod protocol;
mod pulse;
mod reload;
mod roles;
pub mod run;
pub mod runner;
mod shared;
mod sites;
pub mod standing;
mod supervisor;
mod task;
mod tasks;
mod trail;
mod watchdog;
mod work;
