//! Whether bytes are those that were put under a name, by the keys of the repository alone: for what passes from one copy of it to
//! another.

use crate::crypto::{
    generation,
    keys::{Keys, Sealing},
    seal::{ObjectKind, TAG_LEN},
    slots,
};
use crate::repo::{
    audit::place::Place,
    collect::statement::{self, Named},
    error::{Damage, RepoError},
    header, holding,
    names::{self, Merged, Segment},
    open::{self, Repository},
    pack::{self, FOOTER_LEN, PACK_MAX},
    promotion, sealed,
    segment::{self, SEGMENT_MAX},
};
use crate::store::api::StoreError;
use crate::types::{ids::Id, role::Need};

/// What the system says of a disk that can't read.
const EIO: i32 = 5;

/// What an object is, by its name. In the order in which they are copied: nothing names what is not copied before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sort {
    /// A key slot.
    Slot,
    /// A generation of the keys.
    Generation,
    /// The description of the repository.
    Description,
    /// A pack.
    Pack,
    /// What collection states: where the frames of packs are that are gone.
    Collection,
    /// What a copy states that it holds.
    Holding,
    /// What a place states of whether it goes on.
    Promotion,
    /// A segment of a merged history.
    MergedSegment,
    /// The head of one, which names its segments.
    MergedHead,
    /// A segment of a journal.
    Segment,
    /// Something done about a legal hold.
    Hold,
    /// An entry of the audit trail, which names snapshots.
    Audit,
}

impl Sort {
    /// What the object of this name is; `None` for what is no object of this format.
    pub fn of(name: &str) -> Option<Sort> {
        if let Some(merged) = Merged::parse(name) {
            return Some(if merged.seq == 0 { Sort::MergedHead } else { Sort::MergedSegment });
        }
        let is = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        match name {
            names::REPOSITORY => Some(Sort::Description),
            _ if names::parse_pack(name).is_some() => Some(Sort::Pack),
            _ if Segment::parse(name).is_some() => Some(Sort::Segment),
            _ if Named::parse(name).is_some() => Some(Sort::Collection),
            _ if name.strip_prefix(names::KEYS).and_then(Id::parse).is_some() => Some(Sort::Slot),
            _ if names::parse_generation(name).is_some() => Some(Sort::Generation),
            _ if holding::parse(name).is_some() => Some(Sort::Holding),
            _ if promotion::Named::parse(name).is_some() => Some(Sort::Promotion),
            _ if is(names::HOLDS) => Some(Sort::Hold),
            _ if Place::parse(name).is_some() => Some(Sort::Audit),
            _ => None,
        }
    }

    /// The most bytes that an object of the sort has.
    pub fn max(self) -> u64 {
        match self {
            Sort::Slot => open::SLOT_MAX,
            Sort::Generation => generation::BYTES_MAX,
            Sort::Description => open::DESCRIPTION_MAX,
            Sort::Pack => PACK_MAX,
            Sort::Collection => statement::STATEMENT_MAX,
            Sort::MergedSegment | Sort::MergedHead | Sort::Segment => SEGMENT_MAX,
            Sort::Hold | Sort::Audit | Sort::Holding | Sort::Promotion => sealed::MAX,
        }
    }
}

/// Reads an object whole and checks it as [`check`] does. One that is longer than its sort may be, or that the disk below gives an I/O
/// error for, is damaged too; any other error of the store says nothing about the object.
pub fn read(repo: &Repository, name: &str) -> Result<Vec<u8>, RepoError> {
    let damaged = |why: String| repo.damaged(name, "object", Damage::other(why));
    let max = Sort::of(name).ok_or_else(|| damaged("it has the name of no object".to_owned()))?.max();
    let bytes = match repo.store().get(name, max) {
        Err(e @ StoreError::Io { .. }) => match (repo.store().size(name), &e) {
            (Ok(len), _) if len > max => {
                return Err(damaged(format!("it has {len} bytes, more than the {max} it may have")));
            }
            (_, StoreError::Io { source, .. }) if source.raw_os_error() == Some(EIO) => {
                return Err(damaged(format!("it can't be read: {source}")));
            }
            _ => return Err(e.into()),
        },
        got => got?,
    };
    check(repo, name, &bytes)?;
    Ok(bytes)
}

/// Fails unless these bytes, all of them, are what was put under this name: every sealed piece opens in its place, and nothing stands
/// between or behind them. Key slots and generations of keys are checked against damage; that nobody has put another in its place only
/// the key of a slot can tell.
pub fn check(repo: &Repository, name: &str, bytes: &[u8]) -> Result<(), RepoError> {
    let damaged = |what: &str, why: Damage| repo.damaged(name, what, why);
    let sort = Sort::of(name).ok_or_else(|| damaged("name", Damage::other("it is no object's")))?;
    let pieces = |kind| {
        let location = repo.store().location();
        segment::read_kind(kind, repo.keys(), (&location, name), bytes, |_| Ok::<_, RepoError>(()))
    };
    match sort {
        Sort::Description => open::is_description(repo, bytes),
        Sort::Slot => match slots::describe_slot(bytes) {
            Ok(info) if names::slot(info.id) == name => Ok(()),
            Ok(info) => Err(damaged("slot", Damage::other(format!("it is the slot {}", info.id)))),
            Err(e) => Err(damaged("slot", Damage::other(e.to_string()))),
        },
        Sort::Generation => match generation::describe(bytes) {
            Ok(stated) if names::generation(stated.generation) == name => Ok(()),
            Ok(stated) => Err(damaged("generation", Damage::other(format!("it states {}", stated.generation)))),
            Err(why) => Err(damaged("generation", Damage::other(why))),
        },
        Sort::Pack => {
            let id = names::parse_pack(name).ok_or_else(|| damaged("name", Damage::other("it has no id")))?;
            check_pack(repo.keys(), id, bytes).map_err(|(what, why)| damaged(&what, why))
        }
        Sort::Collection => pieces(ObjectKind::Collection),
        Sort::MergedSegment | Sort::MergedHead | Sort::Segment => pieces(ObjectKind::Journal),
        Sort::Holding => sealed::open(repo, ObjectKind::Holding, name, bytes).map(drop),
        Sort::Promotion => sealed::open(repo, ObjectKind::Promotion, name, bytes).map(drop),
        Sort::Hold => sealed::open(repo, ObjectKind::Hold, name, bytes).map(drop),
        Sort::Audit => sealed::open(repo, ObjectKind::Audit, name, bytes).map(drop),
    }
}

/// A pack: its header, each frame of its table, one behind the other, and nothing else. Keys that do not open content leave what is in
/// the frames unchecked.
fn check_pack(keys: &Keys, id: Id, bytes: &[u8]) -> Result<(), (String, Damage)> {
    let of = |what: &str| what.to_owned();
    let (name, head) = (names::pack(id), header::pack_len(keys.sealing()));
    let (found, generation) =
        header::read(bytes, ObjectKind::Pack, keys.sealing()).map_err(|why| (of("header"), why))?;
    if found != id {
        return Err((of("header"), Damage::other(format!("it is the pack {found} under another name"))));
    }
    let cut = || (of("table"), Damage::other("it is too short to have one"));
    let end = bytes.len().checked_sub(FOOTER_LEN).filter(|end| *end >= head).ok_or_else(cut)?;
    let key_data = &bytes[header::LEN..head];
    let key = match keys.sealing() {
        Sealing::One => {
            Some(keys.object(generation, ObjectKind::Pack, id, &name).map_err(|e| (of("header"), e.into()))?)
        }
        Sealing::Apart => {
            keys.check_key_data(generation, id, key_data).map_err(|e| (of("header"), e.into()))?;
            let may = keys.role().check(Need::Content).is_ok();
            may.then(|| keys.frames(generation, id, &name, key_data))
                .transpose()
                .map_err(|e| (of("header"), e.into()))?
        }
    };
    let table = pack::table_len(&bytes[end..], bytes.len() as u64).map_err(|why| (of("table"), why))? as usize;
    let start = end.checked_sub(table).ok_or_else(cut)?;
    let table =
        pack::read_table(keys, id, &bytes[end..], &mut bytes[start..end].to_vec()).map_err(|why| (of("table"), why))?;
    if table.generation != generation || table.key_data.is_some_and(|data| data.as_slice() != key_data) {
        return Err((of("table"), Damage::other("it states another key than the header")));
    }
    let mut at = head;
    let mut piece = Vec::new();
    for frame in &table.frames {
        let what = format!("frame {} at byte {at}", frame.number);
        let upto = at.saturating_add(frame.sealed_len as usize);
        let sealed = bytes[..start].get(at..upto).filter(|sealed| sealed.len() >= TAG_LEN);
        let sealed = sealed.ok_or_else(|| (what.clone(), Damage::other("it is cut short")))?;
        if let Some(key) = &key {
            piece.clear();
            piece.extend_from_slice(sealed);
            key.open_part(u64::from(frame.number), &mut piece).map_err(|e| (what, e.into()))?;
        }
        at = upto;
    }
    match at == start {
        true => Ok(()),
        false => Err((of("frames"), Damage::other("bytes stand between them and the table"))),
    }
}
