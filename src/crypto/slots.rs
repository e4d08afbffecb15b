//! Key slots: the master secret, wrapped by a passphrase or a key, as the text of an object `keys/<id>`.
//!
//! A slot is TOML. Its last line is `check = "<16 digits>"`, the first eight bytes of the BLAKE3 hash of all bytes before
//! that line, in this format and in every later one: it tells damage from a wrong key, and protects nothing. What protects
//! is AES-256-GCM over the master secret, with every other field of the slot and the repository's id as associated data.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use zeroize::Zeroizing;

use super::keytext::{self, KeyTextError};
use super::master::Master;
use super::random::{self, RandomError};
use super::slot_error::LABEL_MAX;
use super::slot_text::{self, Slot};
use super::stretch;
use crate::types::{ids::Id, time::Instant};

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
    /// What its maker called it: any text, show it with care.
    pub label: String,
    /// When it was made, to the second.
    pub created: Instant,
    /// What a guess at the passphrase costs; none for a key.
    pub cost: Option<Cost>,
}

/// Wraps `master` for `secret` in a new slot: its id and the bytes to store as `keys/<id>`. A passphrase is stretched with
/// [`Cost::DEFAULT`], which takes 64 MiB and some tenths of a second.
pub fn seal_slot(
    master: &Master,
    secret: &Secret,
    kind: SlotKind,
    label: &str,
    repo_id: Id,
    now: Instant,
) -> Result<(Id, Vec<u8>), SlotError> {
    seal_with(master, secret, (kind, Cost::DEFAULT), label, repo_id, now)
}

fn seal_with(
    master: &Master,
    secret: &Secret,
    (kind, cost): (SlotKind, Cost),
    label: &str,
    repo_id: Id,
    now: Instant,
) -> Result<(Id, Vec<u8>), SlotError> {
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
        nonce: random::bytes()?,
        wrapped: Vec::new(),
    };
    let mut buffer = Zeroizing::new(master.expose().to_vec());
    cipher(&slot, secret)?
        .encrypt_in_place((&slot.nonce).into(), &slot.associated(repo_id), &mut *buffer)
        .map_err(|_| SlotError::Damaged { why: "the cipher refused 32 bytes".into() })?;
    slot.wrapped = buffer.to_vec();
    Ok((id, slot_text::write(&slot)))
}

/// Opens a slot's bytes. [`SlotError::WrongKind`] costs nothing; anything else, for a passphrase, the slot's [`Cost`].
/// Whatever the bytes are, memory stays below [`Cost::CEILING`].
pub fn open_slot(bytes: &[u8], secret: &Secret, repo_id: Id) -> Result<Master, SlotError> {
    let slot = slot_text::read(bytes)?;
    if !secret.opens(slot.kind) {
        return Err(SlotError::WrongKind { id: slot.id, kind: slot.kind, label: slot.label });
    }
    let cipher = cipher(&slot, secret)?;
    let associated = slot.associated(repo_id);
    let mut buffer = Zeroizing::new(slot.wrapped);
    let opened = cipher.decrypt_in_place((&slot.nonce).into(), &associated, &mut *buffer).ok();
    match opened.and_then(|()| <[u8; 32]>::try_from(&buffer[..]).ok()) {
        Some(bytes) => Ok(Master::from_bytes(bytes)),
        None => Err(SlotError::WrongKey { id: slot.id, kind: slot.kind, label: slot.label }),
    }
}

/// What a slot says about itself.
pub fn describe_slot(bytes: &[u8]) -> Result<SlotInfo, SlotError> {
    let slot = slot_text::read(bytes)?;
    let created = Instant(slot.created_s.saturating_mul(1_000_000_000));
    Ok(SlotInfo { id: slot.id, kind: slot.kind, label: slot.label, created, cost: slot.cost })
}

fn cipher(slot: &Slot, secret: &Secret) -> Result<Aes256Gcm, SlotError> {
    let key = match (secret, slot.cost) {
        (Secret::Passphrase(text), Some(cost)) => stretch::passphrase(text, &slot.salt, cost)?,
        (Secret::KeyFile(secret), _) => stretch::key(secret, &slot.salt),
        (Secret::Passphrase(_), None) => {
            return Err(SlotError::WrongKind { id: slot.id, kind: slot.kind, label: slot.label.clone() });
        }
    };
    Ok(Aes256Gcm::new((&*key).into()))
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
