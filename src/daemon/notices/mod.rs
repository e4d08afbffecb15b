//! Notifications: what is told to whom, once, and delivered however long that takes.

mod command;
pub mod deliver;
pub mod message;
mod outbox;
pub(super) mod run;
mod smtp;
mod webhook;
