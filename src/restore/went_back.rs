//! Notes of restores in place, in the state directory: to which instant each went back. A restore is no change of what it restores:
//! whoever asks for what was before the last change, again or after a kill, is to get the same and not what the restore undid.

use crate::sys::{clock, durable};
use crate::types::{ids::Snap, path, time::Instant};
use crate::view::{before::Point, instant::View};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The directory of the notes, in the state directory of the repository.
const DIR: &str = "restored";
/// So many are kept; the oldest go first.
const NOTES_MAX: usize = 1000;
/// The longest note that is read, in bytes.
const NOTE_MAX: u64 = 64 << 20;

/// A restore in place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WentBack {
    /// When it began to write, in nanoseconds since 1970.
    begun: i64,
    /// The instant that it went back to, in nanoseconds since 1970.
    to: i64,
    /// The path whose last change it undid, if it was asked for so.
    before: Option<Vec<u8>>,
    /// What it restored, absolute.
    paths: Vec<Vec<u8>>,
    /// What it went back to, one snapshot a source.
    shown: Vec<Held>,
    /// The newest snapshots when it began.
    newest: Vec<Held>,
    /// Whether it came to its end.
    pub finished: bool,
}

/// One snapshot of a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    host: String,
    root: Vec<u8>,
    number: u64,
}

impl WentBack {
    /// A restore of `paths` that begins now and goes back to what `view` shows, where `newest` is the newest view.
    pub fn now(before: Option<&[u8]>, paths: &[Vec<u8>], view: &View, newest: &View) -> WentBack {
        let held = |view: &View| {
            let one = |part: &crate::view::instant::Part| Held {
                host: part.source.host.clone(),
                root: part.source.root.clone(),
                number: part.snapshot.number.0,
            };
            view.parts.iter().map(one).collect()
        };
        // "The newest" is another instant later; that of the newest snapshot shows the same for ever.
        let to = view.parts.iter().map(|part| part.snapshot.time).max().unwrap_or(view.at);
        WentBack {
            begun: clock::now().0,
            to: to.0,
            before: before.map(<[u8]>::to_vec),
            paths: paths.to_vec(),
            shown: held(view),
            newest: held(newest),
            finished: false,
        }
    }

    /// When it began to write.
    pub fn begun(&self) -> Instant {
        Instant(self.begun)
    }

    /// The instant that it went back to.
    pub fn to(&self) -> Instant {
        Instant(self.to)
    }

    /// The newest snapshots when it began: later ones may show what it did.
    pub fn since(&self) -> Vec<Point> {
        let point = |held: &Held| Point { host: held.host.clone(), root: held.root.clone(), number: Snap(held.number) };
        self.newest.iter().map(point).collect()
    }

    /// Whether all that stands at `absolute` was restored by it, or the last change of just that was undone.
    fn is_of(&self, absolute: &[u8]) -> bool {
        self.before.as_deref() == Some(absolute) || self.paths.iter().any(|path| path::is_within(absolute, path))
    }

    /// Whether `view`, of the instant that it went back to, still is what it went back to: retention may have removed that.
    pub fn is_shown_by(&self, view: &View) -> bool {
        self.shown.len() == view.parts.len()
            && self.shown.iter().all(|held| {
                view.parts.iter().any(|part| {
                    part.source.host == held.host
                        && part.source.root == held.root
                        && part.snapshot.number == Snap(held.number)
                })
            })
    }

    /// Whether what `other` restored is all restored by this one too.
    fn covers(&self, other: &WentBack) -> bool {
        other.paths.iter().all(|path| self.is_of(path)) && other.before.iter().all(|path| self.is_of(path))
    }
}

/// A note, and where it is.
pub struct Note {
    place: PathBuf,
    /// What it says.
    pub restore: WentBack,
}

impl Note {
    /// Notes `restore`, durably, and forgets those that it makes void. To be called before the first write.
    pub fn begin(state: &Path, restore: WentBack) -> io::Result<Note> {
        let dir = state.join(DIR);
        durable::create_dirs(&dir, 0o700)?;
        let place = dir.join(format!("{:020}-{}.json", restore.begun, std::process::id()));
        let note = Note { place, restore };
        note.write()?;
        let mut others = all(state)?;
        others.retain(|other| other.place != note.place);
        let over = (others.len() + 1).saturating_sub(NOTES_MAX);
        for (n, other) in others.iter().enumerate() {
            if n < over || note.restore.covers(&other.restore) {
                durable::remove(&other.place)?;
            }
        }
        Ok(note)
    }

    /// Notes that it came to its end.
    pub fn finish(mut self) -> io::Result<()> {
        self.restore.finished = true;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.restore).map_err(io::Error::other)?;
        Ok(durable::replace(&self.place, &text, 0o600)?)
    }
}

/// The newest restore of all that stands at `absolute`.
pub fn newest_of(state: &Path, absolute: &[u8]) -> io::Result<Option<Note>> {
    Ok(all(state)?.into_iter().rfind(|note| note.restore.is_of(absolute)))
}

/// All notes, the oldest first. One that can't be read as such is of no use to anybody and left out.
fn all(state: &Path) -> io::Result<Vec<Note>> {
    let entries = match std::fs::read_dir(state.join(DIR)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let place = entry.path();
        let is_note = place.extension().is_some_and(|e| e == "json") && entry.metadata()?.len() <= NOTE_MAX;
        if !is_note {
            continue;
        }
        let text = match std::fs::read(&place) {
            // Another restore has just made it void.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match serde_json::from_slice(&text) {
            Ok(restore) => all.push(Note { place, restore }),
            Err(e) => {
                tracing::warn!("{}: the note of a restore can't be read and counts for nothing: {e}", place.display())
            }
        }
    }
    all.sort_by_key(|note| note.restore.begun);
    Ok(all)
}
