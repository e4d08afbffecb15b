//! A generation of keys: new keys for structure and content, sealed for each key slot, in one object.
//!
//! It is there whole or not at all, and from then on new objects are sealed under it. What is sealed for a slot needs three things to be made: the slot's
//! public key, the secret that the slot shares with the role admin, and the structure key of the generation before. So whoever knows an
//! older generation only, and has lost his slot since, can neither open it nor make one behind it; and no key below admin makes any.

use zeroize::Zeroizing;

use super::bundle;
use super::content;
use super::keys::{Keys, Sealing};
use super::later::{GENERATIONS_MAX, Known};
use super::master::Master;
use super::random;
use super::seal::FORMAT;
use super::slot_error::SlotError;
use super::slot_text::{self, Wrap};
use super::slots;
use crate::types::{
    ids::{Generation, Id},
    role::{Denied, Need, Role},
    time::Instant,
    wire::{Reader, WireError, put_bytes, put_i64, put_u64},
};

pub use super::later::Finder;

/// No object that states a generation is longer, in bytes.
pub const BYTES_MAX: u64 = 1 << 20;
/// The most slots that one is for.
const SLOTS_MAX: u64 = 1000;
/// What such an object begins with: the same as others, and its kind.
const MAGIC: &[u8] = b"BYGONE\x07";
const CHECK_LEN: usize = 8;
const SHARED: &str = "bygone 3 generation shared secret";
const AUTHENTICATION: &str = "bygone 3 generation authentication";

/// What an object that states a generation says in the open. Only who opens it knows that an admin has made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// The generation.
    pub generation: Generation,
    /// The one that was in force before.
    pub previous: Generation,
    /// When it was made, to the second.
    pub made: Instant,
    /// The slot of the key that made it.
    pub by: Id,
    /// The slots that open it.
    pub slots: Vec<(Id, Role)>,
    repository: Id,
    sealed: Vec<Sealed>,
    authentication: [u8; 32],
    /// How many bytes are authenticated.
    body: usize,
}

/// What is sealed for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sealed {
    public: [u8; 32],
    wrapped: Vec<u8>,
}

/// A generation that was made.
pub struct Rotated {
    /// Its name.
    pub generation: Generation,
    /// What is to be stored for it.
    pub bytes: Vec<u8>,
    /// The slots that open it.
    pub slots: Vec<Id>,
    /// Slots that do not, each with why: no admin who knows the generation in force has made them, or they can't be read.
    pub left_out: Vec<(Id, String)>,
}

/// Why a generation could not be learned.
pub(super) enum Learning {
    /// This one has to be known first.
    Needs(Generation),
    /// This key does not open it.
    Closed(String),
}

/// Reads what an object says; everything in it is hostile until it is opened.
pub fn describe(bytes: &[u8]) -> Result<Stated, String> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("it has {} bytes and can have {BYTES_MAX}", bytes.len()));
    }
    let damaged = || "it is damaged: its check does not fit".to_owned();
    let (all, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or_else(damaged)?;
    if blake3::hash(all).as_bytes()[..CHECK_LEN] != check[..] {
        return Err(damaged());
    }
    parse(all).map_err(|e| format!("it {e}"))
}

fn parse(all: &[u8]) -> Result<Stated, WireError> {
    let mut r = Reader::new(all);
    if r.take(MAGIC.len())? != MAGIC || r.u8()? != FORMAT {
        return Err(WireError::Invalid("what it begins with"));
    }
    let (generation, previous) = (Generation(fixed(&mut r)?), Generation(fixed(&mut r)?));
    if u32::from(generation.number()) != u32::from(previous.number()) + 1 {
        return Err(WireError::Invalid("a generation that does not follow the one before"));
    }
    let repository = Id(fixed(&mut r)?);
    let made = Instant(r.i64()?.saturating_mul(1_000_000_000));
    let by = Id(fixed(&mut r)?);
    let (mut slots, mut sealed) = (Vec::new(), Vec::new());
    for _ in 0..r.u64_max(SLOTS_MAX, "more slots than a repository has")? {
        let slot = Id(fixed(&mut r)?);
        let role = Role::of_number(r.u8()?).ok_or(WireError::Invalid("a role"))?;
        sealed.push(Sealed { public: fixed(&mut r)?, wrapped: r.bytes(256)?.to_vec() });
        slots.push((slot, role));
    }
    let body = all.len() - r.len();
    let authentication = fixed(&mut r)?;
    match r.is_empty() {
        true => Ok(Stated { generation, previous, made, by, slots, repository, sealed, authentication, body }),
        false => Err(WireError::Invalid("bytes behind its end")),
    }
}

fn fixed<const N: usize>(r: &mut Reader<'_>) -> Result<[u8; N], WireError> {
    r.take(N)?.try_into().map_err(|_| WireError::Short)
}

impl Stated {
    /// What is authenticated of what is sealed for a slot.
    fn associated(&self, (slot, role): (Id, Role), public: &[u8; 32]) -> Vec<u8> {
        let mut out = b"bygone 3 generation".to_vec();
        out.extend(self.repository.0);
        out.extend(self.generation.0);
        out.extend(self.previous.0);
        out.extend(self.made.0.div_euclid(1_000_000_000).to_le_bytes());
        out.extend(self.by.0);
        out.extend(slot.0);
        out.push(role.number());
        out.extend(public);
        out
    }

    fn body(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(FORMAT);
        out.extend(self.generation.0);
        out.extend(self.previous.0);
        out.extend(self.repository.0);
        put_i64(&mut out, self.made.0.div_euclid(1_000_000_000));
        out.extend(self.by.0);
        put_u64(&mut out, self.slots.len() as u64);
        for ((slot, role), sealed) in self.slots.iter().zip(&self.sealed) {
            out.extend(slot.0);
            out.push(role.number());
            out.extend(sealed.public);
            put_bytes(&mut out, &sealed.wrapped);
        }
        out
    }

    fn has(&self, slot: Id, role: Role, public: &[u8; 32]) -> bool {
        let mut all = self.slots.iter().zip(&self.sealed);
        all.any(|(named, sealed)| *named == (slot, role) && sealed.public == *public)
    }
}

/// The secret that what is sealed for a slot is sealed with besides.
fn shared(of_slot: &[u8; 32], previous: &Known) -> Zeroizing<[u8; 32]> {
    let mut material = Zeroizing::new([0; 64]);
    material[..32].copy_from_slice(of_slot);
    material[32..].copy_from_slice(&*previous.apart.structure);
    Zeroizing::new(blake3::derive_key(SHARED, &*material))
}

fn authentication(of: &Master, body: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(&Zeroizing::new(of.derive(AUTHENTICATION)), body)
}

/// Opens what an object states of this generation with the slot that these keys are from.
pub(super) fn learn(keys: &Keys, generation: Generation, bytes: &[u8]) -> Result<Known, Learning> {
    let closed = |why: &str| Learning::Closed(why.to_owned());
    let stated = describe(bytes).map_err(Learning::Closed)?;
    let slot = keys.slot.as_ref().ok_or_else(|| closed("the key was just made"))?;
    if keys.sealing() == Sealing::One {
        return Err(closed("this repository was made before keys had roles, and has none"));
    }
    if stated.generation != generation || stated.repository != slot.repository {
        return Err(closed("its object states another one"));
    }
    let previous = keys.present(stated.previous).ok_or(Learning::Needs(stated.previous))?;
    let mut all = stated.slots.iter().zip(&stated.sealed);
    let found = all.find(|((id, role), sealed)| (*id, *role) == (slot.id, keys.role) && sealed.public == slot.public);
    let (named, sealed) = found.ok_or_else(|| {
        Learning::Closed(format!("it is not for the slot {}: that was removed before, or was not trusted", slot.id))
    })?;
    let associated = stated.associated(*named, &sealed.public);
    let plain = content::open(&slot.private, &shared(&slot.shared, &previous), &associated, &sealed.wrapped);
    let known = plain.ok().and_then(|plain| bundle::of_generation(&plain, keys.role));
    let known = known.ok_or_else(|| closed("what it has for this key was altered, or no admin has made it"))?;
    match &known.master {
        Some(master) if authentication(master, &bytes[..stated.body]) != blake3::Hash::from(stated.authentication) => {
            Err(closed("its list of slots was altered"))
        }
        _ => Ok(known),
    }
}

/// Makes the next generation, for those of `slots` (their ids and bytes) that an admin has made who knew the generation in force.
/// `in_force` are the bytes of the object that states that one; none for the first. `keys` are those of the role admin.
pub fn rotate(
    keys: &Keys,
    repository: Id,
    in_force: Option<&[u8]>,
    slots: &[(Id, Vec<u8>)],
    now: Instant,
) -> Result<Rotated, SlotError> {
    let denied = || SlotError::Denied(Denied { role: keys.role, need: Need::Keys });
    if keys.sealing() == Sealing::One {
        return Err(SlotError::NoGenerations);
    }
    let previous = keys.in_force().map_err(|e| SlotError::Damaged { why: e.to_string() })?;
    let known = keys.present(previous).filter(|known| known.master.is_some()).ok_or_else(denied)?;
    let own = keys.slot.as_ref().ok_or_else(denied)?;
    let number = previous.number().checked_add(1).filter(|n| usize::from(*n) <= GENERATIONS_MAX);
    let number = number.ok_or(SlotError::Generations(GENERATIONS_MAX))?;
    let listed = in_force.map(describe).transpose().map_err(|why| SlotError::Damaged { why })?;
    let new = Known::of(Master::generate()?);
    let mut stated = Stated {
        generation: Generation::new(number, random::bytes()?),
        previous,
        made: now,
        by: own.id,
        slots: Vec::new(),
        repository,
        sealed: Vec::new(),
        authentication: [0; 32],
        body: 0,
    };
    let mut left_out = Vec::new();
    for (id, bytes) in slots {
        match trusted(keys, repository, (*id, bytes), previous, listed.as_ref()) {
            Ok((role, public, of_slot)) => {
                let mut plain = Zeroizing::new(Vec::with_capacity(3 * 33));
                bundle::put_generation(&mut plain, &new, role).ok_or(SlotError::NoRole(role))?;
                let associated = stated.associated((*id, role), &public);
                let wrapped = content::seal(&public, &shared(&of_slot, &known), &associated, &plain)
                    .map_err(|_| SlotError::Damaged { why: format!("the public key of the slot {id} is none") })?;
                stated.slots.push((*id, role));
                stated.sealed.push(Sealed { public, wrapped });
            }
            Err(why) => left_out.push((*id, why)),
        }
    }
    if !stated.slots.iter().any(|(id, _)| *id == own.id) || stated.slots.len() as u64 > SLOTS_MAX {
        let why = left_out.iter().find(|(id, _)| *id == own.id).map_or("it is not there", |(_, why)| why);
        return Err(SlotError::Damaged { why: format!("the slot of the key in use can't have new keys: {why}") });
    }
    let mut bytes = stated.body();
    let master = new.master.as_ref().ok_or_else(denied)?;
    let authentication = authentication(master, &bytes);
    bytes.extend_from_slice(authentication.as_bytes());
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(&check.as_bytes()[..CHECK_LEN]);
    let slots = stated.slots.iter().map(|(id, _)| *id).collect();
    Ok(Rotated { generation: stated.generation, bytes, slots, left_out })
}

/// The role, the public key and the shared secret of a slot.
type Trusted = (Role, [u8; 32], Zeroizing<[u8; 32]>);

/// What is needed of a slot that is to have the next generation, or why it is not to have it.
///
/// Who knows an older generation only can make slots that look as if an admin had made them, of that generation: so a slot must be of
/// the one in force, or be among those that this is for.
fn trusted(
    keys: &Keys,
    repository: Id,
    (id, bytes): (Id, &[u8]),
    in_force: Generation,
    listed: Option<&Stated>,
) -> Result<Trusted, String> {
    let slot = slot_text::read(bytes).map_err(|e| e.to_string())?;
    let Wrap::Keys { role, public, generation, .. } = &slot.wrap else {
        return Err("it is of a repository from before roles".to_owned());
    };
    let is_current = generation.number() == in_force.number() && keys.knows(*generation);
    if slot.id != id || !(is_current || listed.is_some_and(|listed| listed.has(id, *role, public))) {
        return Err("no admin who knew the generation in force has made it".to_owned());
    }
    let shared = slots::binding(&slot, keys, repository).ok_or("no admin of this repository has made it as it is")?;
    Ok((*role, *public, shared))
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
