//! Learning what is in packs from their own tables, where the index does not know all of it: a record may name a chunk that was in no
//! record any more when this index was made.

use crate::crypto::{keys::Sealing, seal::TAG_LEN};
use crate::index::apply::PATIENT;
use crate::repo::{
    attach::Attached,
    error::RepoError,
    header, names,
    opener::read_table,
    pack::{FOOTER_LEN, GENERATION_LEN},
};
use crate::types::{ids::Id, wire::put_u64};
use std::collections::HashMap;

/// Adds to the index what it does not know of the packs that are there. True where it learned anything.
pub fn learn(at: &Attached) -> Result<bool, RepoError> {
    let known: HashMap<Id, (u64, u64)> =
        at.reader()?.pack_lengths()?.into_iter().map(|(id, frames, len)| (id, (frames, len))).collect();
    let mut learned = false;
    for object in at.repo().store().list(names::PACKS)? {
        let Some(id) = names::parse_pack(&object.name) else { continue };
        let (frames, len) = known.get(&id).copied().unwrap_or_default();
        let whole = whole_len(at.repo().keys().sealing(), frames, len);
        // The latter under a later generation of the keys. No frame is that short.
        if object.len == whole || object.len == whole + GENERATION_LEN as u64 {
            continue;
        }
        match read_table(at.repo(), id) {
            Ok(table) => at.index().learn_pack(id, &table.frames, PATIENT)?,
            // A damaged pack can't help; what needs it says so.
            Err(e) if e.is_damage() => {
                tracing::warn!("{e}");
                continue;
            }
            Err(e) => return Err(e),
        }
        learned = true;
    }
    Ok(learned)
}

/// The length of a pack whose frames and their lines in the table measure `len`.
fn whole_len(sealing: Sealing, frames: u64, len: u64) -> u64 {
    let mut count = Vec::new();
    put_u64(&mut count, frames);
    let head = header::pack_len(sealing);
    // What the header says beyond its own length stands in the table again.
    (head + (head - header::LEN) + count.len() + TAG_LEN + FOOTER_LEN) as u64 + len
}
