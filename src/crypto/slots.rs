//! Key slots: the keys of a role, wrapped for a passphrase or a key, as the text of an object `keys/<id>`.
//!
//! A slot is TOML. Its last line is `check = "<16 digits>"`, the first eight bytes of the BLAKE3 hash of all bytes before
//! that line, in this format and in every later one: it tells damage from a wrong key, and protects nothing.
//!
//! In format 2 what opens a slot gives a key pair and a shared secret. The keys are sealed to the public key with that secret
//! (`content.rs`); the public key stands in the slot, and the secret too, sealed for whoever has the role admin. So he can tell
//! slots that an admin has made from others, and could wrap other keys in them without what opens them. All fields and the repository's id are
//! authenticated. In format 1, of repositories from before roles, AES-256-GCM encrypts the master secret.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use zeroize::Zeroizing;

use super::content;
use super::keys::{Keys, Sealing};
use super::keytext::{self, KeyTextError};
use super::later::Opened;
use super::master::Master;
use super::random::{self, RandomError};
use super::seal::TAG_LEN;
use super::slot_error::LABEL_MAX;
use super::slot_text::{self, Slot, Wrap};
use super::stretch;
use crate::types::{
    ids::{Generation, Id},
    role::{Denied, Need, Role},
    time::Instant,
};

pub use super::slot_error::{Cost, SlotError, SlotKind};

/// What opens a slot. Wiped when dropped; it cannot be cloned and does not show itself.
pub enum Secret {
    /// A passphrase as typed, without a line end.
    Passphrase(Zeroizing<String>),
    /// The 256 bits of a key file or of a key on paper.
    KeyFile(Zeroizing<[u8; 32]>),
}

impl Secret {
    /// A new random key.
    pub fn generate_key() -> Result<Secret, RandomError> {
        random::bytes().map(|b| Secret::KeyFile(Zeroizing::new(b)))
    }

    /// What was typed where a passphrase is asked for: a key if it begins like one, a passphrase otherwise.
    pub fn from_typed(text: Zeroizing<String>) -> Result<Secret, KeyTextError> {
        if keytext::is_key(&text) { Secret::from_key_file(&text) } else { Ok(Secret::Passphrase(text)) }
    }

    /// The key in the content of a key file, or in a page saved as a file.
    pub fn from_key_file(text: &str) -> Result<Secret, KeyTextError> {
        keytext::decode(text).map(Secret::KeyFile)
    }

    fn opens(&self, kind: SlotKind) -> bool {
        matches!(self, Secret::Passphrase(_)) == (kind == SlotKind::Passphrase)
    }
}

/// What a slot says about itself without being opened. None of it is authenticated until the slot is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// The slot's id; the object's name is to be the same.
    pub id: Id,
    /// What opens it.
    pub kind: SlotKind,
    /// What its holder may do.
    pub role: Role,
    /// The generation of the keys that was in force when it was made: it has all up to that one.
    pub generation: Generation,
    /// What its maker called it: any text, show it with care.
    pub label: String,
    /// When it was made, to the second.
    pub created: Instant,
    /// What a guess at the passphrase costs; none for a key.
    pub cost: Option<Cost>,
}

/// Wraps the keys that `role` has in a new slot for `secret`: its id and the bytes to store as `keys/<id>`. `keys` are those of the role
/// admin. A passphrase is stretched with [`Cost::DEFAULT`], which takes 64 MiB and some tenths of a second.
pub fn seal_slot(
    (keys, role): (&Keys, Role),
    secret: &Secret,
    kind: SlotKind,
    label: &str,
    repo_id: Id,
    now: Instant,
) -> Result<(Id, Vec<u8>), SlotError> {
    seal_with((keys, role), secret, (kind, Cost::DEFAULT), label, repo_id, now)
        .map(|(opened, bytes)| (opened.id, bytes))
}

/// The same for the first slot of a repository, with the role admin: `keys`, as if that slot had been opened, and its id and bytes.
pub fn first_slot(
    mut keys: Keys,
    secret: &Secret,
    kind: SlotKind,
    label: &str,
    repo_id: Id,
    now: Instant,
) -> Result<(Keys, Id, Vec<u8>), SlotError> {
    let (opened, bytes) = seal_with((&keys, Role::Admin), secret, (kind, Cost::DEFAULT), label, repo_id, now)?;
    let id = opened.id;
    keys.slot = Some(opened);
    Ok((keys, id, bytes))
}

fn seal_with(
    (keys, role): (&Keys, Role),
    secret: &Secret,
    (kind, cost): (SlotKind, Cost),
    label: &str,
    repo_id: Id,
    now: Instant,
) -> Result<(Opened, Vec<u8>), SlotError> {
    // A slot has the keys in force, or none: whoever is to have a key can use it.
    let generation = keys.in_force().map_err(|e| SlotError::Damaged { why: e.to_string() })?;
    let master = match keys.sealing() {
        Sealing::One => keys.master.clone(),
        Sealing::Apart => keys.present(generation).and_then(|known| known.master),
    };
    let master = master.ok_or(Denied { role: keys.role, need: Need::Keys })?;
    let id = random::id()?;
    if label.len() > LABEL_MAX {
        return Err(SlotError::Label(label.len()));
    }
    match secret {
        secret if !secret.opens(kind) => return Err(SlotError::WrongKind { id, kind, label: label.into() }),
        Secret::Passphrase(text) if text.is_empty() => return Err(SlotError::Empty),
        _ => {}
    }
    let mut slot = Slot {
        id,
        kind,
        label: label.to_owned(),
        created_s: now.0.div_euclid(1_000_000_000),
        cost: (kind == SlotKind::Passphrase).then_some(cost),
        salt: random::bytes()?,
        wrap: Wrap::Master { nonce: random::bytes()?, wrapped: Vec::new() },
    };
    let stretched = stretched(&slot, secret)?;
    // Where all is sealed by one key, the master secret is wrapped as it ever was: programs from before roles open it too.
    match keys.sealing() {
        Sealing::One if role == Role::Admin => wrap_master(&mut slot, &master, &stretched, repo_id)?,
        _ => {
            let (_, public) = content::pair(&derived(PAIR, &stretched));
            let new = Wrapping { role, generation, public, shared: derived(SHARED, &stretched) };
            wrap_keys(&mut slot, keys, &master, &new, repo_id)?;
        }
    }
    Ok((opened(id, repo_id, &stretched), slot_text::write(&slot)))
}

/// What the private key of a slot is derived with, and the secret that it shares with the role admin.
const PAIR: &str = "bygone 2 slot key pair";
const SHARED: &str = "bygone 2 slot shared secret";
const BINDING: &str = "bygone 2 slot bindings";

/// What is wrapped in format 2, and for whom.
struct Wrapping {
    role: Role,
    generation: Generation,
    public: [u8; 32],
    shared: Zeroizing<[u8; 32]>,
}

fn wrap_master(slot: &mut Slot, master: &Master, stretched: &[u8; 32], repo_id: Id) -> Result<(), SlotError> {
    let nonce = random::bytes()?;
    let mut buffer = Zeroizing::new(master.expose().to_vec());
    Aes256Gcm::new(stretched.into())
        .encrypt_in_place((&nonce).into(), &slot.associated(repo_id), &mut *buffer)
        .map_err(|_| refused())?;
    slot.wrap = Wrap::Master { nonce, wrapped: buffer.to_vec() };
    Ok(())
}

fn wrap_keys(slot: &mut Slot, keys: &Keys, master: &Master, new: &Wrapping, repo_id: Id) -> Result<(), SlotError> {
    let bundle = keys.bundle(new.role).ok_or(SlotError::NoRole(new.role))?;
    let (role, generation, public) = (new.role, new.generation, new.public);
    slot.wrap = Wrap::Keys { role, generation, public, binding: Vec::new(), wrapped: Vec::new() };
    let associated = slot.associated(repo_id);
    // With room for the tag: it is not moved, and no copy stays behind.
    let mut binding = Vec::with_capacity(new.shared.len() + TAG_LEN);
    binding.extend_from_slice(&*new.shared);
    bindings(master, slot.id).encrypt_in_place(&NO_NONCE.into(), &associated, &mut binding).map_err(|_| refused())?;
    let wrapped = content::seal(&public, &new.shared, &associated, &bundle).map_err(|_| refused())?;
    slot.wrap = Wrap::Keys { role, generation, public, binding, wrapped };
    Ok(())
}

/// A key of bindings is that of one slot, and seals once.
const NO_NONCE: [u8; 12] = [0; 12];

/// What seals the binding of a slot: only the role admin has it.
fn bindings(master: &Master, slot: Id) -> Aes256Gcm {
    let of = Zeroizing::new(master.derive(BINDING));
    let key = Zeroizing::new(*blake3::keyed_hash(&of, &slot.0).as_bytes());
    Aes256Gcm::new((&*key).into())
}

fn derived(context: &str, stretched: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(context, stretched))
}

fn refused() -> SlotError {
    SlotError::Damaged { why: "the cipher refused its keys".into() }
}

/// Opens a slot's bytes, of a repository whose objects are sealed so. [`SlotError::WrongKind`] costs nothing;
/// anything else, for a passphrase, the slot's [`Cost`]. Whatever the bytes are, memory stays below [`Cost::CEILING`].
pub fn open_slot(bytes: &[u8], secret: &Secret, repo_id: Id, sealing: Sealing) -> Result<Keys, SlotError> {
    let slot = slot_text::read(bytes)?;
    if !secret.opens(slot.kind) {
        return Err(SlotError::WrongKind { id: slot.id, kind: slot.kind, label: slot.label });
    }
    let stretched = stretched(&slot, secret)?;
    let associated = slot.associated(repo_id);
    let keys = match &slot.wrap {
        Wrap::Master { nonce, wrapped } if sealing == Sealing::One => {
            let mut buffer = Zeroizing::new(wrapped.clone());
            let opened = Aes256Gcm::new((&*stretched).into()).decrypt_in_place(nonce.into(), &associated, &mut *buffer);
            let master = opened.ok().and_then(|()| <[u8; 32]>::try_from(&buffer[..]).ok());
            master.map(|master| Keys::derive(Master::from_bytes(master), sealing))
        }
        Wrap::Master { .. } => {
            return Err(SlotError::Damaged { why: "it is of a repository from before roles".into() });
        }
        Wrap::Keys { role, public, wrapped, .. } => {
            let (private, own) = content::pair(&derived(PAIR, &stretched));
            let bundle = content::open(&private, &derived(SHARED, &stretched), &associated, wrapped);
            let bundle = bundle.ok().filter(|_| own == *public);
            bundle.and_then(|bundle| Keys::of_bundle(&bundle, *role, sealing))
        }
    };
    let mut keys = keys.ok_or(SlotError::WrongKey { id: slot.id, kind: slot.kind, label: slot.label })?;
    keys.slot = Some(opened(slot.id, repo_id, &stretched));
    Ok(keys)
}

/// What of a slot is kept as long as its keys are: what later generations are sealed to.
fn opened(id: Id, repository: Id, stretched: &[u8; 32]) -> Opened {
    let (private, public) = content::pair(&derived(PAIR, stretched));
    Opened { repository, id, private, public, shared: derived(SHARED, stretched) }
}

/// What a slot says about itself.
pub fn describe_slot(bytes: &[u8]) -> Result<SlotInfo, SlotError> {
    let slot = slot_text::read(bytes)?;
    let created = Instant(slot.created_s.saturating_mul(1_000_000_000));
    let (role, generation) = match slot.wrap {
        Wrap::Master { .. } => (Role::Admin, Generation::FIRST),
        Wrap::Keys { role, generation, .. } => (role, generation),
    };
    Ok(SlotInfo { id: slot.id, kind: slot.kind, role, generation, label: slot.label, created, cost: slot.cost })
}

/// Whether an admin has made this slot as it is; `None` where these keys can't tell: they are no admin's, or it has no binding.
pub fn is_genuine(bytes: &[u8], keys: &Keys, repo_id: Id) -> Result<Option<bool>, SlotError> {
    let slot = slot_text::read(bytes)?;
    match (&keys.master, &slot.wrap) {
        (Some(_), Wrap::Keys { .. }) => Ok(Some(binding(&slot, keys, repo_id).is_some())),
        _ => Ok(None),
    }
}

/// The secret that a slot shares with the role admin, if an admin has made it as it is and knew the generation that it names.
pub(super) fn binding(slot: &Slot, keys: &Keys, repo_id: Id) -> Option<Zeroizing<[u8; 32]>> {
    let Wrap::Keys { generation, binding, .. } = &slot.wrap else { return None };
    let master = match keys.sealing() {
        Sealing::One => keys.master.clone()?,
        Sealing::Apart => keys.known(*generation).ok()?.master?,
    };
    let mut binding = Zeroizing::new(binding.clone());
    bindings(&master, slot.id)
        .decrypt_in_place(&NO_NONCE.into(), &slot.associated(repo_id), &mut *binding)
        .ok()
        .and_then(|()| <[u8; 32]>::try_from(&binding[..]).ok())
        .map(Zeroizing::new)
}

/// What the keys that open a slot are derived from.
fn stretched(slot: &Slot, secret: &Secret) -> Result<Zeroizing<[u8; 32]>, SlotError> {
    match (secret, slot.cost) {
        (Secret::Passphrase(text), Some(cost)) => stretch::passphrase(text, &slot.salt, cost),
        (Secret::KeyFile(secret), _) => Ok(stretch::key(secret, &slot.salt)),
        (Secret::Passphrase(_), None) => {
            Err(SlotError::WrongKind { id: slot.id, kind: slot.kind, label: slot.label.clone() })
        }
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
