//! What will be read next, asked for before it is: for stores that are far away, where a request costs its time whatever it asks
//! for.
//!
//! Who reads a file from one end to the other is known by that, and so is who reads one small file after another in the order in
//! which they were captured. What is asked for ahead begins small and doubles as they go on.

use crate::index::{chunks::Location, error::IndexError, rows::Piece, tree::Reader};
use crate::repo::{fetch::Fetcher, frames::Frames};
use crate::types::ids::{Id, SourceNum, Ver};
use crate::view::content::Content;
use lru::LruCache;
use std::{
    io,
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The first and the longest stretch of a file that is asked for ahead, in bytes.
const STRETCH: (u64, u64) = (1 << 20, 32 << 20);
/// Reads this far apart, in bytes, still go on one after another: a kernel has several under way, in any order.
const NEAR: u64 = 8 << 20;
/// Who reads a file that is this small or smaller, in bytes, may read the next one after it.
const SMALL: u64 = 1 << 20;
/// The first and the largest number of frames that are asked for ahead where small files are read.
const FRAMES: (u32, u32) = (2, 32);
/// Files and packs of which it is known how they are read.
const KNOWN: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Asks ahead.
pub struct Ahead {
    fetcher: Fetcher,
    files: Mutex<LruCache<(SourceNum, Ver), Stretch>>,
    packs: Mutex<LruCache<Id, Walk>>,
}

/// How one file is read.
struct Stretch {
    /// The end of the furthest read.
    reached: u64,
    /// The end of what was asked for.
    asked: u64,
    window: u64,
}

/// How the small files of one pack are read.
#[derive(Default)]
struct Walk {
    last: u32,
    /// The last frame that was asked for.
    asked: u32,
    window: u32,
}

impl Ahead {
    /// For readers of these frames; `None` where their store is near.
    pub fn new(frames: &Arc<Frames>) -> io::Result<Option<Ahead>> {
        if !frames.repo().store().far() {
            return Ok(None);
        }
        let fetcher = Fetcher::start(frames.clone())?;
        let (files, packs) = (Mutex::new(LruCache::new(KNOWN)), Mutex::new(LruCache::new(KNOWN)));
        Ok(Some(Ahead { fetcher, files, packs }))
    }

    /// Asks for what a read needs, and for what will be needed next. To be called before it.
    pub fn reading(
        &self,
        index: &Reader,
        file: (SourceNum, Ver),
        content: &Content,
        offset: u64,
        len: usize,
    ) -> Result<(), IndexError> {
        let end = content.size.min(offset.saturating_add(len as u64));
        if offset >= end {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for stretch in self.stretches(file, offset..end, content.size) {
            locate(index, content, stretch, &mut wanted)?;
        }
        if content.size <= SMALL
            && let Some(last) = wanted.last().copied()
        {
            self.walk(index, &last, &mut wanted)?;
        }
        self.fetcher.ask(&wanted);
        Ok(())
    }

    /// What to ask for of a file: the read itself where it was not asked for, and what comes next.
    fn stretches(&self, file: (SourceNum, Ver), read: Range<u64>, size: u64) -> Vec<Range<u64>> {
        let mut files = lock(&self.files);
        let all = files.len() as u64;
        let known = files.get_mut(&file).filter(|s| read.start <= s.reached + NEAR && read.start + NEAR >= s.reached);
        let Some(known) = known else {
            files.put(file, Stretch { reached: read.end, asked: read.end, window: 0 });
            return vec![read];
        };
        // Several files that are read at once share what may be asked for.
        let most = (STRETCH.1 / all.clamp(1, 4)).max(STRETCH.0);
        known.reached = known.reached.max(read.end);
        if known.reached + known.window / 2 <= known.asked || known.asked >= size {
            return vec![read];
        }
        known.window = (known.window * 2).clamp(STRETCH.0, most);
        let next = known.asked..size.min(known.reached + known.window);
        known.asked = known.asked.max(next.end);
        vec![read, next]
    }

    /// The frames behind this one in its pack, where the ones before it were read too.
    fn walk(&self, index: &Reader, at: &Location, wanted: &mut Vec<Location>) -> Result<(), IndexError> {
        let (after, count) = {
            let mut packs = lock(&self.packs);
            let Some(walk) = packs.get_mut(&at.pack) else {
                packs.put(at.pack, Walk { last: at.number, asked: at.number, window: 0 });
                return Ok(());
            };
            if at.number == walk.last {
                return Ok(());
            }
            if at.number < walk.last || at.number > walk.asked.max(walk.last) + 1 {
                *walk = Walk { last: at.number, asked: at.number, window: 0 };
                return Ok(());
            }
            walk.last = at.number;
            if at.number + walk.window / 2 < walk.asked {
                return Ok(());
            }
            walk.window = (walk.window * 2).clamp(FRAMES.0, FRAMES.1);
            let after = walk.asked.max(at.number);
            walk.asked = at.number + walk.window;
            (after, walk.window)
        };
        let next = index.frames_after(at.frame, count as usize)?;
        wanted.extend(next.into_iter().filter(|next| next.number > after));
        Ok(())
    }
}

/// The places of the chunks of a stretch of a file, in order, one a frame where they follow one another.
fn locate(
    index: &Reader,
    content: &Content,
    stretch: Range<u64>,
    wanted: &mut Vec<Location>,
) -> Result<(), IndexError> {
    let Some((first, mut at)) = content.piece_at(stretch.start) else { return Ok(()) };
    for piece in &content.pieces[first..] {
        if at >= stretch.end {
            break;
        }
        if let Piece::Chunk { num, .. } = piece {
            let location = index.location(*num)?;
            if wanted.last().is_none_or(|last| last.frame != location.frame) {
                wanted.push(location);
            }
        }
        at += piece.len();
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
