//! Records: what one snapshot says, in one or more parts.
//!
//! A part begins with: 1 (the version of this layout), the source's id, the snapshot's number, the part's number, and flags (bit 0: the last
//! part). Part 0 goes on with the hash of the record before, the tier, for a differential the number and hash of the full it builds on,
//! the source's number, its host and its root. A full whose changes are not those since the record before has 3 for its tier. Then come operations, up to a zero byte; then, in the last part, the snapshot's time, its counts, and the next numbers that
//! the writer will give.
//!
//! A part of a merged record begins with 2 instead of 1. It says the same, but for part 0: behind the tier come the number and hash of the
//! snapshot that it follows (number 0 and zeros for the first one, which states a whole tree) and the hash of the record that it stands
//! for. The hash of the record before is that of the merged one.
//! The hash of a record is the BLAKE3 hash of its parts, each behind its length of 8 bytes,
//! little-endian.

use crate::repo::error::{Damage, RepoError};
use crate::types::{
    ids::{Hash, Id, Snap, SourceNum},
    op::Op,
    snapshot::{Counters, Counts, Source, Tier},
    time::Instant,
    wire::{Reader, WireError, put_bytes, put_i64, put_u64},
};

/// What stands for the tier in a full of which only the statement counts.
const RESTATING: u8 = 3;

/// What part 0 states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The hash of the record before.
    pub previous: Hash,
    /// The tier.
    pub tier: Tier,
    /// The full that a differential builds on: its number, and the hash of its record.
    pub base: Option<(Snap, Hash)>,
    /// Whether only its statement counts: its writer did not know the tree of the record before, but an older one. Only a full does.
    pub restates: bool,
    /// For a merged record, the hash of the record that it stands for.
    pub stands_for: Option<Hash>,
    /// The source.
    pub source: Source,
}

/// What the last part states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closing {
    /// The time of the snapshot.
    pub time: Instant,
    /// What was captured.
    pub counts: Counts,
    /// The next numbers to give.
    pub next: Counters,
}

/// What a part is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// A record as its writer sealed it.
    Record = 1,
    /// A record of a merged history.
    Merged = 2,
}

/// Where a part stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The source.
    pub source: Id,
    /// The snapshot.
    pub number: Snap,
    /// The number of the part.
    pub part: u64,
    /// Whether the record ends with it.
    pub last: bool,
}

/// Begins a part: what stands before its operations.
pub fn begin_part(place: Place, opening: Option<&Opening>, layout: Layout) -> Vec<u8> {
    let mut out = vec![layout as u8];
    out.extend_from_slice(&place.source.0);
    put_u64(&mut out, place.number.0);
    put_u64(&mut out, place.part);
    out.push(u8::from(place.last));
    if let Some(o) = opening {
        out.extend_from_slice(&o.previous.0);
        out.push(if o.restates { RESTATING } else { o.tier as u8 });
        let base = o.base.or_else(|| o.stands_for.map(|_| (Snap(0), Hash::ZERO)));
        if let Some((number, hash)) = base {
            put_u64(&mut out, number.0);
            out.extend_from_slice(&hash.0);
        }
        if let Some(hash) = &o.stands_for {
            out.extend_from_slice(&hash.0);
        }
        put_u64(&mut out, u64::from(o.source.num.0));
        put_bytes(&mut out, o.source.host.as_bytes());
        put_bytes(&mut out, &o.source.root);
    }
    out
}

/// Ends a part: what stands behind its operations.
pub fn end_part(out: &mut Vec<u8>, closing: Option<&Closing>) {
    out.push(0);
    if let Some(c) = closing {
        put_i64(out, c.time.0);
        let n = &c.counts;
        for v in [n.new, n.changed, n.removed, n.read_bytes, n.stored_bytes, n.unreadable, n.fuzzy] {
            put_u64(out, v);
        }
        for v in [c.next.dir, c.next.other, c.next.ver] {
            put_u64(out, v);
        }
    }
}

/// The running hash of a record.
#[derive(Default)]
pub struct RecordHasher(blake3::Hasher);

impl RecordHasher {
    /// Takes the next part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The hash.
    pub fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }
}

/// A part, opened as far as what stands before its operations.
pub struct Part<'a> {
    /// What it is of.
    pub layout: Layout,
    /// Where it stands.
    pub place: Place,
    /// What part 0 states.
    pub opening: Option<Opening>,
    rest: Reader<'a>,
}

impl<'a> Part<'a> {
    /// Reads what stands before the operations.
    pub fn read(bytes: &'a [u8]) -> Result<Part<'a>, WireError> {
        let mut r = Reader::new(bytes);
        let layout = match r.u8()? {
            1 => Layout::Record,
            2 => Layout::Merged,
            _ => return Err(WireError::Invalid("a layout of records that this version does not know")),
        };
        let source = r.id()?;
        let number = Snap(r.u64_max((1 << 47) - 1, "a snapshot number above 47 bits")?);
        let part = r.u64()?;
        let last = r.u64_max(1, "unknown flags of a part")? == 1;
        let opening = if part == 0 { Some(read_opening(&mut r, source, number, layout)?) } else { None };
        Ok(Part { layout, place: Place { source, number, part, last }, opening, rest: r })
    }

    /// Hands each operation to `f`; then gives what the last part states.
    pub fn ops<E: From<RepoError>>(
        mut self,
        damaged: impl Fn(Damage) -> RepoError,
        mut f: impl FnMut(Op) -> Result<(), E>,
    ) -> Result<Option<Closing>, E> {
        let wrong = |e: WireError| E::from(damaged(e.into()));
        loop {
            // The tag 0 is no operation: it ends them.
            let mut ahead = self.rest.clone();
            if ahead.u8().map_err(wrong)? == 0 {
                self.rest = ahead;
                break;
            }
            f(Op::decode(&mut self.rest).map_err(wrong)?)?;
        }
        let closing = if self.place.last { Some(read_closing(&mut self.rest).map_err(wrong)?) } else { None };
        if self.rest.is_empty() { Ok(closing) } else { Err(wrong(WireError::Invalid("bytes behind its end"))) }
    }
}

fn read_opening(r: &mut Reader<'_>, id: Id, number: Snap, layout: Layout) -> Result<Opening, WireError> {
    let previous = r.hash()?;
    let tier = r.u8()?;
    let restates = layout == Layout::Record && tier == RESTATING;
    let tier = if restates { Some(Tier::Full) } else { Tier::from_u8(tier) };
    let tier = tier.ok_or(WireError::Invalid("a tier that this version does not know"))?;
    let base = match (layout, tier) {
        (Layout::Merged, _) | (_, Tier::Differential) => {
            let before = number.0.saturating_sub(1);
            Some((Snap(r.u64_max(before, "a record that builds on no snapshot before it")?), r.hash()?))
        }
        _ => None,
    };
    let stands_for = if layout == Layout::Merged { Some(r.hash()?) } else { None };
    let base = base.filter(|(number, _)| stands_for.is_none() || *number != Snap(0));
    let num = r.u64_max(u64::from(SourceNum::MAX), "a source number above 14 bits")? as u16;
    let host = std::str::from_utf8(r.bytes(255)?).map_err(|_| WireError::Invalid("the name of a host"))?.to_owned();
    let root = r.bytes(1 << 20)?.to_vec();
    if num == 0 || root.first() != Some(&b'/') || root.contains(&0) {
        return Err(WireError::Invalid("a source that can't be"));
    }
    Ok(Opening { previous, tier, base, restates, stands_for, source: Source { id, num: SourceNum(num), host, root } })
}

fn read_closing(r: &mut Reader<'_>) -> Result<Closing, WireError> {
    let time = Instant(r.i64()?);
    let mut n = || r.u64_max(i64::MAX as u64, "a count above 63 bits");
    let counts = Counts {
        new: n()?,
        changed: n()?,
        removed: n()?,
        read_bytes: n()?,
        stored_bytes: n()?,
        unreadable: n()?,
        fuzzy: n()?,
    };
    Ok(Closing { time, counts, next: Counters { dir: n()?, other: n()?, ver: n()? } })
}
