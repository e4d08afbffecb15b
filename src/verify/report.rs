//! What a check found.

use crate::index::bad::FramePlace;
use crate::types::ids::Id;
use crate::verify::chains::Chains;
use std::{collections::BTreeSet, fmt};

/// Something that is not as it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The object: its name in the store, or `index`.
    pub object: String,
    /// The part of it: `frame 7 at byte 120`, `table`, `header`, ...
    pub part: String,
    /// What is wrong with it.
    pub why: String,
    /// What is lost by it, in words; empty where [`Problem::files`] says it.
    pub lost: String,
    /// The files that can't be read any more, wholly or in part.
    pub files: Affected,
    /// What to do.
    pub to_do: String,
    /// Whether a repair has stated it: it is known to be lost.
    pub known: bool,
}

/// Where it is, and what.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.part, self.why)
    }
}

/// Files that need something damaged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Affected {
    /// Versions of files under their names.
    pub count: u64,
    /// Some of them.
    pub some: Vec<AffectedFile>,
}

/// A file that needs something damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AffectedFile {
    /// The host it is of.
    pub host: String,
    /// Its path, from the root.
    pub path: Vec<u8>,
    /// The first snapshot of its source that shows it so.
    pub from: u64,
    /// The first that does not any more; `None` for one that is current.
    pub to: Option<u64>,
}

/// What was checked, and what was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Key slots.
    pub slots: u64,
    /// Packs that records name.
    pub packs: u64,
    /// Frames in them.
    pub frames: u64,
    /// Packs that records name and a copy never promised to have. No problem.
    pub not_held: u64,
    /// Segments of journals.
    pub segments: u64,
    /// Snapshots whose records were read.
    pub snapshots: u64,
    /// Versions of files whose content was followed to its chunks.
    pub files: u64,
    /// Frames that were read and hashed.
    pub read_frames: u64,
    /// Bytes of them, sealed.
    pub read_bytes: u64,
    /// The number that a random part was chosen by.
    pub seed: Option<u64>,
    /// What the history of each source rests on.
    pub chains: Vec<Chains>,
    /// Packs that no record names: left by captures that were interrupted, or in the making. No problem.
    pub unreferenced: Vec<Id>,
    /// Objects whose names mean nothing here. No problem.
    pub strangers: Vec<String>,
    /// Damaged packs, or ones that are gone, that nothing needs any more, since a repair has found or given up what was in them. No
    /// problem.
    pub set_aside: Vec<Id>,
    /// The frames that can't be read.
    pub bad_frames: BTreeSet<FramePlace>,
    /// The packs whose header or table is damaged.
    pub torn_packs: BTreeSet<Id>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Whether it was told to stop before its end.
    pub stopped: bool,
}

impl Report {
    pub(super) fn problem(&mut self, object: &str, part: impl Into<String>, why: impl ToString) -> &mut Problem {
        self.problems.push(Problem {
            object: object.to_owned(),
            part: part.into(),
            why: why.to_string(),
            lost: String::new(),
            files: Affected::default(),
            to_do: String::new(),
            known: false,
        });
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }
}

impl Problem {
    pub(super) fn known(&mut self, known: bool) -> &mut Problem {
        self.known = known;
        self
    }

    pub(super) fn lost(&mut self, lost: impl Into<String>) -> &mut Problem {
        self.lost = lost.into();
        self
    }

    pub(super) fn advise(&mut self, to_do: impl Into<String>) -> &mut Problem {
        self.to_do = to_do.into();
        self
    }
}
