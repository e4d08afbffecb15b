//! The questions.

use super::{
    oracle,
    world::{Step, Tree, World},
};
use crate::index::{error::IndexError, tree::Reader};
use crate::progress::Quiet;
use crate::repo::{collect::sweep::Collector, replay};
use crate::types::{
    ids::{Node, Snap},
    time::Instant,
};
use crate::view::{
    diff::{self, Change},
    find::{When, find},
    glob::Pattern,
    history::{What, names_ever, versions},
    instant::{Part, View},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow::Continue;

fn trees_agree(world: &World, index: &Reader) {
    let num = world.source.num;
    for snap in oracle::snaps(world) {
        let tree = world.tree(snap);
        for dir in tree.nodes.keys().filter(|n| n.is_dir()) {
            let rows = index.children(num, *dir, snap).unwrap();
            let found: Vec<_> = rows.iter().map(|r| (r.name.clone(), r.node, r.ver)).collect();
            let below = tree.entries.iter().filter(|((parent, _), _)| parent == dir);
            let wanted: Vec<_> = below.map(|((_, name), node)| (name.clone(), *node, tree.nodes[node].0)).collect();
            assert_eq!(found, wanted, "directory {dir:?} as of {snap}");
            let subdirs = wanted.iter().filter(|(_, node, _)| node.is_dir()).count();
            assert_eq!(index.subdirs(num, *dir, snap).unwrap() as usize, subdirs);
            for name in [&b"a"[..], b"b", b"c", b"d", b"\xff"] {
                let found = index.child(num, *dir, name, snap).unwrap().map(|r| r.node);
                assert_eq!(found, tree.entries.get(&(*dir, name.to_vec())).copied(), "{name:?} as of {snap}");
            }
        }
        for node in tree.nodes.keys() {
            let rows = index.names(num, *node, snap).unwrap();
            let found: BTreeSet<_> = rows.into_iter().map(|r| (r.parent, r.name)).collect();
            assert_eq!(found, tree.names(*node), "names of {node:?} as of {snap}");
            assert_eq!(index.link_count(num, *node, snap).unwrap() as usize, found.len());
        }
    }
}

fn view(world: &World, index: &Reader, snap: Snap) -> View {
    let snapshot = index.snapshot(world.source.num, snap).unwrap().unwrap();
    View { at: snapshot.time, parts: vec![Part { source: world.source.clone(), snapshot }], lost: Vec::new() }
}

fn told(changes: &[Change]) -> BTreeSet<oracle::Told> {
    changes.iter().map(|c| (c.kind, c.path.clone(), c.old_path.clone())).collect()
}

fn diffs_agree(world: &World, index: &Reader) {
    for a in oracle::snaps(world) {
        for b in oracle::snaps(world) {
            let wanted = oracle::diff(world.tree(a), world.tree(b));
            let (mut changes, mut streamed) = (Vec::new(), Vec::new());
            let views = (view(world, index, a), view(world, index, b));
            diff::diff(index, &views.0, &views.1, b"/", |c| -> Result<_, IndexError> {
                changes.push(c);
                Ok(Continue(()))
            })
            .unwrap();
            assert_eq!(told(&changes), wanted, "diff {a} {b}");
            assert_eq!(changes.len(), wanted.len(), "nothing twice: diff {a} {b}");
            diff::streamed(index, &world.source, (a, b), &mut |c| {
                streamed.push(c);
                Ok(Continue(()))
            })
            .unwrap();
            assert_eq!(told(&streamed), wanted, "streamed diff {a} {b}");
            assert_eq!(streamed.len(), wanted.len(), "nothing twice: streamed diff {a} {b}");
        }
        let (mut changes, never) = (0, View { at: Instant(0), parts: Vec::new(), lost: Vec::new() });
        diff::diff(index, &never, &view(world, index, a), b"/", |_| -> Result<_, IndexError> {
            changes += 1;
            Ok(Continue(()))
        })
        .unwrap();
        assert_eq!(changes, world.tree(a).entries.len(), "all of a source that was not there");
    }
}

fn found(world: &World, index: &Reader, pattern: &str, when: When) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let pattern = Pattern::new(pattern).unwrap();
    find(index, &world.source, &pattern, when, |f| -> Result<_, IndexError> {
        found.push(f.path);
        Ok(Continue(()))
    })
    .unwrap();
    found.sort();
    found
}

fn finds_agree(world: &World, index: &Reader) {
    let newest = Snap(world.trees.len() as u64);
    let sorted = |paths: BTreeSet<Vec<u8>>| paths.into_iter().collect::<Vec<_>>();
    for snap in oracle::snaps(world) {
        let when = When::At { snap, newest: snap == newest };
        let all: BTreeSet<_> = world.tree(snap).by_path().into_keys().collect();
        let below = |p: &Vec<u8>| p.ends_with(b"/a/b");
        assert_eq!(found(world, index, "a/b", when), sorted(all.iter().filter(|p| below(p)).cloned().collect()));
        assert_eq!(found(world, index, "*", when), sorted(all), "find as of {snap}");
    }
    let unique = |mut paths: Vec<Vec<u8>>| {
        paths.dedup();
        paths
    };
    assert_eq!(unique(found(world, index, "*", When::Ever)), sorted(oracle::ever(world, false)));
    assert_eq!(unique(found(world, index, "*", When::Deleted { newest })), sorted(oracle::ever(world, true)));
}

fn node_at(tree: &Tree, path: &[u8]) -> Option<(Node, u64)> {
    let at = tree.by_path().get(path).cloned()?;
    let node = tree.entries[&at];
    Some((node, tree.nodes[&node].0.0))
}

fn logs_agree(world: &World, index: &Reader) {
    for path in oracle::paths(world) {
        let log = versions(index, &world.source, &path).unwrap();
        for snap in oracle::snaps(world) {
            let here = log.iter().filter(|v| v.path == path && v.row.is_some());
            let covers = |from: Snap, to: Option<Snap>| from <= snap && to.is_none_or(|to| snap < to);
            let now: Vec<_> = here.filter(|v| covers(v.from.number, v.to.as_ref().map(|t| t.number))).collect();
            let shown: Vec<_> = now.iter().filter_map(|v| v.row.as_ref()).map(|r| (r.node, r.ver.0)).collect();
            let wanted: Vec<_> = node_at(world.tree(snap), &path).into_iter().collect();
            assert_eq!(shown, wanted, "log of {path:?} as of {snap}: {log:#?}");
        }
        for v in &log {
            let before = v.from.number.0.checked_sub(1).filter(|n| *n > 0).map(|n| world.tree(Snap(n)));
            let after = world.tree(v.from.number);
            match (&v.what, &v.row, before) {
                (What::Renamed { from }, Some(row), Some(before)) => {
                    assert_eq!(node_at(before, from).map(|n| n.0), Some(row.node), "{path:?}: {v:?}");
                    let earlier = log.iter().filter(|w| w.path == *from && w.row.is_some());
                    let goes_on = earlier.filter_map(|w| w.to.as_ref()).any(|to| to.number == v.from.number);
                    assert!(goes_on, "{path:?} goes on under its older name: {v:?} in {log:#?}");
                }
                (What::Linked { to }, Some(row), Some(before)) => {
                    assert_eq!(node_at(before, to).map(|n| n.0), Some(row.node), "{path:?}: {v:?}");
                }
                (What::Left { to }, None, Some(before)) => {
                    assert_eq!(node_at(before, &v.path).map(|n| n.0), node_at(after, to).map(|n| n.0), "{v:?}");
                }
                (What::Removed, None, Some(before)) => {
                    assert!(node_at(before, &v.path).is_some() && node_at(after, &v.path).is_none(), "{v:?}");
                }
                (What::Created | What::Replaced, Some(row), before) => {
                    let known = before.is_some_and(|tree| tree.nodes.contains_key(&row.node));
                    assert!(!known, "{path:?}: {v:?} was there before");
                }
                (What::Changed, Some(_), Some(_)) => {}
                other => panic!("{path:?}: {other:?}"),
            }
        }
        let ever: BTreeMap<_, _> =
            names_ever(index, &world.source, &path).unwrap().into_iter().map(|n| (n.name, (n.dir, n.other))).collect();
        assert_eq!(ever, oracle::names_ever(world, &path), "names in {path:?}");
    }
}

fn all_agree(snapshots: &[Vec<Step>]) {
    let world = World::new(snapshots);
    let index = world.at.reader().unwrap();
    trees_agree(&world, &index);
    diffs_agree(&world, &index);
    finds_agree(&world, &index);
    logs_agree(&world, &index);
    let again = world.rebuilt("again");
    let (one, two) = (world.at.index().dump().unwrap(), again.index().dump().unwrap());
    one.iter().zip(&two).for_each(|(x, y)| assert_eq!(x, y, "the rebuilt index differs"));
    assert_eq!(one.len(), two.len());
}

/// What is kept shows what it showed, in this index, in one that had seen all of it and learns of the release, and in one
/// that knows nothing but the merged history.
fn all_agree_after_release(snapshots: &[Vec<Step>], first: u64, second: u64) {
    let mut world = World::new(snapshots);
    let other = world.rebuilt("other");
    for (which, state) in [(first, "third"), (second, "fourth")] {
        world.release(which);
        let index = world.at.reader().unwrap();
        trees_agree(&world, &index);
        diffs_agree(&world, &index);
        let mut collector = Collector::begin(&world.at, "host", &Quiet).unwrap();
        collector.merge(&world.source).unwrap().expect("there is something to merge");
        collector.mark(false, &Quiet).unwrap();
        collector.sweep(&Quiet).unwrap();
        let fresh = world.rebuilt(state);
        replay::catch_up(&other, &Quiet).unwrap();
        for at in [&fresh, &other] {
            let index = at.reader().unwrap();
            let numbers: Vec<Snap> = oracle::snaps(&world).collect();
            let all = index.snapshots(world.source.num, Instant(i64::MIN), Instant(i64::MAX), usize::MAX >> 1).unwrap();
            assert_eq!(all.iter().map(|s| s.number).collect::<Vec<_>>(), numbers);
            trees_agree(&world, &index);
            diffs_agree(&world, &index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn history_agrees_with_a_plain_model(
        snapshots in proptest::collection::vec(proptest::collection::vec(any::<Step>(), 0..14), 1..9)
    ) {
        all_agree(&snapshots);
    }

    #[test]
    fn what_is_kept_stays_as_it_was(
        snapshots in proptest::collection::vec(proptest::collection::vec(any::<Step>(), 0..14), 1..9),
        first in any::<u64>(),
        second in any::<u64>()
    ) {
        all_agree_after_release(&snapshots, first, second);
    }
}
