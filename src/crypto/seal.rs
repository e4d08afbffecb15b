//! Sealing of objects: one AES-256-GCM key an object, one nonce a position in it.
//!
//! Every object has a random 128-bit id, and its key is derived from the master secret and that id. So no key is used
//! for two objects, and the nonce can be the plain position inside the object. What a piece is (kind of object, format
//! version, id, name in the store, position) is bound in as associated data: a piece moved elsewhere does not open.

use crate::crypto::master::Master;
use crate::types::ids::{Hash, Id};
use aes_gcm::{
    Aes256Gcm, Key, KeyInit, Nonce,
    aead::{AeadInOut, Tag},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

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
}

/// A piece did not open: it was altered, cut, moved, or sealed with another key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is damaged, or was sealed with another key: its authentication does not match")]
pub struct OpenError;

/// The keys of one repository, all derived from the master secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    object: [u8; 32],
    chunk: [u8; 32],
    gear: [u8; 32],
    public: [u8; 32],
}

impl Keys {
    /// Derives all keys from the master secret by BLAKE3's `derive_key`, one context string each.
    pub fn derive(master: &Master) -> Keys {
        Keys {
            object: master.derive("bygone 1 object keys"),
            chunk: master.derive("bygone 1 chunk ids"),
            gear: master.derive("bygone 1 cut points"),
            public: master.derive("bygone 1 public authentication"),
        }
    }

    /// The key of the object with this kind, id and name in the store.
    pub fn object(&self, kind: ObjectKind, id: Id, name: &str) -> ObjectKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.object);
        hasher.update(&[kind as u8, FORMAT]);
        hasher.update(&id.0);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        let mut aad = b"bygone".to_vec();
        aad.extend_from_slice(&[kind as u8, FORMAT]);
        aad.extend_from_slice(&id.0);
        aad.extend_from_slice(name.as_bytes());
        ObjectKey { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)), aad }
    }

    /// The id of a chunk: the keyed hash of its bytes, so that a store can't confirm a known file.
    pub fn chunk_hash(&self, bytes: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(&self.chunk, bytes).as_bytes())
    }

    /// A running hash under the key of chunk ids.
    pub fn chunk_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.chunk)
    }

    /// The secret table that decides where content is cut: 256 numbers of 64 bits.
    pub fn gear_table(&self) -> Box<[u64; 256]> {
        let mut bytes = [0; 8 * 256];
        blake3::Hasher::new_keyed(&self.gear).finalize_xof().fill(&mut bytes);
        let mut table = Box::new([0; 256]);
        for (slot, b) in table.iter_mut().zip(bytes.chunks_exact(8)) {
            *slot = b.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        table
    }

    /// Authenticates text that is stored in the open.
    pub fn authenticate(&self, text: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(&self.public, text).as_bytes())
    }
}

/// The key of one object.
pub struct ObjectKey {
    cipher: Aes256Gcm,
    aad: Vec<u8>,
}

impl ObjectKey {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_opens_only_where_it_was_sealed() {
        let keys = Keys::derive(&Master::generate().unwrap());
        let id = Id([1; 16]);
        let key = keys.object(ObjectKind::Pack, id, "packs/01/x");
        let mut piece = b"content".to_vec();
        key.seal(3, &mut piece, 0);
        assert_eq!(piece.len(), 7 + TAG_LEN);
        let mut same = piece.clone();
        key.open(3, &mut same).unwrap();
        assert_eq!(same, b"content");
        assert!(key.open(4, &mut piece.clone()).is_err());
        assert!(keys.object(ObjectKind::Journal, id, "packs/01/x").open(3, &mut piece.clone()).is_err());
        assert!(keys.object(ObjectKind::Pack, id, "packs/01/y").open(3, &mut piece.clone()).is_err());
        assert!(keys.object(ObjectKind::Pack, Id([2; 16]), "packs/01/x").open(3, &mut piece.clone()).is_err());
        for i in 0..piece.len() {
            let mut bad = piece.clone();
            bad[i] ^= 1;
            assert!(key.open(3, &mut bad).is_err());
            assert!(key.open(3, &mut piece[..i].to_vec()).is_err());
        }
    }

    #[test]
    fn other_masters_give_other_keys() {
        let (a, b) = (Keys::derive(&Master::generate().unwrap()), Keys::derive(&Master::generate().unwrap()));
        assert_ne!(a.chunk_hash(b"x"), b.chunk_hash(b"x"));
        assert_ne!(a.gear_table(), b.gear_table());
        assert_ne!(a.authenticate(b"x"), a.chunk_hash(b"x"));
    }
}
