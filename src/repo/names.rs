//! The names of objects.

use crate::types::ids::{Generation, Id};

/// The description of the repository.
pub const REPOSITORY: &str = "bygone.toml";
/// Where key slots are.
pub const KEYS: &str = "keys/";
/// Where packs are.
pub const PACKS: &str = "packs/";
/// Where journals are.
pub const JOURNAL: &str = "journal/";
/// Where collection keeps what it states.
pub const COLLECTION: &str = "gc/";
/// Where legal holds are.
pub const HOLDS: &str = "holds/";
/// Where the audit trail is.
pub const AUDIT: &str = "audit/";

/// Where a copy states what it holds.
pub const HOLDING: &str = "holding/";
/// Where a place states whether it goes on.
pub const PROMOTION: &str = "promotion/";

/// A pack: `packs/<first two digits>/<id>`.
pub fn pack(id: Id) -> String {
    let id = id.to_string();
    format!("{PACKS}{}/{id}", &id[..2])
}

/// The id in the name of a pack.
pub fn parse_pack(name: &str) -> Option<Id> {
    let (dir, id) = name.strip_prefix(PACKS)?.split_once('/')?;
    Id::parse(id).filter(|_| id.starts_with(dir) && dir.len() == 2)
}

/// A key slot.
pub fn slot(id: Id) -> String {
    format!("{KEYS}{id}")
}

/// What the names of generations of keys begin with.
const GENERATION: &str = "keys/generation-";

/// A generation of the keys.
pub fn generation(generation: Generation) -> String {
    format!("{GENERATION}{generation}")
}

/// The generation that an object with this name states.
pub fn parse_generation(name: &str) -> Option<Generation> {
    Generation::parse(name.strip_prefix(GENERATION)?).filter(|generation| generation.number() > 0)
}

/// The journal of a source.
pub fn journal(source: Id) -> String {
    format!("{JOURNAL}{source}/")
}

/// The source in whose journal an object lies; `None` for what is no part of a journal.
pub fn source_of(name: &str) -> Option<Id> {
    Segment::parse(name).map(|s| s.source).or_else(|| Merged::parse(name).map(|m| m.source))
}

/// One run of one writer: a number that grows with every run, and a random part, since two writers could choose the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Epoch(String);

impl Epoch {
    /// The epoch with this number and random part.
    pub fn new(number: u32, random: [u8; 4]) -> Epoch {
        Epoch(format!("{number:08x}{:08x}", u32::from_be_bytes(random)))
    }

    /// The epoch with these sixteen hexadecimal digits.
    pub fn parse(text: &str) -> Option<Epoch> {
        let hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Epoch(text.to_owned()))
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.0.get(..8).and_then(|n| u32::from_str_radix(n, 16).ok()).unwrap_or(0)
    }

    /// As it stands in names.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of the merged history of a source: `journal/<source>/merged-<epoch>-<seq>`. Number 0 is its head, which is written last
/// and names the others; the epoch is its generation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Merged {
    /// The source.
    pub source: Id,
    /// The generation.
    pub generation: Epoch,
    /// Its number: 0 for the head, from 1 on for the segments.
    pub seq: u64,
}

impl Merged {
    /// Its object's name.
    pub fn name(&self) -> String {
        format!("{}merged-{}-{:012x}", journal(self.source), self.generation.0, self.seq)
    }

    /// The part with this name; `None` for any other name.
    pub fn parse(name: &str) -> Option<Merged> {
        let (source, rest) = name.strip_prefix(JOURNAL)?.split_once('/')?;
        let segment = Segment::parse(&format!("{JOURNAL}{source}/{}", rest.strip_prefix("merged-")?))?;
        Some(Merged { source: segment.source, generation: segment.epoch, seq: segment.seq })
    }
}

/// A segment of a journal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Segment {
    /// The source.
    pub source: Id,
    /// The run of its writer.
    pub epoch: Epoch,
    /// Its number in that run, from 0.
    pub seq: u64,
}

impl Segment {
    /// Its object's name: `journal/<source>/<epoch>-<seq>`, in hexadecimal digits of fixed width.
    pub fn name(&self) -> String {
        format!("{}{}-{:012x}", journal(self.source), self.epoch.0, self.seq)
    }

    /// The segment with this name; `None` for any other name.
    pub fn parse(name: &str) -> Option<Segment> {
        let (source, rest) = name.strip_prefix(JOURNAL)?.split_once('/')?;
        let (epoch, seq) = rest.split_once('-')?;
        let hex = |t: &str, len: usize| t.len() == len && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex(seq, 12) {
            return None;
        }
        Some(Segment {
            source: Id::parse(source)?,
            epoch: Epoch::parse(epoch)?,
            seq: u64::from_str_radix(seq, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sort_in_order() {
        let segment = |number, seq| Segment { source: Id([1; 16]), epoch: Epoch::new(number, [9, 8, 7, 6]), seq };
        assert_eq!(Segment::parse(&segment(300, 5).name()), Some(segment(300, 5)));
        assert!(segment(9, 255).name() < segment(9, 256).name());
        assert!(segment(9, 256).name() < segment(16, 0).name());
        assert_eq!(segment(16, 0).epoch.number(), 16);
        assert_eq!(parse_pack(&pack(Id([0xab; 16]))), Some(Id([0xab; 16])));
        assert_eq!(parse_pack("packs/00/abababababababababababababababab"), None);
        assert_eq!(Segment::parse("journal/x/y-z"), None);
        let merged = Merged { source: Id([1; 16]), generation: Epoch::new(3, [1, 2, 3, 4]), seq: 7 };
        assert_eq!(Merged::parse(&merged.name()), Some(merged.clone()));
        assert_eq!(Segment::parse(&merged.name()), None);
        assert_eq!(Merged::parse(&segment(9, 255).name()), None);
    }
}
