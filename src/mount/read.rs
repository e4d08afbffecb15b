//! The content of files: what a version contains is remembered, frames are decoded once, and the next ones in the order of the
//! tree are decoded ahead when they are being read one after another, by one large file or by many small ones.

use crate::index::{chunks::Location, tree::Reader};
use crate::mount::{
    errno::FsError,
    fs::{Fs, lock},
};
use crate::repo::{attach::Attached, frames::Frames};
use crate::types::{
    attr::Kind,
    ids::{Id, SourceNum, Ver},
};
use crate::view::{ahead::Ahead, content::Content};
use crossbeam_channel::{Receiver, Sender, bounded};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread;

/// Bytes of decoded frames.
const FRAMES_MAX: usize = 40 << 20;
/// The same where the store is far away: what is on its way has its place among them.
const FAR_FRAMES_MAX: usize = 64 << 20;
/// Bytes of lists of pieces.
const CONTENTS_MAX: usize = 8 << 20;
/// Threads that decode ahead.
const AHEAD_THREADS: usize = 2;
/// Frames that may wait to be decoded ahead.
const AHEAD_QUEUE: usize = 8;
/// How far ahead frames are decoded.
const AHEAD_FRAMES: usize = 4;
/// Frames that are remembered as read, to tell who reads one after another.
const RECENT_FRAMES: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What files contain.
pub struct Contents {
    frames: Arc<Frames>,
    lists: Mutex<Lists>,
    recent: Mutex<LruCache<(Id, u32), ()>>,
    /// Where frames to be decoded ahead go, of a store that is near; the threads end when it is dropped.
    ahead: Sender<Location>,
    /// What asks ahead, of a store that is far away.
    far: Option<Ahead>,
}

struct Lists {
    contents: LruCache<(SourceNum, Ver), Arc<Content>>,
    bytes: usize,
}

impl Contents {
    /// Of a repository; starts the threads that decode ahead.
    pub fn new(attached: &Arc<Attached>) -> Result<Contents, FsError> {
        let max = if attached.repo().store().far() { FAR_FRAMES_MAX } else { FRAMES_MAX };
        let frames = Arc::new(Frames::of(attached.clone(), max));
        let failed = |source| FsError::System { doing: "start the threads that read ahead", source };
        let far = Ahead::new(&frames).map_err(failed)?;
        let (ahead, queue) = bounded(AHEAD_QUEUE);
        for n in 0..AHEAD_THREADS {
            let (frames, queue) = (frames.clone(), queue.clone());
            thread::Builder::new()
                .name(format!("ahead-{n}"))
                .spawn(move || decode_ahead(&frames, &queue))
                .map_err(|source| FsError::System { doing: "start a thread that decodes ahead", source })?;
        }
        let lists = Mutex::new(Lists { contents: LruCache::unbounded(), bytes: 0 });
        Ok(Contents { frames, lists, recent: Mutex::new(LruCache::new(RECENT_FRAMES)), ahead, far })
    }

    /// The content of a version.
    pub(super) fn get(&self, index: &Reader, source: SourceNum, ver: Ver) -> Result<Arc<Content>, FsError> {
        if let Some(content) = lock(&self.lists).contents.get(&(source, ver)) {
            return Ok(content.clone());
        }
        let content = Arc::new(Content::open(index, source, ver)?);
        let mut lists = lock(&self.lists);
        lists.bytes += weight(&content);
        if let Some(before) = lists.contents.put((source, ver), content.clone()) {
            lists.bytes -= weight(&before);
        }
        while lists.bytes > CONTENTS_MAX && lists.contents.len() > 1 {
            match lists.contents.pop_lru() {
                Some((_, content)) => lists.bytes -= weight(&content),
                None => break,
            }
        }
        Ok(content)
    }

    /// Notes that a frame is being read, and has the next ones decoded where the one before was read too.
    fn note(&self, index: &Reader, at: &Location) {
        let goes_on = {
            let mut recent = lock(&self.recent);
            let is_new = recent.put((at.pack, at.number), ()).is_none();
            // A pack begins where another ends.
            is_new && (at.number == 0 || recent.contains(&(at.pack, at.number - 1)))
        };
        if !goes_on {
            return;
        }
        match index.frames_after(at.frame, AHEAD_FRAMES) {
            Ok(next) => {
                for next in next {
                    // A full queue means that they are busy: then whoever reads decodes by itself.
                    if !self.frames.has(next.frame) && self.ahead.try_send(next).is_err() {
                        break;
                    }
                }
            }
            // Nobody has asked for them yet; whoever does gets the error.
            Err(e) => tracing::debug!("not decoded ahead: {e}"),
        }
    }
}

fn weight(content: &Content) -> usize {
    size_of::<Content>() + content.pieces.capacity() * 32
}

fn decode_ahead(frames: &Frames, queue: &Receiver<Location>) {
    for at in queue {
        if frames.has(at.frame) {
            continue;
        }
        if let Err(e) = frames.get(&at) {
            // Nobody has asked for it yet; whoever does gets the error.
            tracing::debug!("not decoded ahead: {e}");
        }
    }
}

impl Fs {
    /// Up to `len` bytes of a file from `offset`, into `out`; fewer only at its end.
    pub fn read(&self, ino: u64, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), FsError> {
        let (source, ver) = self.version_of(ino)?;
        self.hold(|index| {
            let content = self.contents.get(index, source, ver)?;
            out.reserve(len.min(content.size.saturating_sub(offset) as usize));
            let contents = &self.contents;
            if let Some(far) = &contents.far {
                far.reading(index, (source, ver), &content, offset, len)?;
                return Ok(content.read(index, &contents.frames, offset, len, out)?);
            }
            content.read_noting(index, &contents.frames, offset, len, out, &mut |at| contents.note(index, at))?;
            Ok(())
        })
    }

    /// The first byte of data at or after `offset`, or of a hole where `hole` is set.
    pub fn seek(&self, ino: u64, offset: u64, hole: bool) -> Result<u64, FsError> {
        let (source, ver) = self.version_of(ino)?;
        if self.view_attr(ino)?.attr.kind() != Kind::File {
            return Err(FsError::WrongKind);
        }
        let content = self.hold(|index| self.contents.get(index, source, ver))?;
        content.seek(offset, hole).ok_or(FsError::NoSuchOffset)
    }
}
