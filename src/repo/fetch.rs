//! Many frames at once: neighbours in a pack are fetched together, and each is opened once. Where the store is far away several
//! requests are made at a time, and what will be needed can be asked for early.

use crate::index::chunks::Location;
use crate::repo::{
    error::RepoError,
    frames::{Expected, Frames, decode_frame},
    holding, names,
    open::Repository,
    opener,
};
use crate::sys::buffer::Buffer;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Two frames of a pack are fetched together when at most this many bytes lie between them.
const GAP_MAX: u64 = 64 << 10;
/// What is fetched at once is at most this long, unless one frame is longer.
const FETCH_MAX: u64 = 8 << 20;
/// The same where the store is far away: shorter, so that several requests share what is asked for.
const FAR_MAX: u64 = 2 << 20;
/// Requests that are made at a time by one call of [`frames`], and by all that is asked for early.
const FAR_AT_ONCE: usize = 8;
const EARLY_AT_ONCE: usize = 32;
/// Requests that may wait for their turn.
const EARLY_QUEUE: usize = 64;

/// Decoded frames by their rows; an error stands for the frames that could not be read or opened.
pub type Decoded = HashMap<i64, Result<Buffer, Arc<RepoError>>>;

/// Fetches and opens the frames of these chunks that `into` does not hold yet.
pub fn frames(repo: &Repository, wanted: &[Location], into: &mut Decoded) {
    let mut missing: Vec<&Location> = wanted.iter().filter(|at| !into.contains_key(&at.frame)).collect();
    missing.sort_unstable_by_key(|at| (at.pack, at.offset));
    missing.dedup_by_key(|at| at.frame);
    let far = repo.store().far();
    let runs = runs(&missing, if far { FAR_MAX } else { FETCH_MAX });
    if !far || runs.len() < 2 {
        return runs.iter().for_each(|run| fetch(repo, run, into));
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new(into));
    thread::scope(|scope| {
        for _ in 0..FAR_AT_ONCE.min(runs.len()) {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut some = Decoded::new();
                    fetch(repo, run, &mut some);
                    found.lock().unwrap_or_else(PoisonError::into_inner).extend(some);
                }
            });
        }
    });
}

/// The frames in runs that are fetched together, of at most so many bytes.
fn runs<'a, 'b>(frames: &'a [&'b Location], max: u64) -> Vec<&'a [&'b Location]> {
    let (mut rest, mut runs) = (frames, Vec::new());
    while !rest.is_empty() {
        let (together, after) = rest.split_at(run_len(rest, max));
        runs.push(together);
        rest = after;
    }
    runs
}

/// How many of the first frames are fetched together.
fn run_len(frames: &[&Location], max: u64) -> usize {
    let first = frames[0];
    let fits = |pair: &[&Location]| {
        let (a, b) = (pair[0], pair[1]);
        let end = a.offset.saturating_add(u64::from(a.sealed_len));
        let total = b.offset.saturating_add(u64::from(b.sealed_len)).saturating_sub(first.offset);
        a.pack == b.pack && b.offset >= end && b.offset - end <= GAP_MAX && total <= max
    };
    1 + frames.windows(2).take_while(|pair| fits(pair)).count()
}

fn ranges<'a>(together: impl Iterator<Item = &'a Location>) -> Vec<(u64, usize)> {
    together.map(|at| (at.offset, at.sealed_len as usize)).collect()
}

fn fetch(repo: &Repository, together: &[&Location], into: &mut Decoded) {
    let first = together[0];
    let name = names::pack(first.pack);
    match opener::frames(repo, first.pack, &ranges(together.iter().copied())) {
        Ok((key, sealed)) => {
            tracing::debug!("read {} frames of {name}", together.len());
            for (at, mut sealed) in together.iter().zip(sealed) {
                into.insert(at.frame, decode_frame(repo, &key, at, &mut sealed).map_err(Arc::new));
            }
        }
        // One frame may be behind the end of a pack that was cut short: the others can still be had.
        Err(RepoError::Store(e)) if together.len() > 1 && RepoError::is_damage_of(&e) => {
            together.iter().for_each(|at| fetch(repo, &[*at], into));
        }
        Err(e) => {
            let e = Arc::new(holding::explained(repo, e));
            into.extend(together.iter().map(|at| (at.frame, Err(e.clone()))));
        }
    }
}

/// Fetches frames before they are asked for, with many requests at a time; for stores that are far away.
///
/// What it fetches goes to a cache of frames: its bounds are those of that cache, and of what is asked for.
pub struct Fetcher {
    frames: Arc<Frames>,
    /// The threads end when it is dropped.
    jobs: Sender<Vec<(Location, Expected)>>,
}

impl Fetcher {
    /// Starts its threads.
    pub fn start(frames: Arc<Frames>) -> io::Result<Fetcher> {
        let (jobs, queue) = bounded(EARLY_QUEUE);
        for n in 0..EARLY_AT_ONCE {
            let (repo, queue) = (frames.repo().clone(), queue.clone());
            thread::Builder::new().name(format!("fetch-{n}")).spawn(move || work(&repo, &queue))?;
        }
        Ok(Fetcher { frames, jobs })
    }

    /// Asks for the frames of these chunks, in the order in which they will be needed. What there is no room for is left out.
    pub fn ask(&self, wanted: &[Location]) {
        let mut wanted: Vec<&Location> = wanted.iter().collect();
        wanted.dedup_by_key(|at| at.frame);
        for run in runs(&wanted, FAR_MAX) {
            let expect = |at: &&Location| Some((**at, self.frames.expect(at)?));
            let mut job: Vec<_> = run.iter().filter_map(expect).collect();
            if !job.is_empty() && self.jobs.try_send(std::mem::take(&mut job)).is_err() {
                return;
            }
        }
    }
}

fn work(repo: &Repository, queue: &Receiver<Vec<(Location, Expected)>>) {
    for job in queue {
        let name = names::pack(job[0].0.pack);
        match opener::frames(repo, job[0].0.pack, &ranges(job.iter().map(|(at, _)| at))) {
            Ok((key, sealed)) => {
                tracing::debug!("read {} frames of {name} ahead", job.len());
                for ((at, expected), mut sealed) in job.into_iter().zip(sealed) {
                    match decode_frame(repo, &key, &at, &mut sealed) {
                        Ok(frame) => expected.deliver(frame),
                        // Whoever needs it reads it again and gets the error.
                        Err(e) => tracing::debug!("not decoded ahead: {e}"),
                    }
                }
            }
            Err(e) => tracing::debug!("not read ahead: {e}"),
        }
    }
}
