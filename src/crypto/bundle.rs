//! What a slot wraps: the keys of one role, one behind the other, each as a byte that says which it is and its 32 bytes, in the order
//! of these bytes.

use crate::crypto::{
    content,
    keys::{Apart, Dedup, Keys, Sealing, Secret32, Secrets},
    master::Master,
};
use crate::types::role::{Need, Role};
use zeroize::Zeroizing;

const PUBLIC: u8 = 1;
const CHUNK: u8 = 2;
const GEAR: u8 = 3;
const OBJECT: u8 = 4;
const STRUCTURE: u8 = 5;
const CONTENT_PUBLIC: u8 = 6;
const CONTENT_PRIVATE: u8 = 7;
const MASTER: u8 = 8;
/// A key with the byte before it.
const ITEM: usize = 33;
/// No bundle is longer.
pub(super) const BUNDLE_MAX: usize = 8 * ITEM;

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
        let mut out = Zeroizing::new(Vec::with_capacity(BUNDLE_MAX));
        let mut put = |what: u8, key: &[u8; 32]| {
            out.push(what);
            out.extend_from_slice(key);
        };
        put(PUBLIC, &self.public);
        if role != Role::Auditor {
            let dedup = self.dedup.as_ref()?;
            put(CHUNK, &dedup.chunk);
            put(GEAR, &dedup.gear);
        }
        match &self.secrets {
            Secrets::One(_) if !role.may(Need::Content) => return None,
            _ if role == Role::Admin => put(MASTER, self.master.as_ref()?.expose()),
            Secrets::One(key) => put(OBJECT, key),
            Secrets::Apart(apart) => {
                put(STRUCTURE, &apart.structure);
                if role == Role::Writer {
                    put(CONTENT_PUBLIC, &apart.public?);
                }
                if role == Role::Reader {
                    put(CONTENT_PRIVATE, apart.private.as_ref()?);
                }
            }
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
            (Role::Admin, sealing) => {
                let master = Master::from_bytes(*parts.take(MASTER)?);
                let secrets = match sealing {
                    Sealing::One => Secrets::One(Zeroizing::new(master.derive("bygone 1 object keys"))),
                    Sealing::Apart => Secrets::Apart(Apart::of(&master)),
                };
                (secrets, Some(master))
            }
            (_, Sealing::One) => (Secrets::One(parts.take(OBJECT)?), None),
            (_, Sealing::Apart) => (Secrets::Apart(apart(&mut parts, role)?), None),
        };
        parts.0.is_empty().then_some(Keys { role, public, dedup, secrets, master })
    }
}

fn apart(parts: &mut Parts<'_>, role: Role) -> Option<Apart> {
    let structure = parts.take(STRUCTURE)?;
    Some(match role {
        Role::Writer => Apart { structure, public: Some(*parts.take(CONTENT_PUBLIC)?), private: None },
        Role::Reader => {
            let private = parts.take(CONTENT_PRIVATE)?;
            Apart { structure, public: Some(content::public_of(&private).ok()?), private: Some(private) }
        }
        Role::Auditor | Role::Admin => Apart { structure, public: None, private: None },
    })
}
