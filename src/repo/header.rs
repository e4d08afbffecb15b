//! The first bytes of every sealed object, in the open: what it is, and how its key is found.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0-5 | `BYGONE` |
//! | 6 | kind of object |
//! | 7 | format version |
//! | 8 | how the object's key is found: 0, the one key of the repository; 1, the structure key; 2, sealed to the content key |
//! | 9-13 | the generation of the keys; zero for the first |
//! | 14-15 | length of the key data that follows the header, little-endian; 0 for methods 0 and 1, 48 for method 2 |
//! | 16-31 | the object's id |

use crate::crypto::{
    keys::{KEY_DATA_LEN, Sealing},
    seal::{FORMAT, ObjectKind},
};
use crate::repo::error::Damage;
use crate::types::ids::{Generation, Id};

/// The length of a header in bytes, without its key data.
pub const LEN: usize = 32;

/// How the key of an object is found, and the length of what that needs.
fn method(kind: ObjectKind, sealing: Sealing) -> (u8, usize) {
    match (sealing, kind) {
        (Sealing::One, _) => (0, 0),
        (Sealing::Apart, ObjectKind::Pack) => (2, KEY_DATA_LEN),
        (Sealing::Apart, _) => (1, 0),
    }
}

/// The length of the header of a pack with its key data: where its first frame begins.
pub fn pack_len(sealing: Sealing) -> usize {
    LEN + method(ObjectKind::Pack, sealing).1
}

/// The header of a new object; that of a pack has its key data behind it.
pub fn write(kind: ObjectKind, id: Id, sealing: Sealing, generation: Generation) -> [u8; LEN] {
    let (method, data_len) = method(kind, sealing);
    let mut h = [0; LEN];
    h[..6].copy_from_slice(b"BYGONE");
    h[6] = kind as u8;
    h[7] = FORMAT;
    h[8] = method;
    h[9..14].copy_from_slice(&generation.0);
    h[14..16].copy_from_slice(&(data_len as u16).to_le_bytes());
    h[16..].copy_from_slice(&id.0);
    h
}

/// The id and the generation in the header of an object that must be of this kind, in a repository whose objects are sealed so. What is
/// sealed behind it opens with the keys of that generation alone.
pub fn read(bytes: &[u8], kind: ObjectKind, sealing: Sealing) -> Result<(Id, Generation), Damage> {
    let head: &[u8; LEN] = bytes.first_chunk().ok_or_else(|| Damage::other("it is too short to have one"))?;
    if &head[..6] != b"BYGONE" || head[6] != kind as u8 {
        return Err(Damage::other("it is not an object of this kind"));
    }
    if head[7] != FORMAT {
        return Err(Damage::other(format!("it has format {}, and this program reads format {FORMAT}", head[7])));
    }
    let (method, data_len) = method(kind, sealing);
    let mut generation = Generation::FIRST;
    generation.0.copy_from_slice(&head[9..14]);
    let may = generation == Generation::FIRST || (sealing == Sealing::Apart && generation.number() > 0);
    if head[8] != method || !may || usize::from(u16::from_le_bytes([head[14], head[15]])) != data_len {
        return Err(Damage::other("its key is found in another way than those of this repository"));
    }
    let mut id = [0; 16];
    id.copy_from_slice(&head[16..]);
    Ok((Id(id), generation))
}
