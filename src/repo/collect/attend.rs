//! What every host does for collection: those that write are known, learn what will be deleted, and say that they have.
//!
//! A host says that it has seen a statement when nothing that it captured before can still come into the repository: no capture that
//! began before goes on, and what is queued is stored before the word of it is, since a queue keeps its order. What it captures from
//! then on is not deduplicated against what is marked. So when all hosts have seen a statement, the journals name all that needs
//! what it marks.

use crate::crypto::random;
use crate::index::{apply::PATIENT, packs::Collection};
use crate::repo::{
    attach::Attached,
    collect::{
        losses,
        statement::{self, Named},
    },
    error::RepoError,
    names::{self, COLLECTION, Epoch},
    opener::read_table,
};
use crate::store::api::Object;
use crate::sys::durable::{self, LockGuard};
use crate::types::ids::Id;
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};

/// Locked, shared, by every capture on this host, and alone by who says that none goes on.
const CAPTURES: &str = "captures.lock";
/// This host's id in the repository.
const HOST: &str = "host";
/// There when the repository is known to know this host.
const KNOWN: &str = "host-known";

/// What there is of collection in a repository, by the names of its objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Present {
    /// The statements, in order.
    pub statements: Vec<Epoch>,
    /// The hosts that are waited for, with the object that makes each known.
    pub hosts: HashMap<Id, String>,
    /// The hosts that are not.
    pub retired: HashSet<Id>,
    /// Which host has seen which statement.
    pub seen: HashSet<(Id, Epoch)>,
    /// The objects that say so.
    pub words: Vec<(Epoch, String)>,
    /// Statements that can't be read, as far as they were read.
    pub unread: HashSet<Epoch>,
    /// The statements of losses.
    pub losses: Vec<String>,
}

impl Present {
    /// From a list of objects.
    pub fn of(objects: &[Object]) -> Present {
        let mut present = Present::default();
        for (name, named) in objects.iter().filter_map(|o| Some((&o.name, Named::parse(&o.name)?))) {
            match named {
                Named::Statement(epoch) => present.statements.push(epoch),
                Named::Host(id) => drop(present.hosts.insert(id, name.clone())),
                Named::Seen(id, epoch) => {
                    present.words.push((epoch.clone(), name.clone()));
                    present.seen.insert((id, epoch));
                }
                Named::Retired(id) => drop(present.retired.insert(id)),
                Named::Lost(_) => present.losses.push(name.clone()),
                Named::Lock(_) => {}
            }
        }
        present.statements.sort();
        present.hosts.retain(|id, _| !present.retired.contains(id));
        present
    }

    /// The hosts that a statement still waits for.
    pub fn awaited<'a>(&'a self, epoch: &'a Epoch) -> impl Iterator<Item = Id> + 'a {
        self.hosts.keys().copied().filter(move |id| !self.seen.contains(&(*id, epoch.clone())))
    }
}

/// Lists what there is.
pub fn present(at: &Attached) -> Result<Present, RepoError> {
    Ok(Present::of(&at.repo().store().list(COLLECTION)?))
}

/// Held while a capture goes on: as long as one does, this host has seen no statement that came since it began.
#[derive(Debug)]
pub struct Capturing(#[expect(dead_code, reason = "held, not read")] LockGuard);

/// Says that a capture begins. Waits while another process says that none goes on, which takes a moment.
pub fn capturing(at: &Attached) -> Result<Capturing, RepoError> {
    let path = at.dir().join(CAPTURES);
    loop {
        match durable::lock_shared(&path).map_err(|e| state("lock", &path, e.into()))? {
            Some(lock) => return Ok(Capturing(lock)),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// This host's id in the repository; `None` where it never wrote.
pub fn host_id(at: &Attached) -> Result<Option<Id>, RepoError> {
    let path = at.dir().join(HOST);
    match std::fs::read_to_string(&path) {
        Ok(text) => match Id::parse(text.trim()) {
            Some(id) => Ok(Some(id)),
            None => Err(state("read", &path, std::io::Error::other("it holds no id; remove it to get a new one"))),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(state("read", &path, e)),
    }
}

/// Gives this host an id. Others may be doing so at the same moment, for other sources: there is one, whoever was first.
fn new_host_id(at: &Attached) -> Result<Id, RepoError> {
    let path = at.dir().join(HOST);
    match durable::write_new(&path, format!("{}\n", random::id()?).as_bytes(), 0o600) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(state("write", &path, e.into())),
        _ => {}
    }
    host_id(at)?.ok_or_else(|| state("read", &path, std::io::Error::other("it was removed; try again")))
}

/// This host is a new one from now on.
fn forget_host(at: &Attached) -> Result<(), RepoError> {
    for name in [KNOWN, HOST] {
        let path = at.dir().join(name);
        durable::remove(&path).map_err(|e| state("remove", &path, e.into()))?;
    }
    Ok(())
}

/// Whether the repository was known to know this host when it was asked last; the object that makes it known.
pub fn known(at: &Attached) -> Result<Option<String>, RepoError> {
    let path = at.dir().join(KNOWN);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(state("read", &path, e)),
    }
}

/// Makes this host known to the repository as one that writes, and takes in what collection has stated. Gives whether it is known
/// there: until then nothing is deduplicated, since what a host builds on that nobody knows of could be deleted.
pub fn register(at: &Attached, host: &str) -> Result<bool, RepoError> {
    let id = match host_id(at)? {
        Some(id) => id,
        None => new_host_id(at)?,
    };
    let present = attend(at)?;
    let name = match present.hosts.get(&id) {
        Some(name) => name.clone(),
        // It may also have been removed by somebody: then what is built from now on would not be known.
        None => statement::note(at.repo(), &Named::Host(id), at.moment().now(), host)?,
    };
    // What a statement that can't be read marks is not known: then nothing that is there is built on.
    if known(at)?.as_ref() == Some(&name) {
        return Ok(present.unread.is_empty());
    }
    // Queued is not known. This is done once in the life of a host, so it may take as long as what is queued.
    if let Err(e) = at.repo().store().settle() {
        tracing::warn!("nothing is deduplicated until the repository knows this host: {e}");
        return Ok(false);
    }
    // What was stated before the host was known is seen now; what is stated later waits for it.
    let present = attend(at)?;
    let path = at.dir().join(KNOWN);
    durable::replace(&path, name.as_bytes(), 0o600).map_err(|e| state("write", &path, e.into()))?;
    Ok(present.unread.is_empty())
}

/// Takes in what collection has stated since, and says so where this host writes and no capture of it goes on.
pub fn attend(at: &Attached) -> Result<Present, RepoError> {
    let mut present = present(at)?;
    let host = host_id(at)?;
    if let Some(id) = host.filter(|id| present.retired.contains(id)) {
        // What it captures may rest on what is deleted: it is a new host from now on, and asks before it writes.
        forget_host(at)?;
        return Err(RepoError::Retired { location: at.repo().store().location(), id: id.to_string() });
    }
    // First, so that of what collection marks nobody takes a frame for needed that can't be read.
    for name in &present.losses {
        match losses::take_in(at, name) {
            Err(e) if e.is_damage() => tracing::error!("what is known to be lost can't be told: {e}"),
            other => other?,
        }
    }
    for epoch in &present.statements {
        match take_in(at, epoch) {
            Err(e) if e.is_damage() => {
                tracing::error!("what is to be deleted is not known, so nothing is built on what is there: {e}");
                present.unread.insert(epoch.clone());
            }
            other => other?,
        }
    }
    if !present.unread.is_empty() {
        // Where moved frames are has to be found out from the packs.
        at.index().set_stale(true)?;
    }
    if let Some(id) = host {
        see(at, id, &mut present)?;
    }
    Ok(present)
}

/// Says that this host has seen all that was stated, if no capture goes on.
fn see(at: &Attached, id: Id, present: &mut Present) -> Result<(), RepoError> {
    let unseen = present
        .statements
        .iter()
        .filter(|epoch| !present.seen.contains(&(id, (*epoch).clone())) && !present.unread.contains(*epoch));
    let unseen: Vec<Epoch> = unseen.cloned().collect();
    if unseen.is_empty() {
        return Ok(());
    }
    let path = at.dir().join(CAPTURES);
    let Some(_alone) = durable::lock_file(&path).map_err(|e| state("lock", &path, e.into()))? else {
        return Ok(());
    };
    for epoch in unseen {
        match statement::note(at.repo(), &Named::Seen(id, epoch.clone()), at.moment().now(), "") {
            Ok(name) => {
                tracing::debug!("{name}: a statement was seen");
                // What is only queued counts when it is listed.
                if at.repo().store().waiting()?.is_none() {
                    present.words.push((epoch.clone(), name));
                    present.seen.insert((id, epoch));
                }
            }
            Err(e) => {
                // Whoever only reads may not be allowed to; a collection waits until it is said.
                tracing::warn!("the collection of {} waits for this host: {e}", at.repo().store().location());
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Takes one statement in.
fn take_in(at: &Attached, epoch: &Epoch) -> Result<(), RepoError> {
    let reader = at.reader()?;
    let name = statement::name(epoch);
    if reader.is_collected(&name)? {
        return Ok(());
    }
    let statement = match statement::read(at.repo(), epoch) {
        // Another statement has taken its place in this moment.
        Err(RepoError::Store(e)) if e.is_missing() => return Ok(()),
        other => other?,
    };
    let there: HashSet<Id> =
        at.repo().store().list(names::PACKS)?.iter().filter_map(|o| names::parse_pack(&o.name)).collect();
    let known = reader.moved()?;
    let mut moved = Vec::new();
    for id in statement.moved.iter().filter(|id| !known.contains(id) && there.contains(id)) {
        moved.push((*id, read_table(at.repo(), *id)?.frames));
    }
    let gone = reader.packs()?.into_iter().map(|(id, _)| id).filter(|id| !there.contains(id)).collect();
    let collection = Collection { name: &name, moved: &moved, marked: &statement.packs, gone: &gone };
    Ok(at.index().collect(&collection, PATIENT)?)
}

fn state(doing: &'static str, path: &std::path::Path, source: std::io::Error) -> RepoError {
    RepoError::State { doing, path: PathBuf::from(path).display().to_string(), source }
}
