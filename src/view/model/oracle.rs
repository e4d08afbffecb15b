//! What the answers must be, worked out from whole trees.

use super::world::{At, Tree, World};
use crate::types::ids::{Node, Snap};
use crate::view::diff::ChangeKind;
use std::collections::{BTreeMap, BTreeSet};

/// A change: kind, path, path before.
pub(super) type Told = (ChangeKind, Vec<u8>, Option<Vec<u8>>);

/// The names of nodes that one tree has and the other has not, each with the one it goes with.
fn pairs(a: &Tree, b: &Tree) -> (BTreeMap<At, Option<At>>, BTreeMap<At, Option<At>>) {
    let (mut gone, mut fresh) = (BTreeMap::new(), BTreeMap::new());
    let nodes: BTreeSet<Node> = a.entries.values().chain(b.entries.values()).copied().collect();
    for node in nodes {
        let (old, new) = (a.names(node), b.names(node));
        let left: Vec<At> = old.difference(&new).cloned().collect();
        let right: Vec<At> = new.difference(&old).cloned().collect();
        left.iter().enumerate().for_each(|(n, at)| drop(gone.insert(at.clone(), right.get(n).cloned())));
        right.iter().enumerate().for_each(|(n, at)| drop(fresh.insert(at.clone(), left.get(n).cloned())));
    }
    (gone, fresh)
}

/// All differences between two trees.
pub(super) fn diff(a: &Tree, b: &Tree) -> BTreeSet<Told> {
    let (gone, fresh) = pairs(a, b);
    let mut told = BTreeSet::new();
    for (at, node) in &b.entries {
        let old_path = a.entries.contains_key(at).then(|| a.path(at)).filter(|old| *old != b.path(at));
        if a.entries.get(at) == Some(node) && a.nodes[node].0 != b.nodes[node].0 {
            told.insert((ChangeKind::Modified, b.path(at), old_path.clone()));
        }
        match (gone.get(at), fresh.get(at)) {
            (Some(None), Some(_)) | (Some(_), Some(None)) => {
                let same = a.nodes[&a.entries[at]].1 == b.nodes[node].1;
                let kind = if same { ChangeKind::Modified } else { ChangeKind::Type };
                told.insert((kind, b.path(at), old_path));
            }
            (Some(Some(_)) | None, Some(Some(_))) | (_, None) => {}
            (None, Some(None)) => drop(told.insert((ChangeKind::Added, b.path(at), None))),
        }
        if let Some(Some(from)) = fresh.get(at) {
            told.insert((ChangeKind::Renamed, b.path(at), Some(a.path(from)).filter(|p| *p != b.path(at))));
        }
    }
    for at in gone.iter().filter(|(_, to)| to.is_none()).map(|(at, _)| at) {
        if !fresh.contains_key(at) {
            told.insert((ChangeKind::Removed, a.path(at), None));
        }
    }
    told
}

/// Every name that ever was, with the last path it had; without those of the newest tree if only `deleted` ones are wanted.
pub(super) fn ever(world: &World, deleted: bool) -> BTreeSet<Vec<u8>> {
    let mut last: BTreeMap<At, (Vec<u8>, Node)> = BTreeMap::new();
    for tree in &world.trees {
        last.extend(tree.entries.iter().map(|(at, node)| (at.clone(), (tree.path(at), *node))));
    }
    let newest = world.trees.last().unwrap();
    let there = |at: &At, node: Node| newest.entries.contains_key(at) || newest.nodes.contains_key(&node);
    last.into_iter().filter(|(at, (_, node))| !deleted || !there(at, *node)).map(|(_, (path, _))| path).collect()
}

/// All paths that ever were.
pub(super) fn paths(world: &World) -> BTreeSet<Vec<u8>> {
    world.trees.iter().flat_map(|tree| tree.by_path().into_keys()).collect()
}

/// The names that ever were in the directories that ever stood at a path.
pub(super) fn names_ever(world: &World, path: &[u8]) -> BTreeMap<Vec<u8>, (bool, bool)> {
    let mut names: BTreeMap<Vec<u8>, (bool, bool)> = BTreeMap::new();
    for tree in &world.trees {
        let Some(dir) = tree.by_path().get(path).map(|at| tree.entries[at]).filter(|n| n.is_dir()) else { continue };
        for ((_, name), node) in tree.entries.iter().filter(|((parent, _), _)| *parent == dir) {
            let ever = names.entry(name.clone()).or_default();
            *ever = (ever.0 || node.is_dir(), ever.1 || !node.is_dir());
        }
    }
    names
}

/// The snapshots of a world.
pub(super) fn snaps(world: &World) -> impl Iterator<Item = Snap> {
    (1..=world.trees.len() as u64).map(Snap).filter(|snap| !world.released.contains(snap))
}
