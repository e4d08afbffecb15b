//! How well each source was protected.

use crate::capture::heartbeat::heartbeat;
use crate::repo::{
    audit::{
        check::Trail,
        entry::Entry,
        event::{Kind, value_bytes},
    },
    collect::locks,
};
use crate::report::{
    coverage::{self, Span, cover},
    gather::{Ask, ReportError, text},
    model::{Protected, SOME, Stretch, When},
};
use crate::retention::policy::Policy;
use crate::types::{
    op::Gap,
    path,
    snapshot::{Lost, Snapshot, Source},
    time::Instant,
};
use serde_json::Value;
use std::os::unix::ffi::OsStrExt as _;

/// All sources of the repository, and those of the settings that have no snapshot yet.
pub(super) fn sources(ask: &Ask<'_>, to: Instant, trail: &Trail) -> Result<Vec<Protected>, ReportError> {
    let index = ask.at.reader()?;
    let kept = locks::locks(ask.at.repo(), ask.at.dir())?;
    let mut known = index.sources()?;
    known.sort_by(|a, b| (&a.host, &a.root).cmp(&(&b.host, &b.root)));
    let mut out = Vec::new();
    for source in &known {
        let policy = Policy::of(ask.config, source).with_kept(kept.get(&source.id));
        out.push(protected((ask, trail), to, &index, (source, &policy))?);
    }
    for source in &ask.config.sources {
        let root = source.path.as_os_str().as_bytes();
        if !known.iter().any(|k| k.host == ask.config.host && k.root == root) {
            out.push(never(ask, root));
        }
    }
    Ok(out)
}

/// A source of the settings without a snapshot.
fn never(ask: &Ask<'_>, root: &[u8]) -> Protected {
    Protected {
        host: text(&ask.config.host),
        source: path::show(root),
        in_settings: true,
        since: None,
        last: None,
        recovery_points: 0,
        changes: 0,
        incomplete: Vec::new(),
        objective_ns: objective(ask, &ask.config.host, root),
        longest_ns: 0,
        longest_from: None,
        met_percent: None,
        missed: Vec::new(),
        missed_count: 0,
        gaps: Vec::new(),
        gap_count: 0,
        lost: Vec::new(),
        retention: Vec::new(),
    }
}

/// The settings of this host say nothing of others.
fn objective(ask: &Ask<'_>, host: &str, root: &[u8]) -> Option<i64> {
    let own = ask.config.sources.iter().find(|s| s.path.as_os_str().as_bytes() == root);
    let own = own.filter(|_| host == ask.config.host)?;
    let objective = own.objective.or(ask.config.compliance.objective)?;
    i64::try_from(objective.as_nanos()).ok()
}

fn protected(
    (ask, trail): (&Ask<'_>, &Trail),
    to: Instant,
    index: &crate::index::tree::Reader,
    (source, policy): (&Source, &Policy),
) -> Result<Protected, ReportError> {
    let all = index.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), i64::MAX as usize)?;
    let since = all.first().map(|s| s.time);
    let from = since.map_or(ask.from, |since| since.max(ask.from));
    let inside = |at: Instant| at >= ask.from && at <= to;
    let in_span: Vec<&Snapshot> = all.iter().filter(|s| inside(s.time)).collect();
    let gaps = index.gaps(source.num, ask.from, to)?;
    let mut fresh = watched(trail, source, &gaps, watching_now(ask, source, &all));
    fresh.extend(all.iter().map(|s| (s.time.0, s.time.0)));
    let objective_ns = objective(ask, &source.host, &source.root);
    let span = (from.0.min(to.0), to.0);
    // A source that came later than the span has nothing to be measured.
    let covered = if from < to { cover(span, &fresh, objective_ns) } else { coverage::Coverage::default() };
    let mut missed: Vec<Stretch> = covered.missed.iter().map(|span| stretch(*span, &gaps)).collect();
    let missed_count = missed.len() as u64;
    missed.sort_by_key(|s| s.from.0.0.saturating_sub(s.to.0.0));
    missed.truncate(SOME);
    let lost = index.lost(source.num)?.into_iter().filter(|l| l.before >= ask.from && l.after <= to);
    Ok(Protected {
        host: text(&source.host),
        source: path::show(&source.root),
        in_settings: policy.is_named,
        since: since.map(When),
        last: in_span.last().map(|s| When(s.time)),
        recovery_points: in_span.len() as u64,
        changes: in_span.iter().map(|s| s.counts.new + s.counts.changed + s.counts.removed).sum(),
        incomplete: incomplete(trail, source, to),
        objective_ns,
        longest_ns: covered.longest_ns,
        longest_from: covered.longest_from.map(|at| When(Instant(at))),
        met_percent: covered.met_percent,
        missed,
        missed_count,
        gaps: gaps.iter().take(SOME).map(gap).collect(),
        gap_count: gaps.len() as u64,
        lost: lost.map(|l| lost_stretch(&l, to)).collect(),
        retention: if policy.is_named { policy.words() } else { Vec::new() },
    })
}

/// What could not be produced of a source, or which of its hooks failed, at its last snapshot by `to` that the trail tells of.
fn incomplete(trail: &Trail, source: &Source, to: Instant) -> Vec<String> {
    let is_it = |entry: &Entry| {
        let subject = &entry.subject;
        entry.kind == Kind::Snapshot.word()
            && entry.time() <= to
            && subject.get("host").is_some_and(|host| *host == source.host.as_str())
            && subject.get("source").and_then(value_bytes).as_deref() == Some(&source.root)
    };
    let told = trail.entries.iter().map(|stored| &stored.entry).filter(|entry| is_it(entry));
    let failures = told.max_by_key(|entry| entry.time()).and_then(|entry| entry.details.get("failures")?.as_array());
    failures.into_iter().flatten().filter_map(|failure| failure.as_str().map(text)).collect()
}

/// Since its last snapshot, until what the process that watches has seen: it has not told the audit trail yet. Where nothing
/// watched in between, that is a gap.
fn watching_now(ask: &Ask<'_>, source: &Source, all: &[Snapshot]) -> Option<Span> {
    if source.host != ask.config.host {
        return None;
    }
    let beat = heartbeat(ask.at.dir(), &source.root).filter(|beat| !beat.root_gone)?;
    let last = all.iter().map(|s| s.time.0).rfind(|time| *time <= beat.seen_until_ns)?;
    Some((last, beat.seen_until_ns))
}

/// The times in which a source was watched and capture of all of it was not blind, as the audit trail has them.
fn watched(trail: &Trail, source: &Source, gaps: &[Gap], now: Option<Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = now.into_iter().collect();
    for stored in trail.entries.iter().filter(|s| s.entry.kind == Kind::Captures.word()) {
        for told in stored.entry.details.get("sources").and_then(Value::as_array).into_iter().flatten() {
            let is_it =
                told["host"] == source.host.as_str() && value_bytes(&told["source"]).as_deref() == Some(&source.root);
            if let (true, Some(from), Some(to)) =
                (is_it, told["watched_from_ns"].as_i64(), told["watched_to_ns"].as_i64())
            {
                spans.push((from, to));
            }
        }
    }
    let blind = gaps.iter().filter(|g| g.subtree.is_empty()).map(|g| (g.from.0, g.to.0)).collect();
    let blind = coverage::merged(blind);
    coverage::merged(spans).into_iter().flat_map(|span| coverage::without(span, &blind)).collect()
}

fn stretch((from, to): Span, gaps: &[Gap]) -> Stretch {
    let gap = gaps.iter().find(|g| g.from.0 < to && g.to.0 > from);
    let why =
        gap.map_or("no recovery point was made".to_owned(), |gap| format!("capture was blind: {}", text(&gap.why)));
    Stretch { from: When(Instant(from)), to: When(Instant(to)), why }
}

fn gap(gap: &Gap) -> Stretch {
    let below = if gap.subtree.is_empty() { String::new() } else { format!(" (below {})", path::show(&gap.subtree)) };
    Stretch { from: When(gap.from), to: When(gap.to), why: format!("{}{below}", text(&gap.why)) }
}

fn lost_stretch(lost: &Lost, to: Instant) -> Stretch {
    let why = format!("snapshots {} to {}: {}", lost.first, lost.last, text(&lost.why));
    Stretch { from: When(lost.after), to: When(if lost.is_open() { to } else { lost.before }), why }
}
