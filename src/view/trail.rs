//! How a node came to a position, and where it went from there.

use crate::index::history::Stay;
use crate::types::ids::Snap;
use crate::view::positions::{Position, overlap};

/// How a node came to a position.
pub(super) enum Came {
    /// From another: it was renamed, or a directory above it was.
    Moved(Position),
    /// It had this path too, and it was not that one that became the position: a hard link.
    Linked(Vec<u8>),
    /// It was nowhere.
    New,
}

/// How a node came to one of its positions, of which `all` are given.
pub(super) fn came(all: &[Position], here: &Position) -> Came {
    let at = here.stay.from;
    if let Some(from) = partner(all, here, at) {
        return Came::Moved(from.clone());
    }
    let was = |p: &&Position| p.stay.from < at;
    let stays = all.iter().filter(was).find(|p| p.stay.covers(at));
    if let Some(other) = stays.or_else(|| all.iter().filter(was).find(|p| p.stay.to == Some(at))) {
        return Came::Linked(other.path.clone());
    }
    // It was not there for a while: out of the source, or left out.
    match all.iter().filter(was).max_by_key(|p| p.stay.to) {
        Some(from) if from.path != here.path => Came::Moved(from.clone()),
        _ => Came::New,
    }
}

/// The position that a position which begins with a snapshot came from, or that one which ends with it became. Of several
/// names of a node that went and came, the first goes with the first, as in a difference; an entry that only got another path
/// goes with itself.
pub(super) fn partner<'a>(all: &'a [Position], of: &Position, at: Snap) -> Option<&'a Position> {
    let ended: Vec<&Position> = all.iter().filter(|p| p.stay.to == Some(at)).collect();
    let begun: Vec<&Position> = all.iter().filter(|p| p.stay.from == at).collect();
    let (mine, theirs) = if of.stay.from == at { (begun, ended) } else { (ended, begun) };
    if let Some(same) = theirs.iter().find(|p| same_entry(&p.stay, &of.stay)) {
        return Some(same);
    }
    let alone = |list: &[&'a Position], others: &[&Position]| {
        let has_partner = |p: &Position| others.iter().any(|o| same_entry(&o.stay, &p.stay));
        let mut alone: Vec<&'a Position> = list.iter().copied().filter(|p| !has_partner(p)).collect();
        alone.sort_by(|a, b| (a.stay.parent, &a.stay.name).cmp(&(b.stay.parent, &b.stay.name)));
        alone
    };
    let at = alone(&mine, &theirs).iter().position(|p| same_entry(&p.stay, &of.stay))?;
    alone(&theirs, &mine).get(at).copied()
}

/// Whether two stays are of one name in one directory.
pub(super) fn same_entry(a: &Stay, b: &Stay) -> bool {
    a.parent == b.parent && a.name == b.name
}

/// Whether a stand at a path is a part of a position.
pub(super) fn is_part(position: &Position, stand: &Stay) -> bool {
    same_entry(&position.stay, stand)
        && overlap((position.stay.from, position.stay.to), (stand.from, stand.to)).is_some()
}
