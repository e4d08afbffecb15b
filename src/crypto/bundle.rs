//! What a slot wraps: the keys of one role, one behind the other, each as a byte that says which it is and its 32 bytes, in the order
//! of these bytes. Those of each later generation follow, behind an item that names it.

use crate::crypto::{
    content,
    keys::{Apart, Dedup, Keys, Sealing, Secret32, Secrets},
    later::{GENERATIONS_MAX, Known, Later},
    master::Master,
};
use crate::types::{
    ids::Generation,
    role::{Need, Role},
};
use std::{collections::BTreeMap, sync::Arc};
use zeroize::Zeroizing;

const PUBLIC: u8 = 1;
const CHUNK: u8 = 2;
const GEAR: u8 = 3;
const OBJECT: u8 = 4;
const STRUCTURE: u8 = 5;
const CONTENT_PUBLIC: u8 = 6;
const CONTENT_PRIVATE: u8 = 7;
const MASTER: u8 = 8;
/// Five bytes of a generation and 27 zeros: the keys behind it are of that.
const GENERATION: u8 = 9;
/// A key with the byte before it.
const ITEM: usize = 33;
/// A role has no more keys, and of a later generation no more with the item that names it.
const ITEMS: (usize, usize) = (5, 3);

/// The keys of a role, taken apart.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    /// The next key, if it is this one.
    fn take(&mut self, what: u8) -> Option<Secret32> {
        let (item, rest) = self.0.split_first_chunk::<ITEM>()?;
        let (first, key) = item.split_first()?;
        if *first != what {
            return None;
        }
        self.0 = rest;
        key.try_into().ok().map(Zeroizing::new)
    }
}

impl Keys {
    /// What a slot for a key with this role wraps; `None` where these keys do not have it all, or the role can't be had.
    pub(super) fn bundle(&self, role: Role) -> Option<Zeroizing<Vec<u8>>> {
        let later = self.later.all();
        // With room for all: it is not moved, and no copy stays behind.
        let mut out = Zeroizing::new(Vec::with_capacity((ITEMS.0 + ITEMS.1 * later.len()) * ITEM));
        put(&mut out, PUBLIC, &self.public);
        if role != Role::Auditor {
            let dedup = self.dedup.as_ref()?;
            put(&mut out, CHUNK, &dedup.chunk);
            put(&mut out, GEAR, &dedup.gear);
        }
        match &self.secrets {
            Secrets::One(_) if !role.may(Need::Content) => return None,
            _ if role == Role::Admin => put(&mut out, MASTER, self.master.as_ref()?.expose()),
            Secrets::One(key) => put(&mut out, OBJECT, key),
            Secrets::Apart(apart) => put_apart(&mut out, apart, role)?,
        }
        for (generation, known) in later {
            let mut named = [0; 32];
            named[..5].copy_from_slice(&generation.0);
            put(&mut out, GENERATION, &named);
            put_generation(&mut out, &known, role)?;
        }
        Some(out)
    }

    /// The keys in a bundle of this role; `None` where it is none.
    pub(super) fn of_bundle(bytes: &[u8], role: Role, sealing: Sealing) -> Option<Keys> {
        let mut parts = Parts(bytes);
        let public = parts.take(PUBLIC)?;
        let dedup = match role {
            Role::Auditor => None,
            _ => Some(Dedup { chunk: parts.take(CHUNK)?, gear: parts.take(GEAR)? }),
        };
        let (secrets, master) = match (role, sealing) {
            (Role::Admin, Sealing::One) => {
                let master = Master::from_bytes(*parts.take(MASTER)?);
                let secrets = Secrets::One(Zeroizing::new(master.derive("bygone 1 object keys")));
                (secrets, Some(Arc::new(master)))
            }
            (_, Sealing::One) => (Secrets::One(parts.take(OBJECT)?), None),
            (_, Sealing::Apart) => {
                let first = generation(&mut parts, role)?;
                (Secrets::Apart(first.apart), first.master)
            }
        };
        let mut later = BTreeMap::new();
        while let Some(named) = parts.take(GENERATION) {
            let (of, rest) = named.split_first_chunk()?;
            let of = Generation(*of);
            let is_next = later.last_key_value().map_or(Generation::FIRST, |(last, _)| *last) < of;
            if !is_next || *rest != [0; 27] || later.len() == GENERATIONS_MAX || sealing == Sealing::One {
                return None;
            }
            later.insert(of, generation(&mut parts, role)?);
        }
        parts.0.is_empty().then_some(Keys { role, public, dedup, secrets, master, later: Later::of(later), slot: None })
    }
}

fn put(out: &mut Vec<u8>, what: u8, key: &[u8; 32]) {
    out.push(what);
    out.extend_from_slice(key);
}

fn put_apart(out: &mut Vec<u8>, apart: &Apart, role: Role) -> Option<()> {
    put(out, STRUCTURE, &apart.structure);
    if role == Role::Writer {
        put(out, CONTENT_PUBLIC, &apart.public?);
    }
    if role == Role::Reader {
        put(out, CONTENT_PRIVATE, apart.private.as_ref()?);
    }
    Some(())
}

/// What a role has of a generation, one behind the other; `None` where `known` does not have it.
pub(super) fn put_generation(out: &mut Vec<u8>, known: &Known, role: Role) -> Option<()> {
    match role {
        Role::Admin => put(out, MASTER, known.master.as_ref()?.expose()),
        _ => put_apart(out, &known.apart, role)?,
    }
    Some(())
}

/// The keys of one generation that a role has, and nothing else; `None` where the bytes are something else.
pub(super) fn of_generation(bytes: &[u8], role: Role) -> Option<Known> {
    let mut parts = Parts(bytes);
    let known = generation(&mut parts, role)?;
    parts.0.is_empty().then_some(known)
}

fn generation(parts: &mut Parts<'_>, role: Role) -> Option<Known> {
    if role == Role::Admin {
        return Some(Known::of(Master::from_bytes(*parts.take(MASTER)?)));
    }
    let structure = parts.take(STRUCTURE)?;
    let (public, private) = match role {
        Role::Writer => (Some(*parts.take(CONTENT_PUBLIC)?), None),
        Role::Reader => {
            let private = parts.take(CONTENT_PRIVATE)?;
            (Some(content::public_of(&private).ok()?), Some(private))
        }
        Role::Auditor | Role::Admin => (None, None),
    };
    Some(Known { apart: Arc::new(Apart { structure, public, private }), master: None })
}
