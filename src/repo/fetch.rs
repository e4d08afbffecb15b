//! Many frames at once: neighbours in a pack are fetched together, and each is opened once.

use crate::index::chunks::Location;
use crate::repo::{error::RepoError, frames::decode_frame, names, open::Repository};
use crate::sys::buffer::Buffer;
use std::{collections::HashMap, sync::Arc};

/// Two frames of a pack are fetched together when at most this many bytes lie between them.
const GAP_MAX: u64 = 64 << 10;
/// What is fetched at once is at most this long, unless one frame is longer.
const FETCH_MAX: u64 = 8 << 20;

/// Decoded frames by their rows; an error stands for the frames that could not be read or opened.
pub type Decoded = HashMap<i64, Result<Buffer, Arc<RepoError>>>;

/// Fetches and opens the frames of these chunks that `into` does not hold yet.
pub fn frames(repo: &Repository, wanted: &[Location], into: &mut Decoded) {
    let mut missing: Vec<&Location> = wanted.iter().filter(|at| !into.contains_key(&at.frame)).collect();
    missing.sort_unstable_by_key(|at| (at.pack, at.offset));
    missing.dedup_by_key(|at| at.frame);
    let mut rest = missing.as_slice();
    while !rest.is_empty() {
        let (together, after) = rest.split_at(run_len(rest));
        fetch(repo, together, into);
        rest = after;
    }
}

/// How many of the first frames are fetched together.
fn run_len(frames: &[&Location]) -> usize {
    let first = frames[0];
    let fits = |pair: &[&Location]| {
        let (a, b) = (pair[0], pair[1]);
        let end = a.offset.saturating_add(u64::from(a.sealed_len));
        let total = b.offset.saturating_add(u64::from(b.sealed_len)).saturating_sub(first.offset);
        a.pack == b.pack && b.offset >= end && b.offset - end <= GAP_MAX && total <= FETCH_MAX
    };
    1 + frames.windows(2).take_while(|pair| fits(pair)).count()
}

fn fetch(repo: &Repository, together: &[&Location], into: &mut Decoded) {
    let (first, last) = (together[0], together[together.len() - 1]);
    let start = first.offset;
    let len = (last.offset - start) as usize + last.sealed_len as usize;
    let name = names::pack(first.pack);
    match repo.store().get_range(&name, start, len) {
        Ok(mut bytes) => {
            tracing::debug!("read {} frames of {name}: {} B", together.len(), bytes.len());
            for at in together {
                let from = (at.offset - start) as usize;
                let sealed = &mut bytes[from..from + at.sealed_len as usize];
                into.insert(at.frame, decode_frame(repo, at, sealed).map_err(Arc::new));
            }
        }
        // One frame may be behind the end of a pack that was cut short: the others can still be had.
        Err(_) if together.len() > 1 => together.iter().for_each(|at| fetch(repo, &[*at], into)),
        Err(e) => {
            into.insert(first.frame, Err(Arc::new(e.into())));
        }
    }
}
