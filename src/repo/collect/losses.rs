//! What a repair states of losses: frames that can't be read, and packs in which chunks of them were stored anew. Every host takes it in:
//! nothing is deduplicated against these frames any more, and contents name the same chunks elsewhere, where they are.
//!
//! The item of such an object: 1 (the version of this layout); the time and the host; how many packs there are, and for each its id, how
//! many frames, and their numbers, each as how much it is above the one before; and the ids of the packs that were made, behind their
//! number.

use crate::crypto::random;
use crate::index::{apply::PATIENT, bad::FramePlace};
use crate::repo::{
    attach::Attached,
    collect::statement::{self, Named},
    error::RepoError,
    names,
    open::Repository,
    opener::read_table,
};
use crate::types::{
    ids::Id,
    time::Instant,
    wire::{Reader, WireError, put_bytes, put_i64, put_u64},
};
use std::collections::{BTreeMap, BTreeSet};

/// So many frames are in one statement.
const FRAMES_MAX: usize = 1 << 20;

/// A statement of losses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// When it was made, for people.
    pub time: Instant,
    /// The host that made it, for people.
    pub host: String,
    /// The frames that can't be read, or that are not to be read any more since their pack is damaged.
    pub frames: BTreeSet<FramePlace>,
    /// The packs in which some of their chunks were stored anew.
    pub made: Vec<Id>,
}

impl Losses {
    fn encode(&self) -> Vec<u8> {
        let mut packs: BTreeMap<Id, Vec<u32>> = BTreeMap::new();
        self.frames.iter().for_each(|(pack, number)| packs.entry(*pack).or_default().push(*number));
        let mut out = vec![1];
        put_i64(&mut out, self.time.0);
        put_bytes(&mut out, self.host.as_bytes());
        put_u64(&mut out, packs.len() as u64);
        for (pack, numbers) in packs {
            out.extend_from_slice(&pack.0);
            put_u64(&mut out, numbers.len() as u64);
            let mut before = 0;
            for number in numbers {
                put_u64(&mut out, u64::from(number - before));
                before = number;
            }
        }
        put_u64(&mut out, self.made.len() as u64);
        self.made.iter().for_each(|id| out.extend_from_slice(&id.0));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Losses, WireError> {
        let mut r = Reader::new(bytes);
        if r.u8()? != 1 {
            return Err(WireError::Invalid("a layout of losses that this version does not know"));
        }
        let time = Instant(r.i64()?);
        let host = statement::text(&mut r, 255)?;
        let mut frames = BTreeSet::new();
        for _ in 0..r.u64_max((r.len() / 16) as u64, "more packs than its bytes can hold")? {
            let pack = r.id()?;
            let mut before = 0u32;
            for _ in 0..r.u64_max(r.len() as u64, "more frames than its bytes can hold")? {
                before = before.checked_add(r.u32()?).ok_or(WireError::Invalid("a frame with too large a number"))?;
                frames.insert((pack, before));
            }
        }
        let made = statement::ids(&mut r)?;
        match r.is_empty() {
            true => Ok(Losses { time, host, frames, made }),
            false => Err(WireError::Invalid("bytes behind its end")),
        }
    }
}

/// States losses. They count when this returns; the packs that were made must be durable before. Gives the names of the objects: one,
/// unless there are very many frames.
pub fn state(repo: &Repository, losses: &Losses) -> Result<Vec<String>, RepoError> {
    let all: Vec<FramePlace> = losses.frames.iter().copied().collect();
    let mut parts: Vec<&[FramePlace]> = all.chunks(FRAMES_MAX).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let mut names = Vec::new();
    for frames in parts {
        let part = Losses { frames: frames.iter().copied().collect(), ..losses.clone() };
        names.push(statement::put_tagged(repo, &Named::Lost(random::id()?), &part.encode())?);
    }
    Ok(names)
}

/// Reads a statement of losses.
pub fn read(repo: &Repository, name: &str) -> Result<Losses, RepoError> {
    let item = statement::get(repo, name)?;
    Losses::decode(&item).map_err(|e| repo.damaged(name, "statement of losses", e.into()))
}

/// Takes one in, where that was not done: what was stored anew is known from then on, and contents name it when the index is mended.
pub(super) fn take_in(at: &Attached, name: &str) -> Result<(), RepoError> {
    let reader = at.reader()?;
    if reader.is_collected(name)? {
        return Ok(());
    }
    let losses = match read(at.repo(), name) {
        Err(RepoError::Store(e)) if e.is_missing() => return Ok(()),
        other => other?,
    };
    for id in &losses.made {
        match read_table(at.repo(), *id) {
            Ok(table) => at.index().learn_pack(*id, &table.frames, PATIENT)?,
            // It may have been made into another one since, or be damaged itself: the rest counts all the same.
            Err(e) if e.is_damage() => tracing::info!("{} has nothing to offer: {e}", names::pack(*id)),
            Err(e) => return Err(e),
        }
    }
    let frames: Vec<FramePlace> = losses.frames.into_iter().collect();
    Ok(at.index().set_lost(name, &frames, PATIENT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Losses {
        let frames = [(Id([1; 16]), 0), (Id([1; 16]), 300), (Id([2; 16]), 7)].into_iter().collect();
        Losses { time: Instant(5), host: "host".into(), frames, made: vec![Id([3; 16])] }
    }

    #[test]
    fn what_is_written_reads() {
        assert_eq!(Losses::decode(&some().encode()).unwrap(), some());
        let none = Losses::default();
        assert_eq!(Losses::decode(&none.encode()).unwrap(), none);
    }

    #[test]
    fn what_is_cut_or_longer_does_not() {
        let bytes = some().encode();
        for len in 0..bytes.len() {
            assert!(Losses::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Losses::decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_number_that_is_too_large_is_refused() {
        let mut bytes = vec![1];
        put_i64(&mut bytes, 0);
        put_bytes(&mut bytes, b"");
        put_u64(&mut bytes, 1);
        bytes.extend_from_slice(&[1; 16]);
        put_u64(&mut bytes, 2);
        put_u64(&mut bytes, u64::from(u32::MAX));
        put_u64(&mut bytes, 1);
        put_u64(&mut bytes, 0);
        assert!(Losses::decode(&bytes).is_err());
    }
}
