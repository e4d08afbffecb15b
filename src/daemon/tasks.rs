//! The tasks that settings make: watching each source, upload, and the mount.

use crate::capture::{
    once,
    report::{CaptureError, Report},
    steer::Steering,
    watching::{self, Event, Options, WatchingError},
};
use crate::config::{error::Place, jobs, model::Source, retention::Retention};
use crate::daemon::{
    error::{self, Trouble},
    metrics, notices, recoveries,
    shared::{Current, Shared},
    sites,
    task::{Body, Task},
};
use crate::mount::session::{self, MountOptions};
use crate::produce::{go_on, run::is_going};
use crate::repo::{
    audit::event::{Kind, Outcome},
    replay,
};
use crate::schedule::blackout::Blackout;
use crate::types::path;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often a task that waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// A task that there should be.
pub(super) struct Planned {
    pub(super) name: String,
    /// What it is made of: a task with the same print need not be disturbed.
    pub(super) print: String,
    pub(super) source: Option<PathBuf>,
    pub(super) mount: Option<PathBuf>,
    pub(super) body: Body,
}

/// The tasks that there should be.
pub(super) fn planned(shared: &Arc<Shared>, current: &Current) -> Vec<Planned> {
    let config = &current.config;
    // Another repository, or the same one opened anew, is another one for everybody.
    let place = format!("{:p} {:?}", Arc::as_ptr(&current.at), config.host);
    let mut all: Vec<Planned> = config.sources.iter().map(|source| watch(shared, current, source, &place)).collect();
    if current.at.repo().store().waiting().is_ok_and(|waiting| waiting.is_some()) {
        all.push(upload(current, &place));
    }
    let continuous = config.sites.iter().filter(|site| site.continuous);
    all.extend(continuous.map(|site| sites::planned(shared, current, site, &place)));
    all.extend(config.metrics.listen.map(|address| metrics::planned(shared, address)));
    if !config.channels.is_empty() {
        all.push(notices::run::planned(shared, current));
    }
    all.extend(recoveries::planned(current, &place));
    all.extend(config.mount.at.as_deref().map(|dir| mount(current, dir, &place)));
    all
}

fn watch(shared: &Arc<Shared>, current: &Current, source: &Source, place: &str) -> Planned {
    // What only schedules and retention go by, and where it stands in the file, does not matter to watching.
    let plain = Source {
        at: Place::whole(&source.path),
        full: None,
        differential: None,
        // The times at which it is produced are those of a job.
        produce: None,
        blackout: Blackout::default(),
        jitter: Duration::ZERO,
        retention: None::<Retention>,
        ..source.clone()
    };
    let own = current.config.own_dirs();
    let print = format!("{place} {plain:?} {:?} {own:?}", current.config.capture);
    let (shared, current) = (shared.clone(), current.clone());
    Planned {
        name: format!("watch {}", source.path.display()),
        print,
        source: Some(source.path.clone()),
        mount: None,
        body: Arc::new(move |task| {
            let trail = &current.trail;
            watch_one(task, &shared, &current, &plain).inspect_err(|e| trail.failed(&task.name, &error::told(&**e)))
        }),
    }
}

/// Watches a source. What it begins with is captured as soon as nothing is paused.
fn watch_one(task: &Task, shared: &Shared, current: &Current, source: &Source) -> Result<(), Trouble> {
    if shared.pause.state().is_some() {
        task.note(Some("paused; watched, and captured when that is over".to_owned()));
    }
    if task.status().restarts > 0 {
        // What kept it from going on may have left the index behind.
        replay::catch_up(&current.at, &*task.pulse).map(drop).or_else(|e| if e.is_away() { Ok(()) } else { Err(e) })?;
    }
    let config = &current.config;
    let scope = once::scope(config, source)?;
    // From here on who wants a snapshot asks for it here, and does not take one beside this.
    let (wanted, _watching) = shared.captures.watching(&source.path);
    let writer = once::writer(config, &current.at, source)?;
    let recorded_as = writer.source().clone();
    let steering = Steering { wanted, hold: shared.pause.hold.clone(), alive: task.pulse.clone() };
    let events = |event: Event| {
        current.trail.watching(&recorded_as, &event);
        told(task, source, event);
    };
    let options = Options {
        source,
        capture: &config.capture,
        never: config.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).collect(),
        progress: &*task.pulse,
        events: &events,
        stop: &task.stop,
        steering: Some(&steering),
        is_going: &|| is_going(&config.state, source),
    };
    let zone = jobs::zone(config);
    let producing = go_on::begin((&config.state, zone), source, &task.stop)?;
    let ended = AtomicBool::new(false);
    let watched = std::thread::scope(|threads| {
        threads.spawn(|| producing.go_on(&ended, &task.stop));
        let watched = watching::watch(writer, scope, &options);
        ended.store(true, Ordering::Relaxed);
        watched
    });
    current.trail.unwatched(&recorded_as);
    match watched {
        // Asked to stop in the middle of the first capture: nothing of it was recorded, and nothing failed.
        Err(WatchingError::Capture(CaptureError::Stopped)) if task.is_stopped() => Ok(()),
        other => Ok(other?),
    }
}

fn told(task: &Task, source: &Source, event: Event) {
    let path = source.path.display();
    match event {
        Event::Watching(kind, status) => {
            tracing::info!("{path}: watched by {kind}");
            status.notes.iter().for_each(|note| tracing::warn!("{path}: {note}"));
            for part in status.unwatched {
                let dir = if part.dir.is_empty() { "the source itself".to_owned() } else { path::show(&part.dir) };
                tracing::warn!("{path}: {dir} is not watched but scanned at an interval: {}", part.why);
            }
        }
        Event::Begins => task.note(Some("capturing for the first time since the service began".to_owned())),
        Event::Captured(report) => {
            captured(source, &report);
            task.note(report.snapshot.map(|s| format!("snapshot {}", s.number.0)).or(task.status().note));
        }
        Event::Failed(e, again) => {
            tracing::error!("cannot capture {path}: {e}; trying again in {} s", again.as_secs());
            task.note(Some(format!("the last capture failed: {e}")));
        }
        Event::RootGone => tracing::warn!("{path} is not there any more; waiting for it to come back"),
        Event::RootBack(true) => tracing::info!("{path} is there again"),
        Event::RootBack(false) => tracing::warn!("{path} is there again, but is another directory than before"),
    }
}

/// Tells what of a capture somebody should know.
pub(super) fn captured(source: &Source, report: &Report) {
    let root = source.path.as_os_str().as_encoded_bytes();
    let show = |rel: &[u8]| path::show(&path::join(root, rel));
    for problem in &report.problems {
        tracing::error!("{}: {}; not captured", show(&problem.path), problem.why);
    }
    for fuzzy in &report.fuzzy {
        tracing::warn!("{}: changed all the time while it was read", show(fuzzy));
    }
    for problem in &report.no_image {
        tracing::warn!("{}: {}", show(&problem.path), problem.why);
    }
    for altered in &report.altered {
        tracing::error!("{}: its bytes have changed, and neither its times nor its size", show(altered));
    }
}

/// Brings on what is captured and waits on this host.
fn upload(current: &Current, place: &str) -> Planned {
    let at = current.at.clone();
    let body: Body = Arc::new(move |task| {
        let store = at.repo().store();
        store.start();
        while !task.is_stopped() {
            let waiting = store.waiting()?.unwrap_or_default();
            task.note(Some(match waiting.objects {
                0 => "everything is stored".to_owned(),
                n => format!("{n} object(s) wait, {} bytes", waiting.bytes),
            }));
            rest(task);
        }
        Ok(())
    });
    Planned { name: "upload".to_owned(), print: place.to_owned(), source: None, mount: None, body }
}

fn mount(current: &Current, dir: &Path, place: &str) -> Planned {
    let print = format!("{place} {:?} {:?}", current.config.mount, current.config.own_dirs());
    let (current, at) = (current.clone(), dir.to_owned());
    let body: Body = Arc::new(move |task| {
        let options = MountOptions::of(&current.config)?;
        let trail = &current.trail;
        let mounted = session::mount(current.at.clone(), &options, &at)
            .inspect_err(|e| trail.failed(&task.name, &error::told(e)))?;
        trail.mount(Kind::Mount, Outcome::Done, &at);
        tracing::info!("the history is mounted on {}", at.display());
        while mounted.wait(LOOK) {
            task.pulse.beat();
            if task.is_stopped() {
                let ended = mounted.unmount();
                trail.mount(Kind::Unmount, if ended.is_ok() { Outcome::Done } else { Outcome::Failed }, &at);
                return Ok(ended?);
            }
        }
        trail.mount(Kind::Unmount, Outcome::Done, &at);
        let to_do = "where it is not wanted, take `at` out of [mount] in the settings and run `bygone reload`";
        Err(format!("somebody unmounted it, and it is mounted again; {to_do}").into())
    });
    let name = format!("mount {}", dir.display());
    Planned { name, print, source: None, mount: Some(dir.to_owned()), body }
}

fn rest(task: &Task) {
    task.pulse.beat();
    std::thread::sleep(LOOK);
}
