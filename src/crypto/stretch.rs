//! From a secret to the key that wraps the master: Argon2id for passphrases, BLAKE3 for keys.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use super::slot_error::{Cost, SlotError};

/// Argon2's parameters, if the cost is one that it can have and not above the ceiling.
pub(super) fn params(cost: Cost) -> Result<Params, SlotError> {
    let max = Cost::CEILING;
    if cost.memory_kib > max.memory_kib || cost.passes > max.passes || cost.lanes > max.lanes {
        return Err(SlotError::Cost(cost));
    }
    Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|e| SlotError::Damaged { why: format!("{cost} is no cost that Argon2 can have: {e}") })
}

/// The wrapping key of a passphrase.
pub(super) fn passphrase(text: &str, salt: &[u8; 32], cost: Cost) -> Result<Zeroizing<[u8; 32]>, SlotError> {
    let params = params(cost)?;
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| SlotError::Memory(cost))?;
    memory.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let done = argon.hash_password_into_with_memory(text.as_bytes(), salt, &mut *key, &mut memory[..]);
    memory.zeroize();
    done.map_err(|e| SlotError::Damaged { why: format!("Argon2 refused it: {e}") })?;
    Ok(key)
}

/// The wrapping key of a key file or a key on paper.
pub(super) fn key(secret: &[u8; 32], salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut material = Zeroizing::new([0; 64]);
    material[..32].copy_from_slice(secret);
    material[32..].copy_from_slice(salt);
    Zeroizing::new(blake3::derive_key("bygone 1 key file slot", &*material))
}
