//! A repository: its description, its store and its keys.

use crate::chunk::cut::{Cutter, Sizes};
use crate::crypto::{
    keys::{Keys, Sealing},
    master::Master,
    random,
    seal::FORMAT,
    slots::{self, Secret, SlotError, SlotInfo, SlotKind},
};
use crate::repo::{
    error::{Damage, RepoError},
    generations, names,
    opener::Opener,
};
use crate::store::api::{Object, Store};
use crate::types::{
    ids::{Generation, Id},
    role::{Need, Role},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest description that a reader accepts, in bytes.
pub(super) const DESCRIPTION_MAX: u64 = 64 << 10;
/// The longest key slot that a reader accepts, in bytes.
pub(super) const SLOT_MAX: u64 = 64 << 10;
/// The most key slots that are tried.
const SLOTS_MAX: usize = 1000;

/// `bygone.toml`: in the open, authenticated with the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u8,
    id: String,
    chunk_min: u64,
    chunk_avg: u64,
    chunk_max: u64,
    /// How objects are sealed: none, all by one key; 2, structure and content apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealing: Option<u8>,
    authentication: String,
}

impl Description {
    fn new(id: Id, sizes: Sizes, keys: &Keys) -> Description {
        let mut d = Description {
            format: FORMAT,
            id: id.to_string(),
            chunk_min: sizes.min as u64,
            chunk_avg: sizes.avg as u64,
            chunk_max: sizes.max as u64,
            sealing: match keys.sealing() {
                Sealing::One => None,
                Sealing::Apart => Some(2),
            },
            authentication: String::new(),
        };
        d.authentication = keys.authenticate(d.text().as_bytes()).to_string();
        d
    }

    /// What is authenticated: the values in a fixed form.
    fn text(&self) -> String {
        let sealing = self.sealing.map(|sealing| format!(" {sealing}")).unwrap_or_default();
        format!("{} {} {} {} {}{sealing}", self.format, self.id, self.chunk_min, self.chunk_avg, self.chunk_max)
    }

    fn sealing(&self) -> Option<Sealing> {
        match self.sealing {
            None => Some(Sealing::One),
            Some(2) => Some(Sealing::Apart),
            Some(_) => None,
        }
    }

    fn sizes(&self) -> Option<Sizes> {
        let size = |n: u64| usize::try_from(n).ok();
        Some(Sizes { min: size(self.chunk_min)?, avg: size(self.chunk_avg)?, max: size(self.chunk_max)? })
            .filter(Sizes::is_valid)
    }
}

/// A repository with its keys: everything else is built on it. It opens and holds; the verbs are elsewhere.
pub struct Repository {
    store: Arc<dyn Store>,
    id: Id,
    sizes: Sizes,
    keys: Arc<Keys>,
    opener: Opener,
}

impl Repository {
    /// Makes a repository in an empty store, with one key slot. `key` is written first and the description last, so that a
    /// repository that is there can be opened.
    pub fn create(
        store: Arc<dyn Store>,
        secret: &Secret,
        kind: SlotKind,
        label: &str,
        now: Instant,
        id: Id,
    ) -> Result<Repository, RepoError> {
        match describe(&*store) {
            Err(RepoError::NoRepository { .. }) => {}
            Ok(d) => return Err(RepoError::ThereAlready { location: store.location(), id: d.id }),
            Err(e) => return Err(e),
        }
        let keys = Keys::derive(Master::generate()?, Sealing::Apart);
        let (keys, slot, bytes) = slots::first_slot(keys, secret, kind, label, id, now)?;
        store.put(&names::slot(slot), &bytes)?;
        let description = Description::new(id, Sizes::DEFAULT, &keys);
        let body = toml::to_string(&description).map_err(|e| damaged(&*store, Damage::other(e.to_string())))?;
        let text = format!(
            "# A repository of bygone. This file is authenticated: a change makes the repository unreadable.\n{body}"
        );
        store.put(names::REPOSITORY, text.as_bytes())?;
        keys.find_with(generations::finder(store.clone()));
        Ok(Repository { store, id, sizes: Sizes::DEFAULT, keys: Arc::new(keys), opener: Opener::new() })
    }

    /// A new random id for a repository.
    pub fn new_id() -> Result<Id, RepoError> {
        Ok(random::id()?)
    }

    /// Opens a repository with whatever slot `secret` fits.
    pub fn open(store: Arc<dyn Store>, secret: &Secret) -> Result<Repository, RepoError> {
        let (description, id) = description(&*store)?;
        let (keys, later) = open_slots(&*store, secret, id, &description)?;
        if keys.authenticate(description.text().as_bytes()).to_string() != description.authentication {
            return Err(damaged(&*store, Damage::other("its authentication does not match: it was altered")));
        }
        let sizes = description.sizes().ok_or_else(|| damaged(&*store, Damage::other("its chunk sizes can't be")))?;
        keys.find_with(generations::finder(store.clone()));
        let repo = Repository { store, id, sizes, keys: Arc::new(keys), opener: Opener::new() };
        generations::meet(&repo, later.into_iter());
        Ok(repo)
    }

    /// The same repository, with the same keys, in another store: a copy of it, or where one is to be. Nothing is read.
    pub fn in_store(&self, store: Arc<dyn Store>) -> Repository {
        Repository { store, id: self.id, sizes: self.sizes, keys: self.keys.clone(), opener: Opener::new() }
    }

    /// Its random id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The role of the key that opened it.
    pub fn role(&self) -> Role {
        self.keys.role()
    }

    /// Fails where that role is not enough.
    pub fn check(&self, need: Need) -> Result<(), RepoError> {
        Ok(self.role().check(need)?)
    }

    /// Fails where no key of this repository can have that role.
    pub fn grants(&self, role: Role) -> Result<(), RepoError> {
        match self.keys.sealing() {
            Sealing::One if !role.may(Need::Content) => Err(SlotError::NoRole(role).into()),
            _ => Ok(()),
        }
    }

    /// The keys of its packs.
    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// A cutter with its sizes and its secret table.
    pub fn cutter(&self) -> Result<Cutter, RepoError> {
        Ok(Cutter::new(self.sizes, self.keys.gear_table()?))
    }

    /// An error about an object of its store.
    pub fn damaged(&self, object: &str, what: impl Into<String>, why: Damage) -> RepoError {
        RepoError::Damaged { location: self.store.location(), object: object.to_owned(), what: what.into(), why }
    }
}

/// The id of the repository in a store, without a key.
pub fn repository_id(store: &dyn Store) -> Result<Id, RepoError> {
    Ok(description(store)?.1)
}

impl Repository {
    /// Adds a slot for `new`, of this kind and role. It opens the generation of the keys that is in force when this returns, and all before.
    pub fn add_slot(
        &self,
        new: &Secret,
        (kind, role): (SlotKind, Role),
        label: &str,
        now: Instant,
    ) -> Result<Id, RepoError> {
        self.check(Need::Keys)?;
        loop {
            generations::refresh(self)?;
            let generation = self.keys.in_force()?;
            let (slot, bytes) = slots::seal_slot((&self.keys, role), new, kind, label, self.id, now)?;
            self.store.put(&names::slot(slot), &bytes)?;
            generations::refresh(self)?;
            if matches!(self.keys.in_force(), Ok(in_force) if in_force == generation) {
                return Ok(slot);
            }
            // The keys were rotated meanwhile, and this slot may have been seen by nobody who did.
            self.store.delete(&names::slot(slot))?;
        }
    }
}

/// A slot by its id, and what it says of itself, if that can be read.
pub type ListedSlot = (Id, Result<SlotInfo, SlotError>);

/// What tells a repository from any other one that pretends to be it: the first half of the BLAKE3 hash of its description, which is
/// the same in every copy, in groups of four hexadecimal digits.
pub fn fingerprint(store: &dyn Store) -> Result<String, RepoError> {
    let bytes = store.get(names::REPOSITORY, DESCRIPTION_MAX)?;
    let digits = blake3::hash(&bytes).to_hex();
    let groups: Vec<&str> = (0..8).map(|n| &digits[4 * n..4 * n + 4]).collect();
    Ok(groups.join("-"))
}

/// The slots of a repository, and those that could not be read.
pub fn list_slots(store: &dyn Store) -> Result<Vec<ListedSlot>, RepoError> {
    let mut found = Vec::new();
    for object in store.list(names::KEYS)? {
        let Some(id) = object.name.strip_prefix(names::KEYS).and_then(Id::parse) else { continue };
        found.push((id, describe_slot(store, &object, id)?));
    }
    Ok(found)
}

fn describe_slot(store: &dyn Store, object: &Object, id: Id) -> Result<Result<SlotInfo, SlotError>, RepoError> {
    let damaged = |why: String| Ok(Err(SlotError::Damaged { why }));
    if object.len > SLOT_MAX {
        return damaged(format!("it has {} bytes, more than any slot", object.len));
    }
    match slots::describe_slot(&store.get(&object.name, SLOT_MAX)?) {
        Ok(info) if info.id != id => damaged(format!("its text is that of the slot {}", info.id)),
        described => Ok(described),
    }
}

/// The slots that `secret` opens. Each passphrase slot costs a stretching of the passphrase.
pub fn slots_opened_by(store: &dyn Store, secret: &Secret) -> Result<Vec<Id>, RepoError> {
    let (description, repository) = description(store)?;
    let sealing = sealing(store, &description)?;
    let mut opened = Vec::new();
    for object in store.list(names::KEYS)?.into_iter().take(SLOTS_MAX).filter(|o| o.len <= SLOT_MAX) {
        let Some(id) = object.name.strip_prefix(names::KEYS).and_then(Id::parse) else { continue };
        if slots::open_slot(&store.get(&object.name, SLOT_MAX)?, secret, repository, sealing).is_ok() {
            opened.push(id);
        }
    }
    Ok(opened)
}

/// Removes a slot. The caller has seen to it that another one opens.
pub fn remove_slot(store: &dyn Store, id: Id) -> Result<(), RepoError> {
    // A slot that is not there is an error here: a person has named it.
    store.size(&names::slot(id))?;
    Ok(store.delete(&names::slot(id))?)
}

fn damaged(store: &dyn Store, why: Damage) -> RepoError {
    RepoError::Damaged { location: store.location(), object: names::REPOSITORY.into(), what: "description".into(), why }
}

fn describe(store: &dyn Store) -> Result<Description, RepoError> {
    let bytes = store.get(names::REPOSITORY, DESCRIPTION_MAX).map_err(|e| match e.is_missing() {
        true => RepoError::NoRepository { location: store.location() },
        false => e.into(),
    })?;
    parse(store, &bytes)
}

fn parse(store: &dyn Store, bytes: &[u8]) -> Result<Description, RepoError> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(store, Damage::other("it is not text")))?;
    let format = text.parse::<toml::Table>().ok().and_then(|t| t.get("format").and_then(toml::Value::as_integer));
    if format.is_some_and(|f| f != i64::from(FORMAT)) {
        let why = format!("it has format {}, and this program reads format {FORMAT}", format.unwrap_or_default());
        return Err(damaged(store, Damage::other(why)));
    }
    toml::from_str(text).map_err(|e| damaged(store, Damage::other(e.message().to_owned())))
}

fn description(store: &dyn Store) -> Result<(Description, Id), RepoError> {
    let description = describe(store)?;
    let id = Id::parse(&description.id).ok_or_else(|| damaged(store, Damage::other("its id is none")))?;
    Ok((description, id))
}

fn sealing(store: &dyn Store, description: &Description) -> Result<Sealing, RepoError> {
    description.sealing().ok_or_else(|| {
        damaged(
            store,
            Damage::other("its objects are sealed in a way that this program does not know: use a newer bygone"),
        )
    })
}

/// The keys in the first slot that `secret` opens, and the generations that are there after the first.
fn open_slots(
    store: &dyn Store,
    secret: &Secret,
    id: Id,
    description: &Description,
) -> Result<(Keys, Vec<Generation>), RepoError> {
    let sealing = sealing(store, description)?;
    let mut tried = Vec::new();
    let listed = store.list(names::KEYS)?;
    let later: Vec<Generation> = match sealing {
        Sealing::One => Vec::new(),
        Sealing::Apart => listed.iter().filter_map(|object| names::parse_generation(&object.name)).collect(),
    };
    let slots = listed.into_iter().filter(|object| names::parse_generation(&object.name).is_none());
    for object in slots.take(SLOTS_MAX) {
        match store
            .get(&object.name, SLOT_MAX)
            .map_err(RepoError::from)
            .and_then(|bytes| slots::open_slot(&bytes, secret, id, sealing).map_err(RepoError::from))
        {
            Ok(keys) => return Ok((keys, later)),
            // These two name the slot themselves.
            Err(e @ RepoError::Slot(SlotError::WrongKey { .. } | SlotError::WrongKind { .. })) => {
                tried.push(e.to_string());
            }
            Err(e) => tried.push(format!("{}: {e}", object.name)),
        }
    }
    if tried.is_empty() {
        tried.push("it has no key slots; without one nothing can open it".into());
    }
    Err(RepoError::NoSlot { location: store.location(), tried: tried.join("\n    ") })
}

/// Whether these bytes describe this repository, as it was made.
pub(super) fn is_description(repo: &Repository, bytes: &[u8]) -> Result<(), RepoError> {
    let found = parse(repo.store(), bytes)?;
    let authentic = repo.keys.authenticate(found.text().as_bytes()).to_string() == found.authentication;
    match authentic && Id::parse(&found.id) == Some(repo.id) && found.sizes() == Some(repo.sizes) {
        true => Ok(()),
        false => Err(damaged(repo.store(), Damage::other("its authentication does not match: it was altered"))),
    }
}

/// Reads the description of an open repository again: that it is still the one that was opened.
pub fn check_description(repo: &Repository) -> Result<(), RepoError> {
    let bytes = repo.store().get(names::REPOSITORY, DESCRIPTION_MAX).map_err(|e| match e.is_missing() {
        true => RepoError::NoRepository { location: repo.store().location() },
        false => e.into(),
    })?;
    is_description(repo, &bytes)
}
