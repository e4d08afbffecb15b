//! The first bytes of every sealed object, in the open: what it is, and how its key is found.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0-5 | `BYGONE` |
//! | 6 | kind of object |
//! | 7 | format version |
//! | 8 | how the object's key is found: 0, derived from the master secret and the id |
//! | 9-13 | zero |
//! | 14-15 | length of the key data that follows the header, little-endian; 0 for method 0 |
//! | 16-31 | the object's id |

use crate::crypto::seal::{FORMAT, ObjectKind};
use crate::repo::error::Damage;
use crate::types::ids::Id;

/// The length of a header in bytes.
pub const LEN: usize = 32;

/// The header of an object.
pub fn write(kind: ObjectKind, id: Id) -> [u8; LEN] {
    let mut h = [0; LEN];
    h[..6].copy_from_slice(b"BYGONE");
    h[6] = kind as u8;
    h[7] = FORMAT;
    h[16..].copy_from_slice(&id.0);
    h
}

/// The id in a header of an object that must be of this kind.
pub fn read(bytes: &[u8], kind: ObjectKind) -> Result<Id, Damage> {
    let head = bytes.get(..LEN).ok_or_else(|| Damage::other("it is too short to have one"))?;
    if &head[..6] != b"BYGONE" || head[6] != kind as u8 {
        return Err(Damage::other("it is not an object of this kind"));
    }
    if head[7] != FORMAT {
        return Err(Damage::other(format!("it has format {}, and this program reads format {FORMAT}", head[7])));
    }
    if head[8] != 0 || head[9..16] != [0; 7] {
        return Err(Damage::other("its key is found in a way that this program does not know"));
    }
    let mut id = [0; 16];
    id.copy_from_slice(&head[16..]);
    Ok(Id(id))
}
