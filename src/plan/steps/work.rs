//! One attempt at a step, by its kind.

use super::{check, command, manual, postgres, restore, tell, wait};
use crate::plan::ground::{Did, Doing};
use crate::plan::model::Work;

/// Does it. The error says why it could not be done.
pub(in crate::plan) fn attempt(doing: &Doing<'_>) -> Result<Did, String> {
    match &doing.step.work {
        Work::Restore(what) => restore::run(doing, what),
        Work::Postgres(what) => postgres::run(doing, what),
        Work::Command { program, sets } => command::run(doing, program, sets.as_deref()),
        Work::Check(what) => check::run(doing, what),
        Work::Wait(what) => wait::run(doing, what),
        Work::Manual { ask } => manual::run(doing, ask),
        Work::Notify { channel, message } => tell::run(doing, channel.as_ref(), message),
    }
}
