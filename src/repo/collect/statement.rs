//! What collection writes down under `gc/`, and the names of it.
//!
//! | name | what |
//! | --- | --- |
//! | `gc/<epoch>` | a statement: what was moved, and what will be deleted |
//! | `gc/host-<id>-<tag>` | a host that writes: nothing is deleted before it has seen that it will be |
//! | `gc/seen-<id>-<epoch>-<tag>` | a host that has seen a statement, and has stored all that it captured before |
//! | `gc/retired-<id>-<tag>` | a host that is not waited for any more |
//! | `gc/lost-<id>-<tag>` | a statement of losses: frames that can't be read, and packs with what could be stored anew ([`super::losses`]) |
//! | `gc/lock-<source>-<tag>` | a lock on the history of a source: nothing younger is released, whatever settings say later |
//!
//! A tag is random, eight hexadecimal digits, since two processes of a host may say the same at once.
//!
//! All have the form of a segment, with one item. That of a statement: 1 (the version of this layout); the time and the host; and
//! five lists, each behind its length: packs made of others, packs that will be deleted, the names of journal objects that will be
//! deleted, and the names of statements that this one takes the place of. That of the others: 1, the time, and the name of the host, or the window of the lock.

use crate::chunk::compress::Compressor;
use crate::crypto::{random, seal::ObjectKind};
use crate::repo::{
    error::{Damage, RepoError},
    names::{COLLECTION, Epoch, Merged, Segment},
    open::Repository,
    segment::{SegmentBuilder, read_kind},
};
use crate::types::{
    ids::Id,
    time::Instant,
    wire::{Reader, WireError, put_bytes, put_i64, put_u64},
};

/// The longest statement that a reader accepts, in bytes.
pub(in crate::repo) const STATEMENT_MAX: u64 = 256 << 20;
/// The length of a tag, in bytes.
const TAG_LEN: usize = 4;

/// What an object of collection is, by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Named {
    /// A statement.
    Statement(Epoch),
    /// A host that writes.
    Host(Id),
    /// A host that has seen a statement.
    Seen(Id, Epoch),
    /// A host that is not waited for.
    Retired(Id),
    /// A lock on the history of a source.
    Lock(Id),
    /// A statement of losses, by a random id.
    Lost(Id),
}

impl Named {
    /// How the object's name begins; that of a statement is whole.
    fn stem(&self) -> String {
        match self {
            Named::Statement(epoch) => format!("{COLLECTION}{}", epoch.as_str()),
            Named::Host(id) => format!("{COLLECTION}host-{id}"),
            Named::Seen(id, epoch) => format!("{COLLECTION}seen-{id}-{}", epoch.as_str()),
            Named::Retired(id) => format!("{COLLECTION}retired-{id}"),
            Named::Lock(source) => format!("{COLLECTION}lock-{source}"),
            Named::Lost(id) => format!("{COLLECTION}lost-{id}"),
        }
    }

    /// What the object with this name is; `None` for any other name.
    pub fn parse(name: &str) -> Option<Named> {
        let name = name.strip_prefix(COLLECTION)?;
        if let Some(epoch) = Epoch::parse(name) {
            return Some(Named::Statement(epoch));
        }
        let (name, tag) = name.rsplit_once('-')?;
        if tag.len() != TAG_LEN * 2 || !tag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let (what, id) = name.split_once('-')?;
        match what {
            "host" => Some(Named::Host(Id::parse(id)?)),
            "retired" => Some(Named::Retired(Id::parse(id)?)),
            "lock" => Some(Named::Lock(Id::parse(id)?)),
            "lost" => Some(Named::Lost(Id::parse(id)?)),
            "seen" => {
                let (id, epoch) = id.split_once('-')?;
                Some(Named::Seen(Id::parse(id)?, Epoch::parse(epoch)?))
            }
            _ => None,
        }
    }
}

/// The name of a statement.
pub fn name(epoch: &Epoch) -> String {
    Named::Statement(epoch.clone()).stem()
}

/// A statement of collection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statement {
    /// When it was made, for people.
    pub time: Instant,
    /// The host that made it, for people.
    pub host: String,
    /// All packs that were made of others and are still there.
    pub moved: Vec<Id>,
    /// Packs that will be deleted.
    pub packs: Vec<Id>,
    /// Objects of journals that will be deleted.
    pub objects: Vec<String>,
    /// Statements that need not be read beside this one.
    pub replaces: Vec<String>,
}

impl Statement {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.objects.is_empty()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        put_i64(&mut out, self.time.0);
        put_bytes(&mut out, self.host.as_bytes());
        for ids in [&self.moved, &self.packs] {
            put_u64(&mut out, ids.len() as u64);
            ids.iter().for_each(|id| out.extend_from_slice(&id.0));
        }
        for names in [&self.objects, &self.replaces] {
            put_u64(&mut out, names.len() as u64);
            names.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Statement, WireError> {
        let mut r = Reader::new(bytes);
        if r.u8()? != 1 {
            return Err(WireError::Invalid("a layout of statements that this version does not know"));
        }
        let time = Instant(r.i64()?);
        let host = text(&mut r, 255)?;
        let (moved, packs) = (ids(&mut r)?, ids(&mut r)?);
        let (objects, replaces) = (texts(&mut r)?, texts(&mut r)?);
        if !r.is_empty() {
            return Err(WireError::Invalid("bytes behind its end"));
        }
        // Nothing but parts of journals and statements is ever deleted by name.
        let deletable = |name: &String| Segment::parse(name).is_some() || Merged::parse(name).is_some();
        let statement = |name: &String| matches!(Named::parse(name), Some(Named::Statement(_)));
        if !objects.iter().all(deletable) || !replaces.iter().all(statement) {
            return Err(WireError::Invalid("the name of an object that collection does not delete"));
        }
        Ok(Statement { time, host, moved, packs, objects, replaces })
    }
}

pub(super) fn ids(r: &mut Reader<'_>) -> Result<Vec<Id>, WireError> {
    let count = r.u64_max((r.len() / 16) as u64, "more ids than its bytes can hold")?;
    (0..count).map(|_| r.id()).collect()
}

pub(super) fn text(r: &mut Reader<'_>, max: usize) -> Result<String, WireError> {
    String::from_utf8(r.bytes(max)?.to_vec()).map_err(|_| WireError::Invalid("no text"))
}

fn texts(r: &mut Reader<'_>) -> Result<Vec<String>, WireError> {
    let count = r.u64_max(r.len() as u64, "more names than its bytes can hold")?;
    (0..count).map(|_| text(r, 512)).collect()
}

/// Writes a statement. It counts when this returns.
pub fn write(repo: &Repository, epoch: &Epoch, statement: &Statement) -> Result<(), RepoError> {
    put(repo, name(epoch), &statement.encode())
}

/// Reads a statement.
pub fn read(repo: &Repository, epoch: &Epoch) -> Result<Statement, RepoError> {
    let name = name(epoch);
    let item = get(repo, &name)?;
    Statement::decode(&item).map_err(|e| repo.damaged(&name, "statement of collection", e.into()))
}

/// Writes a note: that a host is there, has seen a statement, or is retired; or a lock. Gives the name of its object.
pub fn note(repo: &Repository, named: &Named, time: Instant, host: &str) -> Result<String, RepoError> {
    let mut out = vec![1];
    put_i64(&mut out, time.0);
    put_bytes(&mut out, host.as_bytes());
    put_tagged(repo, named, &out)
}

/// Puts an object of collection whose name ends in a tag. Gives that name.
pub(super) fn put_tagged(repo: &Repository, named: &Named, item: &[u8]) -> Result<String, RepoError> {
    let tag: [u8; TAG_LEN] = random::bytes()?;
    let name = format!("{}-{:08x}", named.stem(), u32::from_be_bytes(tag));
    put(repo, name.clone(), item)?;
    Ok(name)
}

/// Reads a note: when it was written, and the name of the host, or the window of the lock.
pub fn read_note(repo: &Repository, name: &str) -> Result<(Instant, String), RepoError> {
    let item = get(repo, name)?;
    let decode = || -> Result<(Instant, String), WireError> {
        let mut r = Reader::new(&item);
        match r.u8()? {
            1 => Ok((Instant(r.i64()?), text(&mut r, 255)?)),
            _ => Err(WireError::Invalid("a layout of notes that this version does not know")),
        }
    };
    decode().map_err(|e| repo.damaged(name, "note", e.into()))
}

fn put(repo: &Repository, name: String, item: &[u8]) -> Result<(), RepoError> {
    let mut compressor = Compressor::new(3).map_err(|source| RepoError::State {
        doing: "set up compression for",
        path: "a statement of collection".into(),
        source,
    })?;
    let mut object = SegmentBuilder::of(ObjectKind::Collection, repo.keys(), name)?;
    object.push(&mut compressor, item);
    let (name, bytes) = object.finish(&mut compressor);
    Ok(repo.store().put(&name, &bytes)?)
}

pub(super) fn get(repo: &Repository, name: &str) -> Result<Vec<u8>, RepoError> {
    let bytes = repo.store().get(name, STATEMENT_MAX)?;
    let mut found = None;
    let location = repo.store().location();
    read_kind(ObjectKind::Collection, repo.keys(), (&location, name), &bytes, |item| -> Result<(), RepoError> {
        found = Some(item.to_vec());
        Ok(())
    })?;
    found.ok_or_else(|| repo.damaged(name, "statement of collection", Damage::other("it is empty")))
}
