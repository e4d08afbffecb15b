//! Writing entries: one chain a run of a program.

use crate::crypto::{random, seal::ObjectKind};
use crate::repo::{
    audit::{
        entry::{self, Entry, Stored},
        error::AuditError,
        event::Event,
        known::{Known, State},
        place::{Place, Run, host_id},
        who::Who,
    },
    error::RepoError,
    names::Epoch,
    open::Repository,
    sealed,
};
use crate::store::api::StoreError;
use crate::sys::clock::Clock;
use crate::types::{ids::Hash, time::Instant};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// The trail, as one process writes it. Any number of threads may.
pub struct Audit {
    repo: Arc<Repository>,
    state: State,
    who: Who,
    clock: Arc<dyn Clock>,
    run: Mutex<Option<Writing>>,
    silent: bool,
}

/// The run of this process, from its first entry on.
struct Writing {
    run: Run,
    next: u64,
    previous: Hash,
    time: Instant,
    /// Entries that could not be stored yet, with the bytes of their objects.
    waiting: VecDeque<(Stored, Vec<u8>)>,
}

impl Audit {
    /// The trail of `repo`, with what this host knows of it in `dir`, the directory of the repository's state. Nothing is read or
    /// written before the first entry.
    pub fn open(repo: Arc<Repository>, dir: &Path, who: Who, clock: Arc<dyn Clock>) -> Audit {
        Audit { repo, state: State::in_dir(dir), who, clock, run: Mutex::default(), silent: false }
    }

    /// The same, which writes nothing: an entry in a copy would be missing in what it was copied from.
    #[must_use]
    pub fn silent(self) -> Audit {
        Audit { silent: true, ..self }
    }

    /// Who writes.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The time by the clock of the trail.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Records an event. When it returns, the entry is as durable as a snapshot is: in the store, or in the spool before it.
    ///
    /// An entry that could not be stored is tried again, before the next one. What was done is not undone by an error here: it is for the
    /// caller to tell it.
    pub fn record(&self, event: Event) -> Result<(), AuditError> {
        if self.silent {
            tracing::debug!("not recorded, since this is a copy: {}", event.kind.word());
            return Ok(());
        }
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let writing = match &mut *run {
            Some(writing) => writing,
            none => none.insert(self.begin()?),
        };
        let known = self.state.load()?;
        let next = self.next(writing, &known, event)?;
        writing.next += 1;
        writing.previous = next.0.hash;
        writing.time = next.0.entry.time();
        writing.waiting.push_back(next);
        self.store(writing)
    }

    /// Records an event and waits until its entry is in the store itself: before anything is deleted.
    pub fn record_durably(&self, event: Event) -> Result<(), AuditError> {
        self.record(event)?;
        self.repo.store().settle().map_err(AuditError::Waiting)
    }

    /// Learns what other runs have written, and takes a name that none of them has.
    fn begin(&self) -> Result<Writing, AuditError> {
        let learnt = self.state.update(|known| known.learn(&self.repo))?;
        match learnt {
            Ok(gone) => gone.iter().for_each(|name| {
                tracing::error!(
                    "the entry {name} of the audit trail was stored and is missing: `bygone audit verify` tells more"
                );
            }),
            Err(e) if e.is_away() => tracing::warn!("what other hosts wrote into the audit trail is not known: {e}"),
            Err(e) => return Err(e.into()),
        }
        let host = host_id(&self.repo, &self.who.host);
        let known = self.state.load()?;
        let last = known.runs.keys().filter(|run| run.host == host).map(|run| run.epoch.number()).max();
        let number = last.unwrap_or(0).checked_add(1).ok_or(RepoError::Full("runs of programs"))?;
        let epoch = Epoch::new(number, random::bytes().map_err(RepoError::from)?);
        let run = Run { host, epoch };
        Ok(Writing { run, next: 0, previous: Hash::ZERO, time: Instant(i64::MIN), waiting: VecDeque::new() })
    }

    fn next(&self, writing: &Writing, known: &Known, event: Event) -> Result<(Stored, Vec<u8>), AuditError> {
        let place = Place { run: writing.run.clone(), number: writing.next };
        let entry = Entry {
            version: Entry::version(),
            repository: self.repo.id().to_string(),
            run: place.run.to_string(),
            number: place.number,
            previous: writing.previous.to_string(),
            parents: known.unnamed(&place.run),
            // A clock that steps back does not make time run backwards within a run.
            time_ns: self.clock.now().max(writing.time).0,
            who: self.who.clone(),
            kind: event.kind.word().to_owned(),
            subject: event.subject,
            outcome: event.outcome.word().to_owned(),
            details: event.details,
        };
        let text = serde_json::to_string(&entry)?;
        let bytes = sealed::seal(&self.repo, ObjectKind::Audit, &place.name(), text.as_bytes())?;
        Ok((Stored { place, hash: entry::hash(text.as_bytes()), text, entry }, bytes))
    }

    /// Stores what waits, in order.
    fn store(&self, writing: &mut Writing) -> Result<(), AuditError> {
        while let Some((stored, bytes)) = writing.waiting.front() {
            let name = stored.place.name();
            match self.repo.store().put(&name, bytes) {
                Ok(()) => {}
                // What was said to have failed had not.
                Err(StoreError::Exists { .. })
                    if entry::read(&self.repo, &stored.place).is_ok_and(|there| there.hash == stored.hash) => {}
                Err(source) => return Err(AuditError::Store { name, source }),
            }
            self.state.update(|known| known.add_own(stored))?;
            writing.waiting.pop_front();
        }
        Ok(())
    }
}
