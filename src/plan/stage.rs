//! Where a plan is rehearsed: restores show what history has, and copy nothing.

use super::model::{Step, Work};
use crate::types::time::Instant;
use std::path::Path;

/// What makes files appear without copying them. Called from several threads.
pub trait Stage: Sync {
    /// Makes what was at a path appear at another one, where it can be written and nobody else sees it. The error says why not.
    fn lay(&self, laying: &Laying<'_>) -> Result<(), String>;
}

/// What is to appear where.
#[derive(Debug, Clone, Copy)]
pub struct Laying<'a> {
    /// Whose history; that of this host if none.
    pub host: Option<&'a str>,
    /// As of when.
    pub at: Instant,
    /// What, by its absolute path then.
    pub path: &'a [u8],
    /// Where.
    pub to: &'a Path,
    /// Whether what is there now does not show beside it.
    pub alone: bool,
}

/// Why a step is left out of a rehearsal, if it is.
pub(super) fn left_out(step: &Step) -> Option<&'static str> {
    match &step.work {
        _ if step.drill_skips => Some("the plan says so for drills"),
        Work::Manual { .. } => Some("nobody is asked in a drill"),
        Work::Notify { .. } => Some("nobody is told anything in a drill"),
        _ => None,
    }
}
