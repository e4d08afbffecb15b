//! Gathering what a report states.

use crate::config::model::Config;
use crate::index::error::IndexError;
use crate::repo::{
    attach::Attached,
    audit::{check, error::AuditError, event::Kind, who::Who},
    holds::{error::HoldsError, force, touched},
};
use crate::report::{
    findings,
    model::{Compliance, HoldRow, TrailState, When},
    sources, trail,
};
use crate::types::{
    hold::Scope,
    path,
    time::Instant,
    when::{show, zone::Zone},
};

/// Why a report can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The trail can't be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The holds can't be read.
    #[error(transparent)]
    Holds(#[from] HoldsError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] crate::repo::error::RepoError),
    /// There is nothing to report on.
    #[error(
        "the report would be on no time at all: it begins at {from} and ends at {to}; give an earlier --from or a later --to"
    )]
    NoTime {
        /// The beginning.
        from: String,
        /// The end.
        to: String,
    },
}

/// What is asked for.
pub struct Ask<'a> {
    /// The repository and the index, up to date with the journal.
    pub at: &'a Attached,
    /// The settings of this host.
    pub config: &'a Config,
    /// Who asks.
    pub who: &'a Who,
    /// The beginning of the span.
    pub from: Instant,
    /// Its end; nothing later than now is reported.
    pub to: Instant,
    /// Now.
    pub now: Instant,
    /// The zone that times are shown in.
    pub zone: &'a Zone,
}

/// Gathers it all: from the index, the settings, the holds and the whole audit trail.
pub fn gather(ask: &Ask<'_>) -> Result<Compliance, ReportError> {
    let to = ask.to.min(ask.now);
    if ask.from >= to {
        let (from, to) = (show::show(ask.from, ask.zone), show::show(to, ask.zone));
        return Err(ReportError::NoTime { from, to });
    }
    let checked = check::check(ask.at.repo(), ask.at.dir())?;
    let rows = |kinds: &[Kind]| trail::rows(&checked, (ask.from, to), |entry| trail::is_of(entry, kinds));
    let mut report = Compliance {
        version: 1,
        made: When(ask.now),
        made_by: text(&ask.who.words()),
        program: ask.who.program.clone(),
        repository: ask.at.repo().id().to_string(),
        location: text(&ask.at.repo().store().location()),
        from: When(ask.from),
        to: When(to),
        zone: ask.zone.name(),
        findings: Vec::new(),
        sources: sources::sources(ask, to, &checked)?,
        verifications: rows(&[Kind::Verify]),
        holds: holds(ask)?,
        hold_events: rows(&[Kind::HoldPlace, Kind::HoldLengthen, Kind::HoldRelease]),
        deletions: rows(&[Kind::Delete]),
        restores: rows(&[Kind::Restore, Kind::HoldExport, Kind::AuditExport, Kind::Mount, Kind::Unmount]),
        changes: rows(&[Kind::KeyAdd, Kind::KeyRemove, Kind::KeyRotate, Kind::Policy, Kind::AuditAccept]),
        failures: trail::rows(&checked, (ask.from, to), trail::has_failed),
        refused: trail::rows(&checked, (ask.from, to), trail::is_refused),
        trail: TrailState {
            entries: checked.entries.len() as u64,
            runs: checked.runs,
            problems: checked.problems.iter().map(trail::problem_words).collect(),
            newest: checked.entries.last().map(|stored| stored.hash.to_string()),
        },
    };
    report.findings = findings::findings(&report);
    Ok(report)
}

/// Text from outside for people: nothing in it can steer what shows it.
pub(super) fn text(text: &str) -> String {
    path::show(text.as_bytes())
}

fn holds(ask: &Ask<'_>) -> Result<Vec<HoldRow>, ReportError> {
    let cases = force::cases(ask.at.repo(), ask.at.dir())?;
    let open = cases.into_iter().flat_map(|case| case.placements);
    let open = open.filter(|p| !p.released && p.hold.is_in_force(ask.now));
    open.map(|p| {
        Ok(HoldRow {
            case: text(&p.hold.id),
            owner: text(&p.hold.owner),
            reason: text(&p.hold.reason),
            scope: scope(&p.hold.scope, ask.zone),
            touches: touched::count(&ask.at.reader()?, &p.hold)?,
            placed: When(p.event.time),
            until: p.hold.until.map(When),
        })
    })
    .collect()
}

fn scope(scope: &Scope, zone: &Zone) -> String {
    let list = |all: &[Vec<u8>]| all.iter().map(|p| path::show(p)).collect::<Vec<_>>().join(", ");
    let mut words = Vec::new();
    if !scope.paths.is_empty() {
        words.push(list(&scope.paths));
    }
    if !scope.sources.is_empty() {
        words.push(format!("the sources {}", list(&scope.sources)));
    }
    if !scope.hosts.is_empty() {
        words.push(format!("on {}", text(&scope.hosts.join(", "))));
    }
    words.extend(scope.from.map(|at| format!("from {}", show::show_second(at, zone))));
    words.extend(scope.to.map(|at| format!("to {}", show::show_second(at, zone))));
    if words.is_empty() { "everything".to_owned() } else { words.join("; ") }
}
