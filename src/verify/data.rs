//! The bytes: every frame read, opened and decompressed, every chunk hashed.

use crate::index::{bad::FramePlace, check::FrameRow, chunks::Location, error::IndexError, tree::Reader};
use crate::progress::{Progress, Quiet};
use crate::repo::{
    attach::Attached,
    fetch::{self, Decoded},
    names,
    open::Repository,
    replay,
};
use crate::sys::process;
use crate::types::{ids::Hash, op::Frame};
use crate::verify::{
    check::{AGAIN, Options, VerifyError},
    report::Report,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// What a thread reads at once, in frames.
const BATCH: usize = 16;

/// The frames to read: all, or a random part by a seed, which is at least one.
pub(super) fn choose(mut frames: Vec<FrameRow>, options: &Options, report: &mut Report) -> Vec<FrameRow> {
    if let Some(percent) = options.subset_percent {
        report.seed = Some(options.seed);
        // Where there is anything to read, at least one is.
        let first = frames.iter().map(|row| draw(options.seed, row)).min().unwrap_or(0);
        let below = ((percent / 100.0 * u64::MAX as f64) as u64).max(first);
        frames.retain(|row| draw(options.seed, row) <= below);
    }
    frames
}

/// A number for a frame that has nothing to do with where it lies.
fn draw(seed: u64, row: &FrameRow) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&row.pack.0);
    hasher.update(&row.frame.number.to_le_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// Reads and hashes frames. Gives those that are damaged, by row, and the number of their problem.
///
/// What others collect meanwhile is looked for where it is now: only what is wrong there too is told.
pub(super) fn check(
    at: &Attached,
    (frames, stated): (Vec<FrameRow>, &HashSet<FramePlace>),
    progress: &dyn Progress,
    stop: &AtomicBool,
    report: &mut Report,
) -> Result<HashMap<i64, usize>, VerifyError> {
    let (done, mut wrong) = read_all(at.repo(), &frames, progress, stop);
    report.read_frames += done.len() as u64;
    report.read_bytes += sealed(done);
    for _ in 0..AGAIN {
        if wrong.is_empty() {
            break;
        }
        replay::catch_up(at, progress)?;
        let (moved, still) = moved(&at.reader()?, wrong)?;
        wrong = still;
        if moved.is_empty() {
            break;
        }
        wrong.extend(read_all(at.repo(), &moved, &Quiet, stop).1);
    }
    let mut bad = HashMap::new();
    for (row, why) in wrong {
        let to_do =
            "put back a good copy of the object from another copy of the repository; the rest can be read and restored";
        let known = stated.contains(&(row.pack, row.frame.number));
        report.problem(&names::pack(row.pack), part(&row), why).advise(to_do).known(known);
        bad.insert(row.num, report.problems.len() - 1);
    }
    Ok(bad)
}

/// A frame, and what is wrong with it.
type Wrong = (FrameRow, String);

/// Of frames with which something is wrong, those that lie elsewhere now, in that place, and those that do not. A frame that is not in
/// the index any more is in neither: nothing needs it.
fn moved(index: &Reader, wrong: Vec<Wrong>) -> Result<(Vec<FrameRow>, Vec<Wrong>), IndexError> {
    let (mut moved, mut still) = (Vec::new(), Vec::new());
    for (row, why) in wrong {
        let Some(now) = index.frame_location(row.num)? else { continue };
        let now = placed(&row, &now);
        match now == row {
            true => still.push((row, why)),
            false => moved.push(now),
        }
    }
    moved.sort_unstable_by_key(|row| (row.pack, row.frame.number));
    Ok((moved, still))
}

/// A frame in another place.
fn placed(row: &FrameRow, now: &Location) -> FrameRow {
    let frame = Frame {
        number: now.number,
        offset: now.offset,
        sealed_len: now.sealed_len,
        raw_len: now.raw_len,
        method: now.method,
        ..row.frame.clone()
    };
    FrameRow { num: row.num, pack: now.pack, frame }
}

fn sealed(frames: &[FrameRow]) -> u64 {
    frames.iter().map(|row| u64::from(row.frame.sealed_len)).sum()
}

/// Reads and hashes frames on all processors. Gives those that it came to before it was stopped, and what is wrong with some.
fn read_all<'f>(
    repo: &Repository,
    frames: &'f [FrameRow],
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> (&'f [FrameRow], Vec<Wrong>) {
    let next = AtomicUsize::new(0);
    let batches: Vec<&[FrameRow]> = frames.chunks(BATCH).collect();
    let found: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..process::cpus().clamp(2, 16) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(n) else { return };
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let wrong = read(repo, batch);
                    progress.add(batch.len() as u64, sealed(batch));
                    let wrong = wrong.into_iter().map(|(at, why)| (n * BATCH + at, why));
                    found.lock().unwrap_or_else(PoisonError::into_inner).extend(wrong);
                }
            });
        }
    });
    let done = next.into_inner().min(batches.len()) * BATCH;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort();
    let wrong = found.into_iter().map(|(n, why)| (frames[n].clone(), why)).collect();
    (&frames[..done.min(frames.len())], wrong)
}

/// What a frame is called in its pack.
fn part(row: &FrameRow) -> String {
    format!("frame {} at byte {}", row.frame.number, row.frame.offset)
}

fn read(repo: &Repository, batch: &[FrameRow]) -> Vec<(usize, String)> {
    let wanted: Vec<Location> = batch.iter().map(FrameRow::whole).collect();
    let mut decoded = Decoded::new();
    fetch::frames(repo, &wanted, &mut decoded);
    let wrong = |(n, row): (usize, &FrameRow)| {
        let why = match decoded.get(&row.num) {
            Some(Ok(raw)) => chunks(repo, raw, &row.frame.chunks)?,
            Some(Err(e)) => e.why_of(&names::pack(row.pack), &part(row)),
            None => "it was not fetched".to_owned(),
        };
        Some((n, why))
    };
    batch.iter().enumerate().filter_map(wrong).collect()
}

/// What is wrong with the chunks of a frame, if anything is.
fn chunks(repo: &Repository, raw: &[u8], chunks: &[(Hash, u32)]) -> Option<String> {
    let mut rest = raw;
    for (n, (hash, len)) in chunks.iter().enumerate() {
        let Some((chunk, after)) = rest.split_at_checked(*len as usize) else {
            return Some(format!("it is shorter than its chunks: chunk {n} lies outside of it"));
        };
        match repo.keys().chunk_hash(chunk) {
            Ok(found) if found == *hash => {}
            Ok(_) => return Some(format!("its chunk {n} has another hash than the table states")),
            Err(e) => return Some(e.to_string()),
        }
        rest = after;
    }
    None
}
