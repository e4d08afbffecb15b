//! Follows the history while it is mounted: when a snapshot is added or a day ends, the kernel is told to ask again for what
//! moves.

use crate::mount::{errno::FsError, fs::Fs, fuse::Changes};
use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often the index is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// How often it is looked whether what the kernel keeps has been released, where anything has changed.
const RELEASED: Duration = Duration::from_secs(1);

/// The thread that follows. It ends when this is dropped.
pub struct Follower {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to follow.
    pub fn start(fs: Arc<Fs>, changes: Changes) -> io::Result<Follower> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopping = stop.clone();
        let thread = thread::Builder::new().name("follow".into()).spawn(move || {
            if let Err(e) = follow(&fs, &changes, &stopping) {
                // Names that move still do: the kernel asks again after a quarter of a second.
                tracing::warn!("the mount is not told of new snapshots any more: {e}");
            }
        })?;
        Ok(Follower { stop, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the history panicked");
        }
    }
}

fn follow(fs: &Fs, changes: &Changes, stop: &(Mutex<bool>, Condvar)) -> Result<(), FsError> {
    // Its own reader: the version tells of changes since the same connection looked last.
    let index = fs.reader()?;
    let mut seen = (index.data_version()?, fs.today());
    let (mut changed, mut looked) = (false, Instant::now());
    loop {
        let guard = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = stop.1.wait_timeout(guard, EVERY).unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return Ok(());
        }
        drop(stopped);
        let now = (index.data_version()?, fs.today());
        if now != seen {
            seen = now;
            fs.moved(changes);
            changed = true;
        }
        if changed && looked.elapsed() >= RELEASED {
            (changed, looked) = (false, Instant::now());
            fs.released(&index, changes)?;
        }
    }
}
