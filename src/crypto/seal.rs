//! Sealing of objects: one AES-256-GCM key an object, one nonce a position in it.
//!
//! Every object has a random 128-bit id, and its key is derived from that id ([`super::keys`]). So no key is used for two objects, and the nonce can be the plain position inside the object. What a piece is (kind of object, format
//! version, id, name in the store, position) is bound in as associated data: a piece moved elsewhere does not open.

use crate::types::ids::Id;
use aes_gcm::{
    Aes256Gcm, Key, KeyInit, Nonce,
    aead::{AeadInOut, Tag},
};

/// The format version bound into every sealed piece.
pub const FORMAT: u8 = 1;
/// How much longer a sealed piece is than its plain form.
pub const TAG_LEN: usize = 16;

/// What an object is; bound into each of its pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// A pack of frames.
    Pack = 1,
    /// A journal segment.
    Journal = 2,
    /// What was done about a legal hold.
    Hold = 3,
    /// Entries of the audit trail.
    Audit = 4,
    /// What collection states.
    Collection = 5,
    /// What a copy holds that has not all.
    Holding = 6,
    /// Which place of a repository goes on.
    Promotion = 7,
}

/// A piece did not open: it was altered, cut, moved, or sealed with another key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is damaged, or was sealed with another key: its authentication does not match")]
pub struct OpenError;

/// The key of one object.
pub struct ObjectKey {
    cipher: Aes256Gcm,
    aad: Vec<u8>,
}

impl ObjectKey {
    /// The key with these bytes, of the object with this kind, id and name in the store.
    pub(super) fn new(key: &[u8; 32], kind: ObjectKind, id: Id, name: &str) -> ObjectKey {
        let mut aad = b"bygone".to_vec();
        aad.extend_from_slice(&[kind as u8, FORMAT]);
        aad.extend_from_slice(&id.0);
        aad.extend_from_slice(name.as_bytes());
        ObjectKey { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)), aad }
    }

    /// Seals the bytes of `buffer` from `start` in place for `position`; it grows by [`TAG_LEN`]. A position is used once
    /// in an object.
    pub fn seal(&self, position: u64, buffer: &mut Vec<u8>, start: usize) {
        let aad = self.aad(position);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(position), &aad, (&mut buffer[start..]).into())
            .expect("a piece is far below the 64 GiB that AES-GCM can seal");
        buffer.extend_from_slice(&tag);
    }

    /// Opens `piece` in place for `position`; it shrinks by [`TAG_LEN`]. On error its bytes mean nothing.
    pub fn open(&self, position: u64, piece: &mut Vec<u8>) -> Result<(), OpenError> {
        let len = self.open_part(position, piece)?.len();
        piece.truncate(len);
        Ok(())
    }

    /// Opens `piece` in place for `position`, and gives the part of it that is not the seal. On error its bytes mean nothing.
    pub fn open_part<'a>(&self, position: u64, piece: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        let len = piece.len().checked_sub(TAG_LEN).ok_or(OpenError)?;
        let (plain, tag) = piece.split_at_mut(len);
        let tag = Tag::<Aes256Gcm>::try_from(&*tag).map_err(|_| OpenError)?;
        let aad = self.aad(position);
        self.cipher
            .decrypt_inout_detached(&nonce(position), &aad, (&mut *plain).into(), &tag)
            .map_err(|_| OpenError)?;
        Ok(plain)
    }

    fn aad(&self, position: u64) -> Vec<u8> {
        let mut aad = Vec::with_capacity(self.aad.len() + 8);
        aad.extend_from_slice(&self.aad);
        aad.extend_from_slice(&position.to_le_bytes());
        aad
    }
}

fn nonce(position: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut n = [0; 12];
    n[4..].copy_from_slice(&position.to_be_bytes());
    n.into()
}
