//! The life of a recovery: the overlay is there at once, the plain directory is filled, and takes its place.

use crate::mount::session::{MountOptions, Mounted};
use crate::recover::{
    error::{RecoverError, io, users_text},
    fill::{self, Filled},
    layers::{self, Places},
    state::{Phase, Request, State, Swap},
    swap::{self, Held},
    told::Told,
};
use crate::repo::attach::Attached;
use crate::sys::{durable, mounts::Mount, open_files, overlay, process};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant as Clock},
};

/// How often it is looked what is asked.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether the swap can be.
const TRY: Duration = Duration::from_secs(1);
/// How often it is told that what is read has to be kept.
const HOLD: Duration = Duration::from_secs(3600);
/// How the problem begins that somebody is told who wants to give it up.
pub const NOT_NOW: &str = "it can't be given up now";
/// Filling yields to everybody else.
const NICE: i32 = 10;

/// What a recovery works with.
pub struct Setup<'a> {
    /// The repository and the index.
    pub at: Arc<Attached>,
    /// How history is mounted.
    pub options: MountOptions,
    /// The host, as the settings call it.
    pub host: &'a str,
    /// Set when the process is to end.
    pub stop: Arc<AtomicBool>,
}

/// What is told while it runs. None of it changes what is done.
pub trait Listener {
    /// What it reads from now on has to be kept, whatever retention says. Told before the directory can be used where the store is near, and
    /// behind that where it is far away; and again now and then.
    fn reading(&self, state: &State);
    /// The directory can be used.
    fn usable(&self, state: &State);
    /// The plain directory is filled: what uses the directory may be stopped for the swap. Told once.
    fn filled(&self, state: &State);
    /// The plain directory takes its place now, in a moment.
    fn swapping(&self, state: &State);
    /// It has its place.
    fn swapped(&self, state: &State);
    /// It was given up; what was written is in this directory.
    fn abandoned(&self, state: &State, kept: Option<&Path>);
    /// Nothing of the repository is read for it any more.
    fn over(&self, state: &State);
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It is a plain directory.
    Swapped,
    /// It was given up.
    Abandoned,
    /// The process was told to end; it can be gone on with.
    Interrupted,
}

/// Works on a recovery until it ends. `is_new` for one that was just begun: it is taken back where the directory can't be given.
pub fn run(setup: &Setup<'_>, mut state: State, is_new: bool, listener: &dyn Listener) -> Result<Ended, RecoverError> {
    let path = state.path().display().to_string();
    let Some(lock) = state.lock()? else {
        let pid = state.worker()?.unwrap_or_default();
        return Err(RecoverError::UnderWay { path, pid });
    };
    let state = &mut state;
    if state.phase == Phase::Merging
        && let Err(e) = swap::merge(state)
    {
        tracing::error!("{e}; the directory is filled anew");
        swap::start_over(state)?;
    }
    let mut view = None;
    if matches!(state.phase, Phase::Overlay | Phase::Filled) {
        view = Some(match begin(setup, state) {
            Ok(view) => view,
            Err(e) if is_new => {
                take_back(state, setup.at.dir());
                return Err(e);
            }
            Err(e) => return Err(e),
        });
        let mut held = None;
        if !setup.at.repo().store().far() {
            listener.reading(state);
            held = Some(Clock::now());
        }
        listener.usable(state);
        let live = Live {
            setup,
            state,
            listener,
            filling: None,
            finishing: false,
            announced: false,
            told: Told::default(),
            held,
        };
        let ended = live.serve()?;
        if let Some(ended) = ended {
            drop(view);
            return end(setup, state, listener, ended, lock);
        }
    }
    let mut lingers = None;
    if state.phase == Phase::Swapping {
        if view.is_none() {
            // Of one that was begun by a process that is gone.
            listener.swapping(state);
        }
        lingers = take_away(state)?;
        swap::exchange(state)?;
        listener.swapped(state);
    }
    if let Some(mount) = lingers {
        linger(&mount, &setup.stop)?;
    }
    drop(view);
    drop(lock);
    layers::unmount_before(state)?;
    layers::unmount_view(state)?;
    // Whoever is told of the end finds nothing held.
    listener.over(state);
    layers::remove(state)?;
    state.forget(setup.at.dir())?;
    Ok(Ended::Swapped)
}

/// Mounts the view and the overlay.
fn begin(setup: &Setup<'_>, state: &mut State) -> Result<Mounted, RecoverError> {
    layers::unmount_left(state)?;
    layers::unmount_view(state)?;
    Places::of(state).make()?;
    let view = layers::mount_view(&setup.at, &setup.options, state)?;
    layers::mount_overlay(&setup.at, setup.host, state)?;
    Ok(view)
}

/// Undoes a beginning that failed: nothing was written into the directory yet.
fn take_back(state: &State, dir: &Path) {
    let undone = (|| {
        layers::unmount_left(state)?;
        if state.was_missing {
            remove_empty(&state.path());
        }
        layers::remove(state)?;
        state.forget(dir)
    })();
    if let Err(e) = undone {
        tracing::error!("what was begun could not be taken back: {e}");
    }
}

/// A directory that was made to mount on goes, unless somebody has put something there.
fn remove_empty(path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    let removed = crate::sys::dir::open_root(parent).and_then(|fd| crate::sys::make::remove_dir(&fd, name.as_bytes()));
    if let Err(e) = removed {
        tracing::warn!("{} was made to mount on and stays: {e}", path.display());
    }
}

/// Takes the overlay away, which nobody can write to any more. The mount, if somebody still reads in it.
fn take_away(state: &State) -> Result<Option<Mount>, RecoverError> {
    let point = state.path();
    let mut lingers = None;
    while let Some(mount) = overlay::on(&point).map_err(io("tell what is mounted on", &point))? {
        match overlay::unmount(&point) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                overlay::detach(&point).map_err(io("unmount", &point))?;
                lingers = Some(mount);
            }
            Err(e) => return Err(io("unmount", &point)(e)),
        }
    }
    layers::unmount_before(state)?;
    Ok(lingers)
}

/// Waits until nobody has anything open in the overlay that was taken away: it reads from the view.
fn linger(mount: &Mount, stop: &AtomicBool) -> Result<(), RecoverError> {
    let mut told = Told::default();
    while !stop.load(Ordering::Relaxed) {
        let point = Path::new(std::ffi::OsStr::new("/proc"));
        let users = open_files::users_of(mount.id, None).map_err(io("tell who reads by", point))?;
        if users.is_empty() {
            return Ok(());
        }
        told.once(&format!("the directory is plain; {} still read what it was before", users_text(&users)));
        std::thread::sleep(TRY);
    }
    Ok(())
}

/// The end without a swap.
fn end(
    setup: &Setup<'_>,
    state: &mut State,
    listener: &dyn Listener,
    ended: Ended,
    lock: durable::LockGuard,
) -> Result<Ended, RecoverError> {
    if ended == Ended::Abandoned {
        let kept = give_up(state, setup.at.dir())?;
        listener.abandoned(state, kept.as_deref());
        listener.over(state);
    }
    drop(lock);
    Ok(ended)
}

/// Gives it up: nothing may be mounted any more. What was written into the directory is kept, and where.
pub fn give_up(state: &mut State, dir: &Path) -> Result<Option<std::path::PathBuf>, RecoverError> {
    if matches!(state.phase, Phase::Merging | Phase::Swapping | Phase::Swapped) {
        return Err(RecoverError::TooLate { path: state.path().display().to_string() });
    }
    layers::unmount_left(state)?;
    let places = Places::of(state);
    layers::unmount_view(state)?;
    state.phase = Phase::Abandoned;
    state.save()?;
    if state.was_missing {
        remove_empty(&state.path());
    }
    let kept = match layers::is_empty(&places.upper())? {
        true => {
            layers::remove(state)?;
            None
        }
        false => {
            layers::remove_but_upper(state)?;
            Some(places.upper())
        }
    };
    state.forget(dir)?;
    Ok(kept)
}

/// The thread that fills the plain directory.
type Filling = JoinHandle<Result<Filled, RecoverError>>;

/// A recovery whose overlay is there.
struct Live<'a, 'b> {
    setup: &'a Setup<'b>,
    state: &'a mut State,
    listener: &'a dyn Listener,
    filling: Option<(Filling, Arc<AtomicBool>)>,
    /// Somebody has asked for the swap.
    finishing: bool,
    /// That the swap is to come was told.
    announced: bool,
    told: Told,
    /// When it was told last that what is read has to be kept.
    held: Option<Clock>,
}

impl Live<'_, '_> {
    /// Goes on until the swap is to be done, which gives `None`, or it ends otherwise.
    fn serve(mut self) -> Result<Option<Ended>, RecoverError> {
        if self.state.phase == Phase::Overlay && self.state.fill {
            self.start_filling()?;
        }
        let mut tried: Option<Clock> = None;
        loop {
            if self.held.is_none_or(|at| at.elapsed() >= HOLD) {
                self.listener.reading(self.state);
                self.held = Some(Clock::now());
            }
            std::thread::sleep(LOOK);
            self.filled()?;
            if self.setup.stop.load(Ordering::Relaxed) {
                return self.interrupted().map(Some);
            }
            match self.state.asked() {
                Some(Request::Finish) => self.finish()?,
                Some(Request::Abandon) if self.abandon()? => return Ok(Some(Ended::Abandoned)),
                Some(Request::Abandon) | None => {}
            }
            let due = self.finishing || self.state.swap != Swap::Manual;
            if self.state.phase == Phase::Filled && due && tried.is_none_or(|at| at.elapsed() >= TRY) {
                if self.swap()? {
                    return Ok(None);
                }
                tried = Some(Clock::now());
            }
        }
    }

    fn start_filling(&mut self) -> Result<(), RecoverError> {
        let (at, host, state) = (self.setup.at.clone(), self.setup.host.to_owned(), self.state.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let fill = move || {
            if let Err(e) = process::set_nice(NICE).and_then(|()| process::set_idle_io()) {
                tracing::debug!("filling has the priority of everybody: {e}");
            }
            fill::fill(&at, &host, &state, &crate::progress::Quiet, &stopped)
        };
        let started = std::thread::Builder::new().name("fill".into()).spawn(fill);
        self.filling = Some((started.map_err(io("start to fill", &self.state.path()))?, stop));
        Ok(())
    }

    /// Takes notice of the end of filling.
    fn filled(&mut self) -> Result<(), RecoverError> {
        if !self.filling.as_ref().is_some_and(|(thread, _)| thread.is_finished()) {
            return Ok(());
        }
        match self.join() {
            None | Some(Ok(Filled::Stopped)) => Ok(()),
            Some(Ok(Filled::Whole { missing, attributes })) => {
                tracing::info!("the plain directory behind {} is filled", self.state.path().display());
                if !missing.is_empty() {
                    // What is missing can still be seen to be missing in the overlay, by an error.
                    self.state.swap = Swap::Manual;
                    tracing::error!("{} path(s) could not be brought back: the swap waits for --finish", missing.len());
                }
                self.state.problems = missing.into_iter().chain(attributes).collect();
                self.state.phase = Phase::Filled;
                self.state.save()
            }
            Some(Err(e)) => {
                tracing::error!("{e}; the directory can be used, and --finish tries again");
                self.state.problems = vec![e.to_string()];
                self.finishing = false;
                self.state.save()
            }
        }
    }

    fn join(&mut self) -> Option<Result<Filled, RecoverError>> {
        let (thread, _) = self.filling.take()?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    fn stop_filling(&mut self) {
        if let Some((_, stop)) = &self.filling {
            stop.store(true, Ordering::Relaxed);
        }
        drop(self.join());
    }

    fn finish(&mut self) -> Result<(), RecoverError> {
        self.finishing = true;
        if self.state.phase == Phase::Overlay && self.filling.is_none() {
            self.state.fill = true;
            self.state.problems.clear();
            self.state.save()?;
            self.start_filling()?;
        }
        self.state.answered()
    }

    /// Whether nothing of it is in use any more, and it can be given up.
    fn abandon(&mut self) -> Result<bool, RecoverError> {
        let tried = layers::unmount_left(self.state);
        self.state.problems = tried.as_ref().err().map(|e| format!("{NOT_NOW}: {e}")).into_iter().collect();
        self.state.save()?;
        // Whoever asked looks at the state from here on.
        self.state.answered()?;
        match tried {
            Ok(()) => {
                self.stop_filling();
                Ok(true)
            }
            Err(e) => {
                tracing::error!("{NOT_NOW}: {e}");
                Ok(false)
            }
        }
    }

    /// The process is to end. Where somebody uses the overlay, it stays, without what lies below it.
    fn interrupted(&mut self) -> Result<Ended, RecoverError> {
        self.stop_filling();
        if let Err(e) = layers::unmount_left(self.state) {
            tracing::warn!("{e}; it stays mounted, and what was not read yet can't be until --resume");
        }
        Ok(Ended::Interrupted)
    }

    /// Whether the plain directory can take its place, in a moment: nobody writes any more, and all that was changed is in it.
    fn swap(&mut self) -> Result<bool, RecoverError> {
        let point = self.state.path();
        let Some(mount) = overlay::on(&point).map_err(io("tell what is mounted on", &point))? else {
            return Err(RecoverError::Place {
                path: point.display().to_string(),
                why: "something else is mounted on it now, or nothing: --resume goes on".into(),
            });
        };
        if !std::mem::replace(&mut self.announced, true) {
            self.listener.filled(self.state);
        }
        if self.state.swap == Swap::Idle && !self.finishing {
            let users = swap::users(self.state, &mount)?;
            if !users.is_empty() {
                self.told.once(&format!("the swap waits: {} use it", users_text(&users)));
                return Ok(false);
            }
            let also = swap::also_at(self.state, &mount)?;
            if !also.is_empty() {
                self.told.once(&format!("the swap waits: it is mounted at {} too", also.join(", ")));
                return Ok(false);
            }
        }
        if let Held::By(users) = swap::hold_writers(self.state, &mount)? {
            self.told.once(&format!("the swap waits: a file is open for writing, by {}", users_text(&users)));
            return Ok(false);
        }
        self.listener.swapping(self.state);
        self.state.phase = Phase::Merging;
        self.state.save()?;
        let Err(e) = swap::merge(self.state) else { return Ok(true) };
        tracing::error!("{e}; the directory goes on as it is and is filled anew; the swap then waits for --finish");
        swap::start_over(self.state)?;
        overlay::set_read_only(&point, false).map_err(io("let writers on again at", &point))?;
        self.state.problems = vec![e.to_string()];
        (self.state.swap, self.finishing) = (Swap::Manual, false);
        self.state.save()?;
        self.start_filling()?;
        Ok(false)
    }
}
