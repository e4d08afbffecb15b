//! What each kind of step does.

mod check;
mod command;
pub(super) mod manual;
mod newest;

pub(super) mod postgres;
pub(super) mod restore;
pub(super) mod same;
mod server;
mod sqlite;
mod tell;
mod wait;
mod walfeed;
pub(super) mod work;
