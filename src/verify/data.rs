//! The bytes: every frame read, opened and decompressed, every chunk hashed.

use crate::index::{check::FrameRow, chunks::Location};
use crate::progress::Progress;
use crate::repo::{
    fetch::{self, Decoded},
    names,
    open::Repository,
};
use crate::sys::process;
use crate::types::ids::Hash;
use crate::verify::{check::Options, report::Report};
use std::{
    collections::HashMap,
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

/// Reads and hashes frames on all processors. Gives those that are damaged, by row, and the number of their problem.
pub(super) fn check(
    repo: &Repository,
    frames: Vec<FrameRow>,
    progress: &dyn Progress,
    stop: &AtomicBool,
    report: &mut Report,
) -> HashMap<i64, usize> {
    let next = AtomicUsize::new(0);
    let batches: Vec<&[FrameRow]> = frames.chunks(BATCH).collect();
    let found: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..process::cpus().clamp(2, 16) {
            scope.spawn(|| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let start = (batch.as_ptr() as usize - frames.as_ptr() as usize) / size_of::<FrameRow>();
                    let wrong = read(repo, batch);
                    let bytes = batch.iter().map(|row| u64::from(row.frame.sealed_len)).sum();
                    progress.add(batch.len() as u64, bytes);
                    found
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(wrong.into_iter().map(|(n, why)| (start + n, why)));
                }
            });
        }
    });
    let done = next.into_inner().min(batches.len()) * BATCH;
    let read = &frames[..done.min(frames.len())];
    report.read_frames += read.len() as u64;
    report.read_bytes += read.iter().map(|row| u64::from(row.frame.sealed_len)).sum::<u64>();
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort();
    let mut bad = HashMap::new();
    for (n, why) in found {
        let row = &frames[n];
        report.problem(&names::pack(row.pack), part(row), why).advise(
            "put back a good copy of the object from another copy of the repository; the rest can be read and restored",
        );
        bad.insert(row.num, report.problems.len() - 1);
    }
    bad
}

/// What a frame is called in its pack.
fn part(row: &FrameRow) -> String {
    format!("frame {} at byte {}", row.frame.number, row.frame.offset)
}

fn read(repo: &Repository, batch: &[FrameRow]) -> Vec<(usize, String)> {
    let wanted: Vec<Location> = batch.iter().map(location).collect();
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
        if repo.keys().chunk_hash(chunk) != *hash {
            return Some(format!("its chunk {n} has another hash than the table states"));
        }
        rest = after;
    }
    None
}

/// The whole frame, as if it were one chunk.
fn location(row: &FrameRow) -> Location {
    let f = &row.frame;
    Location {
        frame: row.num,
        pack: row.pack,
        number: f.number,
        offset: f.offset,
        sealed_len: f.sealed_len,
        raw_len: f.raw_len,
        method: f.method,
        chunk_offset: 0,
        chunk_len: f.raw_len,
    }
}
