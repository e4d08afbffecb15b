//! Maintaining a repository: what the policies do not keep is released, histories are merged, and what nothing needs is collected.
//!
//! First a plan, which changes nothing, then the act. What is released stands in the audit trail before it goes.

use crate::config::model::Config;
use crate::index::{apply::PATIENT, error::IndexError};
use crate::progress::Progress;
use crate::repo::{
    absent,
    attach::Attached,
    audit::{
        error::AuditError,
        event::{Event, Kind, Outcome},
        witness,
        writer::Audit,
    },
    collect::{
        locks,
        sweep::{self, Awaited, Collector, Marked, Swept},
    },
    error::RepoError,
    holds::{error::HoldsError, force},
    names::{self, Segment},
    promotion,
};
use crate::retention::{
    plan::{Moment, Terms, Verdict, plan},
    policy::Policy,
    vain,
};
use crate::types::{
    ids::{Id, Snap},
    path,
    role::Need,
    snapshot::Source,
    time::Instant,
    when::zone::Zone,
};
use std::collections::{HashMap, HashSet};

/// A history is merged when it has so many segments of its own,
const SEGMENTS_MIN: u64 = 1000;
/// and they are at least this share of its snapshots: so the work grows with what is new.
const SEGMENTS_SHARE: u64 = 4;
/// Snapshots are released when they are at least one in so many.
const RELEASED_SHARE: usize = 20;
/// The clock is believed as far as this behind the newest snapshot of a source, in nanoseconds: seven days. A source that nobody
/// captures any more, or a clock that has jumped ahead, releases nothing. A snapshot that lies further than this behind the one before
/// it may have been taken by such a clock: it is believed when snapshots have gone on for as long.
const AHEAD_NS: i64 = 7 * 86_400 * 1_000_000_000;
/// So many ranges of numbers are named in the audit trail.
const RANGES_MAX: usize = 200;

/// Why a repository could not be maintained.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// It is not known what legal holds keep.
    #[error("nothing is released, since it is not known what legal holds keep: {0}")]
    Holds(#[from] HoldsError),
    /// What would be released could not be written down.
    #[error("nothing is released, since it could not be written into the audit trail first: {0}")]
    Audit(#[from] AuditError),
    /// It is not known which snapshots the audit trail names.
    #[error("nothing is collected: {0}")]
    Trail(AuditError),
}

/// What is planned for a source.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The source.
    pub source: Source,
    /// What holds for it, with all locks that were ever set.
    pub policy: Policy,
    /// What keeps each snapshot.
    pub verdicts: Vec<Verdict>,
    /// Its segments that are not merged.
    pub segments: u64,
    /// Whether something of it is not in the repository any more, and is written again from the index.
    pub incomplete: bool,
    /// Whether what is released goes now, and its history is merged.
    pub merge: bool,
}

impl SourcePlan {
    /// The snapshots that are kept.
    pub fn kept(&self) -> Vec<Snap> {
        self.verdicts.iter().filter(|v| v.is_kept()).map(|v| v.moment.number).collect()
    }

    /// The snapshots that are not.
    pub fn released(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|v| !v.is_kept()).collect()
    }
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Maintained {
    /// Snapshots released.
    pub released: u64,
    /// Histories merged.
    pub merged: u64,
    /// Those of them of which something was lost, and was written again.
    pub restored: u64,
    /// What was marked.
    pub marked: Marked,
    /// What was deleted.
    pub swept: Swept,
    /// Hosts that the rest waits for.
    pub awaited: Vec<Awaited>,
}

/// What to do it with.
pub struct Maintenance<'a> {
    /// The repository, with an index that is up to date.
    pub at: &'a Attached,
    /// The settings, for the policies of this host's sources.
    pub config: &'a Config,
    /// The zone of the calendar.
    pub zone: &'a Zone,
    /// The time now.
    pub now: Instant,
    /// Whether to do also what is worth little.
    pub thorough: bool,
}

impl Maintenance<'_> {
    /// What would be done with each source of this host, by the policies, the locks and the legal holds. Changes nothing.
    pub fn plan(&self) -> Result<Vec<SourcePlan>, MaintainError> {
        let holds = force::in_force(self.at.repo(), self.at.dir())?;
        let locks = locks::locks(self.at.repo(), self.at.dir())?;
        let segments = self.segments()?;
        let reader = self.at.reader()?;
        let mut plans = Vec::new();
        for source in reader.sources()?.into_iter().filter(|s| s.host == self.config.host) {
            let policy = Policy::of(self.config, &source).with_kept(locks.get(&source.id));
            let snapshots = reader.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), usize::MAX >> 1)?;
            let moments: Vec<Moment> = snapshots.iter().map(|s| Moment { time: s.time, number: s.number }).collect();
            let now = believed(&moments, self.now);
            let terms = Terms { source: &source, policy: &policy, zone: self.zone, now, holds: &holds };
            let verdicts = plan(&terms, &moments);
            let segments = segments.get(&source.id).copied().unwrap_or(0);
            let incomplete = absent::is_incomplete(self.at, &source)?;
            // What lies behind lost records is none of the history that can be written.
            let whole = reader.beyond(source.num)?.is_none();
            let merge = whole && (incomplete || self.is_worth(&verdicts, segments));
            plans.push(SourcePlan { source, policy, verdicts, segments, incomplete, merge });
        }
        Ok(plans)
    }

    fn is_worth(&self, verdicts: &[Verdict], segments: u64) -> bool {
        let released = verdicts.iter().filter(|v| !v.is_kept()).count();
        let kept = (verdicts.len() - released) as u64;
        match self.thorough {
            true => released > 0 || segments > 1,
            false => {
                (released > 0 && released * RELEASED_SHARE >= verdicts.len())
                    || (segments >= SEGMENTS_MIN && segments >= kept / SEGMENTS_SHARE)
            }
        }
    }

    /// How many segments each source has that no merged history has taken the place of, nearly.
    fn segments(&self) -> Result<HashMap<Id, u64>, MaintainError> {
        let mut count = HashMap::new();
        for object in self.at.repo().store().list(names::JOURNAL).map_err(RepoError::from)? {
            if let Some(segment) = Segment::parse(&object.name) {
                *count.entry(segment.source).or_default() += 1;
            }
        }
        Ok(count)
    }

    /// Does what was planned. What is marked is deleted in the same run where no other host is waited for.
    pub fn act(
        &self,
        plans: &[SourcePlan],
        audit: &Audit,
        progress: &dyn Progress,
    ) -> Result<Maintained, MaintainError> {
        self.at.repo().check(Need::Collect)?;
        promotion::goes_on(self.at.repo())?;
        let mut done = Maintained::default();
        self.note_locks(plans, audit)?;
        let in_vain = plans.iter().filter_map(|plan| vain::line(&plan.source, &plan.policy));
        in_vain.for_each(|line| tracing::warn!("{line}"));
        self.restore(plans, &mut done)?;
        self.look_for_named()?;
        let mut collector = Collector::begin(self.at, &self.config.host, progress)?;
        let releasing = force::settled(self.at.dir())?;
        // A hold that was placed since it was planned counts.
        let planned = plans.iter().filter(|plan| plan.merge).map(|plan| plan.source.id);
        let planned: HashSet<Id> = planned.collect();
        for plan in self.plan()?.iter().filter(|plan| plan.merge && planned.contains(&plan.source.id)) {
            if !collector.can_merge(&plan.source)? {
                let root = path::show(&plan.source.root);
                tracing::warn!("nothing of {root} is released: a second writer's history branches off from it");
                continue;
            }
            self.release(plan, audit, &mut done)?;
            done.merged += u64::from(collector.merge(&plan.source)?.is_some());
        }
        drop(releasing);
        let before = collector.sweep(progress)?;
        done.marked = collector.mark(self.thorough, progress)?.unwrap_or_default();
        let after = collector.sweep(progress)?;
        done.swept = Swept {
            packs: before.packs + after.packs,
            bytes: before.bytes + after.bytes,
            objects: before.objects + after.objects,
            rescued: before.rescued + after.rescued,
            locked: before.locked + after.locked,
        };
        done.awaited = collector.awaited()?;
        audit.record(self.event(&done))?;
        Ok(done)
    }

    /// What the repository has lost is written again from the index, as it is. First of all: what is wrong with the repository may keep it
    /// from being collected.
    fn restore(&self, plans: &[SourcePlan], done: &mut Maintained) -> Result<(), MaintainError> {
        let reader = self.at.reader()?;
        for plan in plans.iter().filter(|plan| plan.incomplete) {
            // Another host's index may have what this one has lost too: it would take this history for the whole one.
            if !reader.lost(plan.source.num)?.is_empty() {
                let root = path::show(&plan.source.root);
                tracing::warn!(
                    "the history of {root} is not written again at once, since this host's index lacks some of it as well; good copies of \
                     the objects that `bygone verify` names bring it back"
                );
                continue;
            }
            if sweep::merge(self.at, &plan.source)?.is_some() {
                let root = path::show(&plan.source.root);
                tracing::warn!(
                    "what the repository had lost of the history of {root} was written again from this host's index"
                );
                done.restored += 1;
            }
        }
        Ok(())
    }

    /// What a record needs that the trail names and the journal lacks, nobody knows.
    fn look_for_named(&self) -> Result<(), MaintainError> {
        match witness::check(self.at).map_err(MaintainError::Trail)?.first() {
            None => Ok(()),
            Some(named) => Err(RepoError::Uncollectable { why: witness::why(named) }.into()),
        }
    }

    /// Locks of the settings are set in the repository, where they stay.
    fn note_locks(&self, plans: &[SourcePlan], audit: &Audit) -> Result<(), MaintainError> {
        let set = locks::locks(self.at.repo(), self.at.dir())?;
        for plan in plans {
            let there = set.get(&plan.source.id);
            for window in plan.policy.locks.iter().filter(|w| there.is_none_or(|there| !there.contains(w))) {
                let object = locks::set(self.at.repo(), plan.source.id, *window, self.now)?;
                let event = Event::new(Kind::Lock, Outcome::Done).source(&plan.source);
                audit.record_durably(event.detail("window", window.to_string()).detail("object", object))?;
            }
        }
        // What was set is seen.
        locks::locks(self.at.repo(), self.at.dir()).map(drop)?;
        Ok(())
    }

    fn release(&self, plan: &SourcePlan, audit: &Audit, done: &mut Maintained) -> Result<(), MaintainError> {
        let released = plan.released();
        let Some(last) = plan.verdicts.last() else { return Ok(()) };
        if released.is_empty() {
            return Ok(());
        }
        let ranges = ranges(&released);
        let times = (released[0].moment.time, released[released.len() - 1].moment.time);
        audit.record_durably(
            Event::new(Kind::Delete, Outcome::Begun)
                .source(&plan.source)
                .detail("snapshots", released.len())
                .detail("numbers", ranges)
                .detail("oldest_ns", times.0.0)
                .detail("newest_ns", times.1.0)
                .detail("authority", plan.policy.words()),
        )?;
        let gone = self.at.index().release(plan.source.num, (last.moment.number, &plan.kept()), PATIENT)?;
        done.released += gone.snapshots;
        Ok(())
    }

    fn event(&self, done: &Maintained) -> Event {
        let outcome = if done.swept.locked == 0 { Outcome::Done } else { Outcome::Partial };
        let awaited: Vec<String> = done.awaited.iter().map(|a| format!("{} ({})", a.host, a.id)).collect();
        Event::new(Kind::Maintain, outcome)
            .detail("released", done.released)
            .detail("merged", done.merged)
            .detail("restored", done.restored)
            .detail("marked_packs", done.marked.packs)
            .detail("deleted_packs", done.swept.packs)
            .detail("deleted_bytes", done.swept.bytes)
            .detail("deleted_journal_objects", done.swept.objects)
            .detail("waits_for", awaited)
    }
}

/// The time by which snapshots are as old as they are.
fn believed(moments: &[Moment], now: Instant) -> Instant {
    let Some(newest) = moments.last().map(|m| m.time.0) else { return now };
    let jump = moments.windows(2).rev().find(|pair| pair[1].time.0.saturating_sub(pair[0].time.0) > AHEAD_NS);
    let believed = match jump.map(|pair| (pair[0].time.0, newest.saturating_sub(pair[1].time.0))) {
        Some((before, since)) if since < AHEAD_NS => before.saturating_add(AHEAD_NS).saturating_add(since),
        _ => newest.saturating_add(AHEAD_NS),
    };
    Instant(now.0.min(believed))
}

/// Numbers as ranges: `3-7, 9`.
fn ranges(released: &[&Verdict]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in released.iter().map(|v| v.moment.number.0) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let more = ranges.len().saturating_sub(RANGES_MAX);
    let show = |(first, last): &(u64, u64)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    let mut text = ranges.iter().take(RANGES_MAX).map(show).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more range(s)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400 * 1_000_000_000;

    fn believed_after(days: &[i64], now: i64) -> i64 {
        let moment = |(n, day): (usize, &i64)| Moment { time: Instant(day * DAY), number: Snap(n as u64 + 1) };
        let moments: Vec<Moment> = days.iter().enumerate().map(moment).collect();
        believed(&moments, Instant(now * DAY)).0 / DAY
    }

    #[test]
    fn a_clock_that_jumped_is_believed_when_snapshots_went_on_for_a_week() {
        assert_eq!(believed_after(&[1, 2, 3], 4), 4);
        assert_eq!(believed_after(&[1, 2, 3], 4000), 10, "the clock alone");
        assert_eq!(believed_after(&[1, 2, 3, 2000], 2000), 10, "one snapshot by the same clock");
        assert_eq!(believed_after(&[1, 2, 3, 2000, 2002], 2002), 12);
        assert_eq!(believed_after(&[1, 2, 3, 2000, 2003, 2007], 2008), 2008);
        assert_eq!(believed_after(&[1, 2, 3, 2000], 4), 4, "it went back");
        assert_eq!(believed_after(&[], 4), 4);
    }
}
