//! One snapshot of a source, from the hook before it to the hook after it: what everybody calls who takes one at a set time.

use crate::capture::{once::OnceError, report::Report};
use crate::config::kinds::{Kind, PostgresMode};
use crate::config::model::Source;
use crate::produce::error::{Failure, ProduceError, Produced};
use crate::produce::invariants::Measuring;
use crate::produce::run::{self, Ground, produce};
use crate::produce::{base, hooks, note};
use crate::repo::attach::Attached;
use crate::sys::durable;
use std::sync::Arc;

/// What a snapshot came to.
#[derive(Debug)]
pub struct Taken {
    /// What was captured.
    pub report: Report,
    /// What was produced before.
    pub produced: Produced,
    /// Hooks that failed.
    pub hooks: Vec<Failure>,
    /// Invariants that could not be measured or recorded.
    pub unmeasured: Vec<Failure>,
    /// What the audit trail is to tell of those that were.
    pub invariants: Option<serde_json::Value>,
}

impl Taken {
    /// All that failed beside the capture: what could not be produced, hooks, and what could not be measured.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.produced.failures.iter().chain(&self.hooks).chain(&self.unmeasured)
    }

    /// Whether everything was produced and captured, and every hook ended well.
    pub fn is_whole(&self) -> bool {
        let r = &self.report;
        let captured = r.problems.is_empty() && r.fuzzy_count() == 0 && r.altered.is_empty() && !r.forked;
        captured && self.failures().next().is_none()
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
    Once(#[from] OnceError),
}

/// Runs the hook before, produces, has all of the source captured by `capture`, and runs the hook after, which learns how it went.
///
/// Invariants of the source are measured between the two hooks, and those that are known from what was captured behind them.
///
/// What failed in part is in the result. The hook after runs also where the rest failed.
pub fn take<E: From<ProduceError>>(
    source: &Source,
    ground: &Ground<'_>,
    (at, host): (&Arc<Attached>, &str),
    capture: impl FnOnce() -> Result<Report, E>,
) -> Result<Taken, E> {
    let (mut failed, mut measuring) = (Vec::new(), Measuring::default());
    let before = hooks::before(source, ground);
    let is_known = before.is_ok();
    let taken = before.map_err(E::from).and_then(|failure| {
        failed.extend(failure);
        produce_and_capture(source, ground, &mut measuring, capture)
    });
    let status = match &taken {
        Ok(taken) if taken.is_whole() && failed.is_empty() && measuring.failures.is_empty() => "ok",
        Ok(_) => "partial",
        Err(_) => "failed",
    };
    failed.extend(hooks::after(source, status, ground));
    // Where there was no snapshot for the hook before, whoever asked for it has failed.
    if is_known || !failed.is_empty() {
        note::note_hooks(source, ground, &failed);
    }
    match taken {
        Ok(taken) => {
            let invariants = measuring.look(source, ground, (at, host), taken.report.snapshot.as_ref());
            note::note_invariants(source, ground, &measuring.failures);
            Ok(Taken { hooks: failed, unmeasured: measuring.failures, invariants, ..taken })
        }
        Err(e) => {
            for failure in failed {
                tracing::error!("{}: {} failed: {}", hooks::label(source), failure.what, failure.why);
            }
            Err(e)
        }
    }
}

fn produce_and_capture<E: From<ProduceError>>(
    source: &Source,
    ground: &Ground<'_>,
    measuring: &mut Measuring,
    capture: impl FnOnce() -> Result<Report, E>,
) -> Result<Taken, E> {
    // Until it is captured: so who watches the source does not capture it a moment before.
    let _going = match source.kind.is_produced() {
        true => {
            durable::create_dirs(ground.state, 0o700).map_err(ProduceError::from)?;
            Some(run::going(ground.state, source).map_err(ProduceError::from)?)
        }
        false => None,
    };
    let produced = produce(source, ground)?;
    let spent = match &source.kind {
        Kind::Postgres(server) if server.mode == PostgresMode::Physical => base::spent_wal(source)?,
        _ => Vec::new(),
    };
    measuring.ask(source, ground);
    let report = capture()?;
    // History has what the newest base does not need, once this snapshot has all of it.
    if report.snapshot.is_some() && report.problems.is_empty() {
        base::remove(&spent)?;
    }
    Ok(Taken { report, produced, hooks: Vec::new(), unmeasured: Vec::new(), invariants: None })
}
