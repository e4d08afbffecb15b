//! Random bytes from the kernel, for secrets, salts and ids.

use crate::types::ids::Id;

/// The kernel gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot get random bytes from the kernel: {0}; without them no key can be made safely")]
pub struct RandomError(getrandom::Error);

/// `N` bytes fit for secrets.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(RandomError)?;
    Ok(out)
}

/// A new random id: two of them never meet.
pub fn id() -> Result<Id, RandomError> {
    bytes().map(Id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(id().unwrap(), id().unwrap());
    }
}
