//! What stands beside an SQLite database and would change it: a `-wal` or a `-journal` of another time is applied to whatever
//! stands there by the next program that opens it.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::sys::{
    dir::{self, Listing},
    read,
    stat::{self, Stat},
};
use crate::types::{attr::Kind, ids::Snap};
use rustix::fd::OwnedFd;
use std::collections::HashSet;

const HEADER: &[u8] = b"SQLite format 3\0";
/// The first bytes of a WAL but for its last bit, and of a rollback journal.
const WAL: [u8; 3] = [0x37, 0x7f, 0x06];
const JOURNAL: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// How the names of such files end.
const SIDES: [&str; 3] = ["-wal", "-journal", "-shm"];

/// The names in `dir` that may stand beside a database. One look at a directory, and not one at each of its files.
pub(super) fn sides(dir: &OwnedFd) -> HashSet<Vec<u8>> {
    let (mut listing, mut buffer) = (Listing::new(), Vec::new());
    // A directory that can't be listed is told where it is to be.
    if dir::list(dir, &mut buffer, &mut listing).is_err() {
        return HashSet::new();
    }
    let is_side = |name: &[u8]| SIDES.iter().any(|side| name.ends_with(side.as_bytes()));
    listing.iter().filter(|entry| is_side(entry.name)).map(|entry| entry.name.to_vec()).collect()
}

/// The files beside the name of `row` in `dir` that belong to another state of it, and are not in the view themselves. `sides` are
/// those of the directory.
pub(super) fn stale(
    index: &Reader,
    dir: &OwnedFd,
    sides: &HashSet<Vec<u8>>,
    row: &Row,
    snap: Snap,
) -> Result<Vec<(Vec<u8>, Stat)>, IndexError> {
    let mut found = Vec::new();
    if row.attr.kind() != Kind::File || sides.is_empty() {
        return Ok(found);
    }
    let of_row = |side: &str| [row.name.as_slice(), side.as_bytes()].concat();
    if !SIDES.iter().any(|side| sides.contains(&of_row(side))) {
        return Ok(found);
    }
    let is_database = begins(dir, &row.name, HEADER);
    for side in SIDES {
        let name = of_row(side);
        let Ok(now) = stat::at(dir, &name) else { continue };
        let is_side = match side {
            "-wal" => is_database || begins(dir, &name, &WAL),
            "-journal" => is_database || begins(dir, &name, &JOURNAL),
            _ => is_database || !found.is_empty(),
        };
        let is_file = now.kind() == Some(Kind::File);
        if is_file && is_side && index.child(row.source, row.parent, &name, snap)?.is_none() {
            found.push((name, now));
        }
    }
    Ok(found)
}

fn begins(dir: &OwnedFd, name: &[u8], with: &[u8]) -> bool {
    let mut head = [0; 16];
    let is_file = stat::at(dir, name).is_ok_and(|s| s.kind() == Some(Kind::File));
    let n = is_file.then(|| read::open(dir, name).and_then(|fd| read::read_at(fd, &mut head, 0)));
    matches!(n, Some(Ok(n)) if head[..n].starts_with(with))
}
