//! Snapshots and sources as values.

use crate::types::ids::{Hash, Id, Snap, SourceNum};
use crate::types::time::Instant;

/// What a record needs to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// The record before.
    Incremental = 0,
    /// The last full.
    Differential = 1,
    /// Nothing.
    Full = 2,
}

impl Tier {
    /// The tier with this number.
    pub fn from_u8(n: u8) -> Option<Tier> {
        [Tier::Incremental, Tier::Differential, Tier::Full].into_iter().find(|t| *t as u8 == n)
    }

    /// The tier with this word.
    pub fn parse(word: &str) -> Option<Tier> {
        [Tier::Incremental, Tier::Differential, Tier::Full].into_iter().find(|t| t.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Tier::Incremental => "incremental",
            Tier::Differential => "differential",
            Tier::Full => "full",
        }
    }
}

/// What a capture did, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Nodes and names that are new.
    pub new: u64,
    /// Nodes with a new version.
    pub changed: u64,
    /// Entries that ended.
    pub removed: u64,
    /// Bytes read from files.
    pub read_bytes: u64,
    /// Bytes added to packs, sealed.
    pub stored_bytes: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Files that never held still while they were read.
    pub fuzzy: u64,
}

/// One snapshot of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The source.
    pub source: SourceNum,
    /// Its number.
    pub number: Snap,
    /// Its time: when its record was sealed, after its data was read.
    pub time: Instant,
    /// Its tier.
    pub tier: Tier,
    /// The hash of its record.
    pub hash: Hash,
    /// What was captured.
    pub counts: Counts,
}

/// The next numbers that the writer of a source will give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    /// The next serial of a directory.
    pub dir: u64,
    /// The next serial of any other node.
    pub other: u64,
    /// The next version.
    pub ver: u64,
}

impl Counters {
    /// Before the first snapshot: the root takes the first directory number.
    pub const START: Counters = Counters { dir: 1, other: 1, ver: 1 };
}

/// A source as its records name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its random id, under which its journal lies.
    pub id: Id,
    /// Its small number, part of inode numbers.
    pub num: SourceNum,
    /// The host it is on.
    pub host: String,
    /// The absolute path of its root.
    pub root: Vec<u8>,
}

/// What stands between the name of a host and that of another writer of one of its sources.
pub const WRITER_MARK: char = '~';

impl Source {
    /// Whether it may show a branch of another source's history, by its names.
    pub fn may_branch_off(&self, other: &Source) -> bool {
        self.root == other.root && self.id != other.id && self.host != other.host && self.is_of(&other.host)
    }

    /// Whether it is of this host, or of another writer of one of its sources.
    pub fn is_of(&self, host: &str) -> bool {
        let rest = self.host.strip_prefix(host);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(WRITER_MARK))
    }
}

/// How far the history of a source is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The newest snapshot; 0 before the first.
    pub number: Snap,
    /// The hash of its record.
    pub hash: Hash,
    /// Its time.
    pub time: Instant,
    /// The epoch of the segment it came from.
    pub epoch: String,
    /// The number of that segment in its epoch.
    pub seq: u64,
    /// The next numbers to give.
    pub next: Counters,
}

impl Head {
    /// Before the first snapshot.
    pub fn start() -> Head {
        Head {
            number: Snap(0),
            hash: Hash::ZERO,
            time: Instant(i64::MIN),
            epoch: String::new(),
            seq: 0,
            next: Counters::START,
        }
    }
}

/// Snapshots that can't be shown, because their records are missing or damaged, or need one that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The source.
    pub source: SourceNum,
    /// The first of them.
    pub first: Snap,
    /// The last of them.
    pub last: Snap,
    /// The time of the snapshot before them; the smallest instant where there is none.
    pub after: Instant,
    /// The time of the snapshot behind them: at that instant the tree is known again. The largest instant where there is none.
    pub before: Instant,
    /// Why, in words.
    pub why: String,
}

impl Head {
    /// Whether this one, which lies behind the last record that could be taken, has no record: only the audit trail names it, and it is
    /// noted with the segment of that one.
    pub fn is_unrecorded_behind(&self, last: &Head) -> bool {
        (&self.epoch, self.seq) == (&last.epoch, last.seq)
    }
}

impl Lost {
    /// Whether no snapshot behind them can be shown.
    pub fn is_open(&self) -> bool {
        self.before == Instant(i64::MAX)
    }

    /// Whether it can't be told what an instant shows, since that may be one of them.
    pub fn hides(&self, at: Instant) -> bool {
        self.after < at && (at < self.before || self.is_open())
    }
}
