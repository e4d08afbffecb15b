//! What the service tells the audit trail: an entry that can't be written is told, and holds nothing up.

use crate::capture::watching::Event as Watching;
use crate::config::model::{Config, Source};
use crate::daemon::{
    error::{Trouble, told},
    runner::Ended,
};
use crate::produce::{error::Failure, take::Taken};
use crate::repo::audit::{
    captures::{Captures, EVERY_NS},
    error::AuditError,
    event::{Event, Kind, Outcome, bytes_value},
    measured,
    writer::Audit,
};
use crate::sys::{local::Peer, users};
use crate::types::snapshot;
use crate::verify::{check::Options, report as verify, told as verify_told};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// On whose word something is done.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// Somebody at the socket.
    Peer(&'a Peer),
    /// A job of the settings.
    Job(&'a str),
}

/// The trail of the repository of the settings, as the service writes it.
pub(super) struct Trail {
    audit: Arc<Audit>,
    captures: Captures<'static>,
    /// What failed last, and when that was told.
    failures: Mutex<BTreeMap<String, (String, i64)>>,
}

impl Trail {
    pub(super) fn new(audit: Audit) -> Trail {
        let audit = Arc::new(audit);
        Trail { captures: Captures::shared(audit.clone()), audit, failures: Mutex::default() }
    }

    pub(super) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Records an event.
    pub(super) fn record(&self, event: Event) {
        unwritten(self.audit.record(event));
    }

    /// What became of watching a source.
    pub(super) fn watching(&self, source: &snapshot::Source, event: &Watching) {
        unwritten(match event {
            Watching::Captured(report) => self.captures.captured(source, report.snapshot.as_ref()),
            Watching::Failed(e, _) => self.captures.failed(source, &e.to_string()),
            Watching::RootGone => self.captures.ended(source),
            Watching::Watching(..) | Watching::Begins | Watching::RootBack(_) => Ok(()),
        });
    }

    /// A source is not watched any more.
    pub(super) fn unwatched(&self, source: &snapshot::Source) {
        unwritten(self.captures.ended(source));
    }

    /// A snapshot that was asked for.
    pub(super) fn snapshot(&self, config: &Config, source: &Source, taken: &Result<Taken, Trouble>, by: By<'_>) {
        let ended = match taken {
            Ok(taken) if taken.report.problems.is_empty() && taken.failures().next().is_none() => Outcome::Done,
            Ok(_) => Outcome::Partial,
            Err(_) => Outcome::Failed,
        };
        let event = Event::new(Kind::Snapshot, ended)
            .about("host", config.host.as_str())
            .about("source", bytes_value(source.path.as_os_str().as_encoded_bytes()));
        let event = match taken {
            Err(e) => event.detail("why", told(&**e)),
            Ok(taken) => {
                let report = &taken.report;
                let event = event.detail("unreadable", report.problems.len()).detail("fuzzy", report.fuzzy_count());
                let event = event.detail("altered", report.altered.len());
                let event = event.detail("failures", taken.failures().map(Failure::to_string).collect::<Vec<_>>());
                let event = taken.invariants.iter().fold(event, |event, of| event.detail(measured::DETAIL, of.clone()));
                report.snapshot.iter().fold(event, |event, s| event.snapshot(s).detail("tier", s.tier.word()))
            }
        };
        self.record(asked(event, by));
    }

    /// The repository was checked.
    pub(super) fn verified(&self, options: &Options, report: &verify::Report, by: By<'_>) {
        self.record(asked(verify_told::event(options, report, verify_told::outcome(report)), by));
    }

    /// A site was brought up to date, or not.
    pub(super) fn replicated(&self, event: Event, by: Option<By<'_>>) {
        self.record(match by {
            Some(by) => asked(event, by),
            None => event,
        });
    }

    /// The service was told to do something other than a job.
    pub(super) fn control(&self, what: &str, done: Result<&str, &str>, by: By<'_>) {
        let event = match done {
            Ok(said) => Event::new(Kind::Control, Outcome::Done).detail("done", said),
            Err(why) => Event::new(Kind::Control, Outcome::Failed).detail("why", why),
        };
        self.record(asked(event.detail("asked", what), by));
    }

    /// History was mounted, or is so no more.
    pub(super) fn mount(&self, kind: Kind, outcome: Outcome, dir: &Path) {
        self.record(Event::new(kind, outcome).about("directory", bytes_value(dir.as_os_str().as_encoded_bytes())));
    }

    /// Something failed that nobody asked for by a command. The same is told once an hour.
    pub(super) fn failed(&self, doing: &str, why: &str) {
        let now = self.audit.now().0;
        {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let before = failures.get(doing);
            if before.is_some_and(|(told, at)| told == why && now.saturating_sub(*at) < EVERY_NS) {
                return;
            }
            failures.insert(doing.to_owned(), (why.to_owned(), now));
        }
        self.record(Event::new(Kind::Failure, Outcome::Failed).detail("doing", doing).detail("why", why));
    }

    /// A job has ended.
    pub(super) fn job_ended(&self, name: &str, ended: &Ended) {
        match ended {
            Ended::Failed(why) => self.failed(&format!("job {name}"), why),
            // It may fail in the same way again, and that is another failure.
            Ended::Done(_) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.remove(&format!("job {name}"));
            }
            Ended::Cancelled => {}
        }
    }

    /// Tells what is due; to be called now and then.
    pub(super) fn tick(&self) {
        unwritten(self.captures.tick());
    }

    /// Tells all that is not told yet.
    pub(super) fn finish(&self) {
        unwritten(self.captures.finish());
    }
}

fn asked(event: Event, by: By<'_>) -> Event {
    match by {
        By::Job(name) => event.detail("job", name),
        By::Peer(peer) => {
            let event = event.detail("asked_by_uid", peer.uid).detail("asked_by_pid", peer.pid);
            // A user without a name has a number.
            match users::name_of(peer.uid) {
                Ok(Some(name)) => event.detail("asked_by", name),
                _ => event,
            }
        }
    }
}

fn unwritten(recorded: Result<(), AuditError>) {
    if let Err(e) = recorded {
        tracing::error!("what was done is not in the audit trail: {e}");
    }
}
