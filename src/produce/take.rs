//! One snapshot of a source, from the hook before it to the hook after it: what everybody calls who takes one at a set time.

use crate::capture::{
    engine::{self, Plan, Settings},
    report::{CaptureError, Report},
    scope::Scope,
};
use crate::config::kinds::{Kind, PostgresMode};
use crate::config::model::Source;
use crate::produce::error::{Failure, ProduceError, Produced};
use crate::produce::run::{Ground, produce};
use crate::produce::{base, hooks};
use crate::repo::write::SourceWriter;

/// What a snapshot came to.
#[derive(Debug)]
pub struct Taken {
    /// What was captured.
    pub report: Report,
    /// What was produced before.
    pub produced: Produced,
    /// Hooks that failed.
    pub hooks: Vec<Failure>,
}

impl Taken {
    /// Whether everything was produced and captured, and every hook ended well.
    pub fn is_whole(&self) -> bool {
        let r = &self.report;
        let captured = r.problems.is_empty() && r.fuzzy.is_empty() && r.altered.is_empty();
        captured && self.produced.failures.is_empty() && self.hooks.is_empty()
    }
}

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Nothing could be produced, or the hook before failed.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The capture failed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// Runs the hook before, produces, captures what `plan` names, and runs the hook after, which learns how it went.
///
/// What failed in part is in the result. The hook after runs also where the rest failed.
pub fn take(
    source: &Source,
    writer: &mut SourceWriter,
    scope: &Scope,
    plan: &Plan,
    settings: &Settings<'_>,
    ground: &Ground<'_>,
) -> Result<Taken, TakeError> {
    let mut failed = Vec::new();
    let taken = hooks::before(source, ground).map_err(TakeError::from).and_then(|failure| {
        failed.extend(failure);
        produce_and_capture(source, writer, scope, plan, settings, ground)
    });
    let status = match &taken {
        Ok(taken) if taken.is_whole() && failed.is_empty() => "ok",
        Ok(_) => "partial",
        Err(_) => "failed",
    };
    failed.extend(hooks::after(source, status, ground));
    match taken {
        Ok(taken) => Ok(Taken { hooks: failed, ..taken }),
        Err(e) => {
            for failure in failed {
                tracing::error!("{}: {} failed: {}", hooks::label(source), failure.what, failure.why);
            }
            Err(e)
        }
    }
}

fn produce_and_capture(
    source: &Source,
    writer: &mut SourceWriter,
    scope: &Scope,
    plan: &Plan,
    settings: &Settings<'_>,
    ground: &Ground<'_>,
) -> Result<Taken, TakeError> {
    let produced = produce(source, ground)?;
    let spent = match &source.kind {
        Kind::Postgres(server) if server.mode == PostgresMode::Physical => base::spent_wal(source)?,
        _ => Vec::new(),
    };
    let report = engine::capture(writer, scope, plan, settings)?;
    // History has what the newest base does not need, once this snapshot has all of it.
    if report.snapshot.is_some() && report.problems.is_empty() && *plan == Plan::everything() {
        base::remove(&spent)?;
    }
    Ok(Taken { report, produced, hooks: Vec::new() })
}
