//! Packs and frames: what of them still reads or is still on the disk is stored anew, and what can't be read is stated.

use crate::index::{
    bad::{FramePlace, NeededChunk},
    check::FrameRow,
};
use crate::repair::{disk, error::RepairError, ground::Ground};
use crate::repo::{
    collect::{
        attend,
        losses::{self, Losses},
    },
    ingest::{Claims, Ingest},
    replay,
};
use crate::types::ids::{Hash, Id};
use crate::verify::{
    files::{Needing, needing},
    report::Report,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

/// What became of contents.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// The frames that are stated now, and were not before.
    pub frames: BTreeSet<FramePlace>,
    /// Chunks that were stored anew out of damaged packs, since their frames still read.
    pub from_packs: u64,
    /// Chunks that were stored anew from files of the disk.
    pub from_disk: u64,
    /// These files.
    pub files: Vec<Vec<u8>>,
    /// The bytes that this took in the repository.
    pub stored_bytes: u64,
    /// The packs that were made.
    pub made: Vec<Id>,
    /// The objects that state it.
    pub statements: Vec<String>,
    /// The versions of files that can't be given back, under each of their names.
    pub lost: Vec<LostVersion>,
}

/// A version of a file that can't be given back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostVersion {
    /// Which.
    pub of: Needing,
    /// Whether an earlier repair has stated all that it lacks.
    pub known: bool,
}

/// Repairs what a check of all data has found of packs. In a trial nothing is stored or stated, and what would be is told.
pub fn repair(ground: Ground<'_>, report: &Report) -> Result<Contents, RepairError> {
    let at = ground.at;
    if !ground.trial {
        attend::register(at, ground.host)?;
    }
    // What is made here is known to nobody before it is stated: as with a capture, nobody deletes it until then.
    let capturing = attend::capturing(at)?;
    let reader = at.reader()?;
    let stated = reader.bad_frames()?;
    let is_stated = |place: &FramePlace| stated.get(place).copied().unwrap_or(false);
    let mut rows: HashMap<i64, FrameRow> = HashMap::new();
    reader.each_frame(|row| {
        if report.torn_packs.contains(&row.pack) || report.bad_frames.contains(&place(&row)) {
            rows.insert(row.num, row);
        }
    })?;
    let mut done = Contents {
        frames: rows.values().map(place).filter(|place| !is_stated(place)).collect(),
        ..Contents::default()
    };
    let nums: HashSet<i64> = rows.keys().copied().collect();
    let needed = reader.needed_in(&nums)?;
    let mut wanted: HashMap<Hash, Vec<&NeededChunk>> = HashMap::new();
    for chunk in &needed {
        if !reader.is_elsewhere(chunk, &nums)? {
            wanted.entry(chunk.hash).or_default().push(chunk);
        }
    }
    let found = look(ground, (&rows, &wanted), &mut done)?;
    let lost: HashSet<i64> = wanted
        .iter()
        .filter(|(hash, _)| !found.contains(hash))
        .flat_map(|(_, same)| same.iter().map(|c| c.num))
        .collect();
    let known: HashSet<i64> =
        needed.iter().filter(|c| rows.get(&c.frame).is_some_and(|row| is_stated(&place(row)))).map(|c| c.num).collect();
    let versions = needing(&reader, &lost)?.into_iter();
    done.lost = versions.map(|of| LostVersion { known: of.chunks.iter().all(|n| known.contains(n)), of }).collect();
    if ground.trial || (done.frames.is_empty() && done.made.is_empty()) {
        return Ok(done);
    }
    let (time, host) = (at.moment().now(), ground.host.to_owned());
    let losses = Losses { time, host, frames: done.frames.clone(), made: done.made.clone() };
    done.statements = losses::state(at.repo(), &losses)?;
    at.repo().store().settle().map_err(crate::repo::error::RepoError::from)?;
    drop(capturing);
    // From here on this host's contents name what was stored anew.
    for problem in replay::catch_up(at, ground.progress)?.problems {
        tracing::warn!("{problem}");
    }
    Ok(done)
}

/// Looks for chunks and stores them anew. Gives those that were found.
fn look(
    ground: Ground<'_>,
    (rows, wanted): (&HashMap<i64, FrameRow>, &HashMap<Hash, Vec<&NeededChunk>>),
    done: &mut Contents,
) -> Result<HashSet<Hash>, RepairError> {
    let mut found: HashSet<Hash> = HashSet::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let at = ground.at;
    let reader = at.reader()?;
    let claims = Arc::new(Claims::default());
    let hashes = wanted.keys().copied().collect();
    let mut ingest = Ingest::new(at.repo().clone(), at.reader()?, claims, ground.level)?.only(hashes, ground.trial);
    let go_on = || if ground.stop.load(Ordering::Relaxed) { Err(RepairError::Stopped) } else { Ok(()) };
    let mut by_frame: HashMap<i64, Vec<&NeededChunk>> = HashMap::new();
    wanted.values().flatten().for_each(|chunk| by_frame.entry(chunk.frame).or_default().push(chunk));
    ground.progress.start("reading what is left of damaged packs", None);
    let mut frames: Vec<(&FrameRow, Vec<&NeededChunk>)> =
        by_frame.into_iter().filter_map(|(num, chunks)| Some((rows.get(&num)?, chunks))).collect();
    frames.sort_unstable_by_key(|(row, _)| (row.pack, row.frame.number));
    for (row, mut chunks) in frames {
        go_on()?;
        chunks.sort_unstable_by_key(|chunk| chunk.offset);
        found.extend(disk::from_frame(at.repo(), row, &chunks, &mut ingest)?);
        ground.progress.add(1, u64::from(row.frame.sealed_len));
    }
    done.from_packs = found.len() as u64;
    ground.progress.start("looking for the rest on the disk", None);
    let missing = |found: &HashSet<Hash>| -> HashSet<i64> {
        wanted
            .iter()
            .filter(|(hash, _)| !found.contains(*hash))
            .flat_map(|(_, same)| same.iter().map(|c| c.num))
            .collect()
    };
    let sources = reader.sources()?;
    let is_here = |of: &Needing| sources.iter().any(|s| s.num == of.source && s.is_of(ground.host));
    let paths: BTreeSet<Vec<u8>> =
        needing(&reader, &missing(&found))?.into_iter().filter(is_here).map(|of| of.file.path).collect();
    for path in paths {
        go_on()?;
        if found.len() == wanted.len() {
            break;
        }
        let before = found.len();
        let there = disk::from_file(&path, &mut ingest)?;
        found.extend(there.into_iter().filter(|hash| wanted.contains_key(hash)));
        ground.progress.add(1, 0);
        if found.len() > before {
            done.files.push(path);
        }
    }
    done.from_disk = found.len() as u64 - done.from_packs;
    ground.progress.finish();
    let (framed, bytes) = ingest.finish()?;
    done.made = framed.iter().map(|(pack, _)| *pack).collect::<BTreeSet<Id>>().into_iter().collect();
    done.stored_bytes = bytes;
    Ok(found)
}

fn place(row: &FrameRow) -> FramePlace {
    (row.pack, row.frame.number)
}
