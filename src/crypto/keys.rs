//! The keys that a holder of a key has: all that follows from the master secret, or the part that his role needs.
//!
//! | keys | what for | admin | reader | writer | auditor |
//! | --- | --- | --- | --- | --- | --- |
//! | master | all others; to make and carry over slots | yes | | | |
//! | public | the description's authentication, names that stand for others | yes | yes | yes | yes |
//! | chunk, gear | chunk ids and cut points | yes | yes | yes | |
//! | structure | journals, holds, audit, collection, tables of packs | yes | yes | yes | yes |
//! | content, public half | to seal frames | yes | yes | yes | |
//! | content, private half | to open frames | yes | yes | | |
//!
//! In a repository from before roles one key seals all objects, and only admin and reader can be had.

use crate::crypto::{
    content::{self, ENCAPSULATED_LEN, NotOurs},
    later::{Later, Opened},
    master::Master,
    seal::{FORMAT, ObjectKey, ObjectKind},
};
use crate::types::{
    ids::{Generation, Hash, Id},
    role::{Denied, Need, Role},
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A secret of 256 bits, wiped when dropped.
pub(super) type Secret32 = Zeroizing<[u8; 32]>;

/// How the objects of a repository are sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealing {
    /// All by one key.
    One,
    /// Structure by one key, and content to a public key.
    Apart,
}

/// Why the keys of an object can't be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The key's role does not give them.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What stands in the object's header does not lead to them.
    #[error("what leads to the key of its frames {0}")]
    NotOurs(#[from] NotOurs),
    /// It was sealed under a generation that this key does not have.
    #[error("it is sealed under generation {generation} of the keys, which this key does not open: {why}")]
    Generation {
        /// The generation.
        generation: Generation,
        /// Why it can't be had.
        why: String,
    },
    /// A later generation is in force than the newest that this key opens.
    #[error(
        "nothing is written under an old generation of the keys: {generation} is in force, and this key does not open it: {why}. Use \
         a key that opens it: `bygone key list` shows them"
    )]
    Superseded {
        /// The generation in force.
        generation: Generation,
        /// Why it can't be had.
        why: String,
    },
}

/// What is needed to capture: chunk ids and cut points.
pub(super) struct Dedup {
    pub(super) chunk: Secret32,
    pub(super) gear: Secret32,
}

/// The keys that seal structure and content apart.
pub(super) struct Apart {
    pub(super) structure: Secret32,
    pub(super) public: Option<[u8; 32]>,
    pub(super) private: Option<Secret32>,
}

impl Apart {
    /// All of them, from the master secret.
    pub(super) fn of(master: &Master) -> Apart {
        let seed = Zeroizing::new(master.derive("bygone 2 content key pair"));
        let (private, public) = content::pair(&seed);
        let structure = Zeroizing::new(master.derive("bygone 2 structure keys"));
        Apart { structure, public: Some(public), private: Some(private) }
    }
}

/// What objects are sealed with.
pub(super) enum Secrets {
    One(Secret32),
    Apart(Arc<Apart>),
}

/// The keys of one repository that a role has.
pub struct Keys {
    pub(super) role: Role,
    pub(super) public: Secret32,
    pub(super) dedup: Option<Dedup>,
    pub(super) secrets: Secrets,
    /// The master secret, with the role admin.
    pub(super) master: Option<Arc<Master>>,
    /// The generations after the first one.
    pub(super) later: Later,
    /// What the slot that was opened has of its own.
    pub(super) slot: Option<Opened>,
}

/// The length of what stands behind the header of a pack: the encapsulated key of its frames, and 16 bytes that check it.
pub const KEY_DATA_LEN: usize = ENCAPSULATED_LEN + CHECK_LEN;
const CHECK_LEN: usize = 16;

/// What seals a new pack.
pub struct PackKeys {
    /// Its frames.
    pub frames: ObjectKey,
    /// Its table.
    pub table: ObjectKey,
    /// The generation that both are of.
    pub generation: Generation,
    /// What stands behind its header, so that a reader finds the key of its frames.
    pub key_data: Option<[u8; KEY_DATA_LEN]>,
}

impl Keys {
    /// All keys, from the master secret by BLAKE3's `derive_key`, one context string each.
    pub fn derive(master: Master, sealing: Sealing) -> Keys {
        let derive = |context| Zeroizing::new(master.derive(context));
        Keys {
            role: Role::Admin,
            public: derive("bygone 1 public authentication"),
            dedup: Some(Dedup { chunk: derive("bygone 1 chunk ids"), gear: derive("bygone 1 cut points") }),
            secrets: match sealing {
                Sealing::One => Secrets::One(derive("bygone 1 object keys")),
                Sealing::Apart => Secrets::Apart(Arc::new(Apart::of(&master))),
            },
            master: Some(Arc::new(master)),
            later: Later::default(),
            slot: None,
        }
    }

    /// The role of the key that gave them.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How objects are sealed.
    pub fn sealing(&self) -> Sealing {
        match self.secrets {
            Secrets::One(_) => Sealing::One,
            Secrets::Apart(_) => Sealing::Apart,
        }
    }

    /// The key of the object of this generation with this kind, id and name in the store; of a pack, that of its table.
    pub fn object(&self, generation: Generation, kind: ObjectKind, id: Id, name: &str) -> Result<ObjectKey, KeyError> {
        let key = match &self.secrets {
            Secrets::One(key) if generation == Generation::FIRST => object_key(key, kind, id),
            _ => object_key(&self.of(generation)?.structure, kind, id),
        };
        Ok(ObjectKey::new(&key, kind, id, name))
    }

    /// What seals a new pack, under the generation in force.
    pub fn pack(&self, id: Id, name: &str) -> Result<PackKeys, KeyError> {
        let (kind, generation) = (ObjectKind::Pack, self.in_force()?);
        let table = self.object(generation, kind, id, name)?;
        if self.sealing() == Sealing::One {
            let frames = self.object(generation, kind, id, name)?;
            return Ok(PackKeys { frames, table, generation, key_data: None });
        }
        let apart = self.of(generation)?;
        let public = apart.public.as_ref().ok_or(Denied { role: self.role, need: Need::Capture })?;
        let of_table = object_key(&apart.structure, kind, id);
        let (encapsulated, key) = content::encapsulate(public, &shared(&of_table), name.as_bytes())?;
        let mut data = [0; KEY_DATA_LEN];
        data[..ENCAPSULATED_LEN].copy_from_slice(&encapsulated);
        data[ENCAPSULATED_LEN..].copy_from_slice(&check(&of_table, &encapsulated).as_bytes()[..CHECK_LEN]);
        Ok(PackKeys { frames: ObjectKey::new(&key, kind, id, name), table, generation, key_data: Some(data) })
    }

    /// The key of the frames of a pack of this generation that has this behind its header.
    pub fn frames(&self, generation: Generation, id: Id, name: &str, key_data: &[u8]) -> Result<ObjectKey, KeyError> {
        let kind = ObjectKind::Pack;
        self.role.check(Need::Content)?;
        if self.sealing() == Sealing::One {
            return self.object(generation, kind, id, name);
        }
        let apart = self.of(generation)?;
        let private = apart.private.as_ref().ok_or(Denied { role: self.role, need: Need::Content })?;
        let of_table = object_key(&apart.structure, kind, id);
        let encapsulated = checked(&of_table, key_data)?;
        let key = content::decapsulate(private, &shared(&of_table), name.as_bytes(), encapsulated)?;
        Ok(ObjectKey::new(&key, kind, id, name))
    }

    /// Whether what stands behind the header of a pack of this generation is what was written there. Every role can tell.
    pub fn check_key_data(&self, generation: Generation, id: Id, key_data: &[u8]) -> Result<(), KeyError> {
        if self.sealing() == Sealing::Apart {
            checked(&object_key(&self.of(generation)?.structure, ObjectKind::Pack, id), key_data)?;
        }
        Ok(())
    }

    /// The id of a chunk: the keyed hash of its bytes, so that a store can't confirm a known file. An auditor's key can't either.
    pub fn chunk_hash(&self, bytes: &[u8]) -> Result<Hash, Denied> {
        Ok(Hash(*blake3::keyed_hash(&self.dedup()?.chunk, bytes).as_bytes()))
    }

    /// A running hash under the key of chunk ids.
    pub fn chunk_hasher(&self) -> Result<blake3::Hasher, Denied> {
        Ok(blake3::Hasher::new_keyed(&self.dedup()?.chunk))
    }

    /// The secret table that decides where content is cut: 256 numbers of 64 bits.
    pub fn gear_table(&self) -> Result<Box<[u64; 256]>, Denied> {
        let mut bytes = Zeroizing::new([0; 8 * 256]);
        blake3::Hasher::new_keyed(&self.dedup()?.gear).finalize_xof().fill(&mut *bytes);
        let mut table = Box::new([0; 256]);
        for (slot, b) in table.iter_mut().zip(bytes.chunks_exact(8)) {
            *slot = b.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        Ok(table)
    }

    fn dedup(&self) -> Result<&Dedup, Denied> {
        self.dedup.as_ref().ok_or(Denied { role: self.role, need: Need::Known })
    }

    /// Authenticates text that is stored in the open.
    pub fn authenticate(&self, text: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(&self.public, text).as_bytes())
    }
}

/// The secret that the frames of a pack are sealed with besides, from the key of its table.
fn shared(of_table: &[u8; 32]) -> Secret32 {
    Zeroizing::new(blake3::derive_key("bygone 2 pack shared secret", of_table))
}

/// What checks an encapsulated key: the beginning of this.
fn check(of_table: &[u8; 32], encapsulated: &[u8]) -> blake3::Hash {
    let key = Zeroizing::new(blake3::derive_key("bygone 2 pack header check", of_table));
    blake3::keyed_hash(&key, encapsulated)
}

/// The encapsulated key in key data.
fn checked<'a>(of_table: &[u8; 32], key_data: &'a [u8]) -> Result<&'a [u8], NotOurs> {
    let (encapsulated, found) = key_data.split_at_checked(ENCAPSULATED_LEN).ok_or(NotOurs)?;
    let mut whole = *check(of_table, encapsulated).as_bytes();
    let wanted = blake3::Hash::from(whole);
    whole.get_mut(..CHECK_LEN).filter(|_| found.len() == CHECK_LEN).ok_or(NotOurs)?.copy_from_slice(found);
    // Hashes are compared in constant time.
    if blake3::Hash::from(whole) == wanted { Ok(encapsulated) } else { Err(NotOurs) }
}

fn object_key(of: &[u8; 32], kind: ObjectKind, id: Id) -> Secret32 {
    let mut hasher = blake3::Hasher::new_keyed(of);
    hasher.update(&[kind as u8, FORMAT]);
    hasher.update(&id.0);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
