//! A few bytes in an object that every role reads, for those only who read content.

use crate::crypto::{
    content,
    keys::{KeyError, Keys, Sealing, Secret32},
};
use crate::types::{
    ids::Generation,
    role::{Denied, Need},
};
use zeroize::Zeroizing;

impl Keys {
    /// Seals bytes to those who may read content, under the generation in force, which is given with them. `place` says where they
    /// stand, and opens them only there. Whoever captures can; not even he can open them.
    ///
    /// In a repository from before roles everybody may, and the bytes are as they were: the object that they stand in is sealed.
    pub fn seal_to_readers(&self, place: &[u8], plain: &[u8]) -> Result<(Generation, Vec<u8>), KeyError> {
        let generation = self.in_force()?;
        if self.sealing() == Sealing::One {
            return Ok((generation, plain.to_vec()));
        }
        let apart = self.of(generation)?;
        let public = apart.public.as_ref().ok_or(Denied { role: self.role(), need: Need::Capture })?;
        Ok((generation, content::seal(public, &shared(&apart.structure), place, plain)?))
    }

    /// What [`Keys::seal_to_readers`] sealed.
    pub fn open_as_reader(
        &self,
        generation: Generation,
        place: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.role().check(Need::Content)?;
        if self.sealing() == Sealing::One {
            return Ok(Zeroizing::new(sealed.to_vec()));
        }
        let apart = self.of(generation)?;
        let private = apart.private.as_ref().ok_or(Denied { role: self.role(), need: Need::Content })?;
        Ok(content::open(private, &shared(&apart.structure), place, sealed)?)
    }
}

/// The secret that these bytes are sealed with besides.
fn shared(structure: &[u8; 32]) -> Secret32 {
    Zeroizing::new(blake3::derive_key("bygone 2 bytes for readers shared secret", structure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::master::Master;
    use crate::types::role::Role;

    fn role(all: &Keys, role: Role) -> Keys {
        Keys::of_bundle(&all.bundle(role).unwrap(), role, Sealing::Apart).unwrap()
    }

    #[test]
    fn a_writer_seals_what_only_readers_open() {
        let all = Keys::derive(Master::from_bytes([5; 32]), Sealing::Apart);
        let (generation, sealed) = role(&all, Role::Writer).seal_to_readers(b"here", b"42").unwrap();
        for keys in [&all, &role(&all, Role::Reader)] {
            assert_eq!(**keys.open_as_reader(generation, b"here", &sealed).unwrap(), *b"42");
            assert!(keys.open_as_reader(generation, b"there", &sealed).is_err());
        }
        for keys in [role(&all, Role::Writer), role(&all, Role::Auditor)] {
            assert!(matches!(keys.open_as_reader(generation, b"here", &sealed), Err(KeyError::Denied(_))));
        }
        assert!(role(&all, Role::Auditor).seal_to_readers(b"here", b"42").is_err());
        let one = Keys::derive(Master::from_bytes([5; 32]), Sealing::One);
        let (generation, plain) = one.seal_to_readers(b"here", b"42").unwrap();
        assert_eq!(**one.open_as_reader(generation, b"here", &plain).unwrap(), *b"42");
    }
}
