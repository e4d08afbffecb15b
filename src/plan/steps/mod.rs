//! What each kind of step does.

mod check;
mod command;
pub(super) mod manual;
mod newest;
mod notify;
pub(super) mod postgres;
pub(super) mod restore;
mod same;
mod sqlite;
mod wait;
mod walfeed;
pub(super) mod work;
