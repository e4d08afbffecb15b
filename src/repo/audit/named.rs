//! The snapshots that entries of the trail name as taken.

use crate::index::{error::IndexError, tree::Reader};
use crate::repo::audit::{
    entry::{Entry, parse_hash},
    event::{Kind, value_bytes},
};
use crate::types::{
    ids::{Hash, Snap},
    path::show,
    snapshot::Source,
    time::Instant,
    when::show::exact_name,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// The detail of an entry in which the hashes of snapshots stand that are given up.
pub const GIVEN_UP: &str = "given_up_snapshots";

/// A snapshot that the trail names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Named {
    /// The host of its source.
    pub host: String,
    /// The root of that.
    pub root: Vec<u8>,
    /// Its number.
    pub number: Snap,
    /// Its time.
    pub time: Instant,
    /// The hash of its record.
    pub hash: Hash,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (root, time) = (show(&self.root), exact_name(self.time));
        write!(f, "snapshot {} of {root} on {}, taken {time}", self.number, self.host)
    }
}

/// The snapshots that an entry names as taken; of those of a process that watches, the newest.
pub(super) fn named(entry: &Entry) -> Vec<Named> {
    match Kind::parse(&entry.kind) {
        Some(Kind::Snapshot) => {
            let subject = &entry.subject;
            read(subject.get("host"), subject.get("source"), subject.get("snapshot")).into_iter().collect()
        }
        Some(Kind::Captures) => {
            let sources = entry.details.get("sources").and_then(Value::as_array);
            let of = |source: &Value| read(source.get("host"), source.get("source"), source.get("last"));
            sources.into_iter().flatten().filter_map(of).collect()
        }
        _ => Vec::new(),
    }
}

fn read(host: Option<&Value>, root: Option<&Value>, snapshot: Option<&Value>) -> Option<Named> {
    let snapshot = snapshot?;
    Some(Named {
        host: host?.as_str()?.to_owned(),
        root: value_bytes(root?)?,
        number: Snap(snapshot.get("number")?.as_u64()?),
        time: Instant(snapshot.get("time_ns")?.as_i64()?),
        hash: parse_hash(snapshot.get("hash")?.as_str()?)?,
    })
}

/// The hashes of the snapshots that an entry gives up.
pub(super) fn given_up(entry: &Entry) -> BTreeSet<Hash> {
    let hashes = entry.details.get(GIVEN_UP).and_then(Value::as_array);
    hashes.into_iter().flatten().filter_map(|hash| parse_hash(hash.as_str()?)).collect()
}

/// The snapshots that all these entries together name, without those that are given up.
pub fn all<'a>(entries: impl IntoIterator<Item = &'a Entry> + Clone) -> Vec<Named> {
    let given_up: BTreeSet<Hash> = entries.clone().into_iter().flat_map(given_up).collect();
    let named: BTreeSet<Named> = entries.into_iter().flat_map(named).collect();
    named.into_iter().filter(|named| !given_up.contains(&named.hash)).collect()
}

/// What an entry states, under [`GIVEN_UP`], of snapshots that are given up.
pub fn give_up_value(snapshots: &[Named]) -> Value {
    snapshots.iter().map(|named| named.hash.to_string()).collect()
}

/// Whether the history of a source that an index has goes as far as to this snapshot: it has it, or has released it.
fn has(reader: &Reader, source: &Source, named: &Named) -> Result<bool, IndexError> {
    if let Some(known) = reader.snapshot(source.num, named.number)? {
        return Ok(known.hash == named.hash);
    }
    let head = reader.head(source.num)?;
    let beyond = reader.beyond(source.num)?;
    if let Some(beyond) = beyond.filter(|beyond| !beyond.is_unrecorded_behind(&head)) {
        return Ok(beyond.number >= named.number);
    }
    let is_lost = reader.lost(source.num)?.iter().any(|l| l.first <= named.number && named.number <= l.last);
    Ok(head.number >= named.number && !is_lost)
}

/// Those that an index has neither as they are named nor as released ones.
pub fn missing(reader: &Reader, named: impl IntoIterator<Item = Named>) -> Result<Vec<Named>, IndexError> {
    let sources = reader.sources()?;
    let mut missing = Vec::new();
    for named in named {
        let mut is_there = false;
        // Of another writer of the source, what it wrote shows as a source of its own.
        for source in sources.iter().filter(|s| s.root == named.root && s.is_of(&named.host)) {
            is_there |= has(reader, source, &named)?;
        }
        if !is_there {
            missing.push(named);
        }
    }
    Ok(missing)
}
