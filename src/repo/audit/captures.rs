//! The snapshots of a process that watches, summed up: the journal is a chain of its own, so one entry for many is enough.

use crate::repo::audit::{
    error::AuditError,
    event::{Event, Kind, Outcome, bytes_value, snapshot_value},
    writer::Audit,
};
use crate::types::{
    snapshot::{Snapshot, Source},
    time::Instant,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// An entry is written when the oldest thing that it is to tell is so old, in nanoseconds.
pub const EVERY_NS: i64 = 3_600_000_000_000;

/// What has not been told of a source yet.
struct Untold {
    source: Source,
    first: Option<Snapshot>,
    last: Option<Snapshot>,
    count: u64,
    /// It has been watched since then, with nothing between.
    watched: Option<Instant>,
    /// Watching has ended.
    ended: bool,
}

/// What has not been told yet, of all sources of a process.
#[derive(Default)]
struct State {
    since: Option<Instant>,
    sources: BTreeMap<Vec<u8>, Untold>,
    /// What failed last, by source, and when that was told.
    failures: BTreeMap<Vec<u8>, (String, Instant)>,
}

/// The trail: of somebody else, or held together with others.
enum Held<'a> {
    By(&'a Audit),
    Shared(Arc<Audit>),
}

impl std::ops::Deref for Held<'_> {
    type Target = Audit;

    fn deref(&self) -> &Audit {
        match self {
            Held::By(audit) => audit,
            Held::Shared(audit) => audit,
        }
    }
}

/// Sums up the captures of a process that watches.
pub struct Captures<'a> {
    audit: Held<'a>,
    state: Mutex<State>,
}

impl<'a> Captures<'a> {
    /// Of a process that has captured nothing yet.
    pub fn new(audit: &'a Audit) -> Captures<'a> {
        Captures { audit: Held::By(audit), state: Mutex::default() }
    }

    /// The same, for whoever holds the trail together with others.
    pub fn shared(audit: Arc<Audit>) -> Captures<'static> {
        Captures { audit: Held::Shared(audit), state: Mutex::default() }
    }

    /// A source is watched now, and what it is was captured; with the snapshot, if there was anything to capture.
    pub fn captured(&self, source: &Source, snapshot: Option<&Snapshot>) -> Result<(), AuditError> {
        let now = self.audit.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.get_or_insert(now);
        state.failures.remove(&source.root);
        let untold = state.untold(source);
        untold.watched.get_or_insert(now);
        if let Some(snapshot) = snapshot {
            untold.first.get_or_insert_with(|| snapshot.clone());
            untold.last = Some(snapshot.clone());
            untold.count += 1;
        }
        self.tell_if_due(state, now)
    }

    /// A source is not watched any more.
    pub fn ended(&self, source: &Source) -> Result<(), AuditError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.sources.get_mut(&source.root) {
            None => Ok(()),
            Some(untold) => {
                untold.ended = true;
                self.tell(state)
            }
        }
    }

    /// A capture failed. The same failure of a source is told once an hour.
    pub fn failed(&self, source: &Source, why: &str) -> Result<(), AuditError> {
        let now = self.audit.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = state.failures.get(&source.root);
        if told.is_some_and(|(before, at)| before == why && now.0.saturating_sub(at.0) < EVERY_NS) {
            return Ok(());
        }
        state.failures.insert(source.root.clone(), (why.to_owned(), now));
        drop(state);
        let event = Event::new(Kind::Failure, Outcome::Failed).source(source);
        self.audit.record(event.detail("doing", "capture").detail("why", why))
    }

    /// Tells what is old enough; to be called now and then.
    pub fn tick(&self) -> Result<(), AuditError> {
        let now = self.audit.now();
        self.tell_if_due(self.state.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Tells all: the process ends.
    pub fn finish(&self) -> Result<(), AuditError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sources.values_mut().for_each(|untold| untold.ended = true);
        self.tell(state)
    }

    fn tell_if_due(&self, state: std::sync::MutexGuard<'_, State>, now: Instant) -> Result<(), AuditError> {
        match state.since {
            Some(since) if now.0.saturating_sub(since.0) >= EVERY_NS => self.tell(state),
            _ => Ok(()),
        }
    }

    fn tell(&self, mut state: std::sync::MutexGuard<'_, State>) -> Result<(), AuditError> {
        let now = self.audit.now();
        let told: Vec<Value> = state.sources.values().map(|untold| untold.value(now)).collect();
        let count: u64 = state.sources.values().map(|untold| untold.count).sum();
        state.sources.retain(|_, untold| !untold.ended);
        for untold in state.sources.values_mut() {
            (untold.first, untold.last, untold.count) = (None, None, 0);
            untold.watched = untold.watched.map(|_| now);
        }
        state.since = (!state.sources.is_empty()).then_some(now);
        drop(state);
        if told.is_empty() {
            return Ok(());
        }
        let event = Event::new(Kind::Captures, Outcome::Done);
        self.audit.record(event.detail("snapshots", count).detail("sources", told))
    }
}

impl State {
    fn untold(&mut self, source: &Source) -> &mut Untold {
        self.sources.entry(source.root.clone()).or_insert_with(|| Untold {
            source: source.clone(),
            first: None,
            last: None,
            count: 0,
            watched: None,
            ended: false,
        })
    }
}

impl Untold {
    fn value(&self, now: Instant) -> Value {
        json!({
            "host": self.source.host, "source": bytes_value(&self.source.root), "count": self.count,
            "first": self.first.as_ref().map(snapshot_value), "last": self.last.as_ref().map(snapshot_value),
            "watched_from_ns": self.watched.map(|at| at.0), "watched_to_ns": self.watched.map(|_| now.0),
        })
    }
}
