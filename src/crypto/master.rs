//! The master secret of a repository. Every other key is derived from it.

use zeroize::ZeroizeOnDrop;

use super::random::{self, RandomError};

/// The 256-bit secret of a repository. It is wiped when dropped, cannot be cloned and does not show itself.
#[derive(ZeroizeOnDrop)]
pub struct Master([u8; 32]);

impl Master {
    /// A new secret from the kernel's random bytes.
    pub fn generate() -> Result<Master, RandomError> {
        random::bytes().map(Master)
    }

    /// A secret from its bytes, as a slot gives them.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Master {
        Master(bytes)
    }

    /// The bytes, for wrapping them in a slot.
    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for one purpose. `context` is a fixed string in the source code, one for each purpose, as BLAKE3's
    /// `derive_key` demands; what varies (an object's id) is hashed in afterwards. The caller wipes the result.
    pub fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_and_masters_give_different_keys() {
        let (a, b) = (Master::generate().unwrap(), Master::generate().unwrap());
        assert_ne!(a.derive("bygone test one"), a.derive("bygone test two"));
        assert_ne!(a.derive("bygone test one"), b.derive("bygone test one"));
        assert_eq!(a.derive("bygone test one"), Master::from_bytes(*a.expose()).derive("bygone test one"));
    }
}
