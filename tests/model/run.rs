//! A sequence of changes on a real directory, captured on the way, held against what was there.

use crate::{
    describe::{self, Depth, Tree},
    doer::Doer,
    lab::Lab,
    ops::{self, Op},
    watched::Watched,
    ways,
};
use bygone::index::tree::Reader;
use bygone::repo::attach::Attached;
use bygone::types::{
    ids::{Node, Snap},
    path::show,
    snapshot::Tier,
};
use std::{collections::HashMap, path::Path};

/// How changes come into the repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// By a scan of everything at each snapshot.
    Scan,
    /// By this watcher, all the time.
    Watch(bygone::config::model::Watcher),
}

/// What was there at a snapshot.
pub(crate) struct Kept {
    pub(crate) snap: Snap,
    pub(crate) tree: Tree,
}

/// Does the changes and holds every view against what was kept; the first difference is told.
pub(crate) fn run(mode: Mode, all: &[Op]) -> Result<(), String> {
    let lab = Lab::new();
    let kept = match mode {
        Mode::Scan => scanned(&lab, all)?,
        Mode::Watch(watcher) => watched(lab_for(&lab, watcher), all)?,
    };
    check_all(&lab, &lab.at, &kept, "at the end")?;
    let rebuilt = lab.rebuilt();
    check_all(&lab, &rebuilt, &kept, "from a rebuilt index")?;
    same_numbers(&lab, &rebuilt)?;
    ways::mounted(&lab, &kept)?;
    ways::restored(&lab, &kept, 7)
}

fn lab_for(lab: &Lab, watcher: bygone::config::model::Watcher) -> Watched<'_> {
    Watched::start(lab, watcher)
}

fn scanned(lab: &Lab, all: &[Op]) -> Result<Vec<Kept>, String> {
    let mut writer = lab.writer();
    let mut kept: Vec<Kept> = Vec::new();
    let mut known: HashMap<(u64, u64), Node> = HashMap::new();
    for op in all {
        let tier = match op {
            Op::Snapshot => Tier::Incremental,
            Op::Full => Tier::Full,
            other => {
                ops::apply(&lab.root, *other);
                continue;
            }
        };
        let report = lab
            .try_capture(&mut writer, &bygone::capture::engine::Plan::everything(), tier, true)
            .map_err(|e| format!("the capture after {} snapshots failed: {e}", kept.len()))?;
        if !report.problems.is_empty() || !report.fuzzy.is_empty() {
            return Err(format!("nothing is wrong with the source: {:?} {:?}", report.problems, report.fuzzy));
        }
        let snap = report.snapshot.ok_or("a snapshot was asked for")?.number;
        let now = Kept { snap, tree: describe::of_disk(&lab.root) };
        let index = lab.at.reader().unwrap();
        check(&lab.at, &index, lab, &now, "right away")?;
        known = identities(lab, &index, &now, &known)?;
        kept.push(now);
    }
    Ok(kept)
}

fn watched(mut watched: Watched<'_>, all: &[Op]) -> Result<Vec<Kept>, String> {
    let mut kept = Vec::new();
    let mut doer = Doer::start(&watched.lab.root);
    for op in all {
        match op {
            Op::Snapshot | Op::Full => {}
            // The kernel tells no watcher of a change of inode flags: only a scan finds it.
            Op::Flags(..) => continue,
            other => {
                // A change through a name that is gone before it was looked at is told of that name alone: the other
                // names of the file get it with the next scan.
                if ops::takes_a_second_name(&watched.lab.root, *other) {
                    watched.settle(&describe::of_disk(&watched.lab.root))?;
                }
                doer.apply(*other);
                continue;
            }
        }
        let tree = describe::of_disk(&watched.lab.root);
        let snap = watched.settle(&tree)?;
        let now = Kept { snap, tree };
        let index = watched.lab.at.reader().unwrap();
        identities(watched.lab, &index, &now, &HashMap::new())?;
        kept.push(now);
    }
    watched.stop()?;
    Ok(kept)
}

fn check_all(lab: &Lab, at: &Attached, kept: &[Kept], when: &str) -> Result<(), String> {
    let index = at.reader().unwrap();
    kept.iter().try_for_each(|k| check(at, &index, lab, k, when))
}

fn check(at: &Attached, index: &Reader, lab: &Lab, kept: &Kept, when: &str) -> Result<(), String> {
    let source = index.sources().unwrap()[0].num;
    let frames = bygone::repo::frames::Frames::new(at.repo().clone(), 16 << 20);
    let view = describe::of_view(index, &frames, source, kept.snap);
    match describe::differences(&kept.tree, &view, Depth::All) {
        none if none.is_empty() => Ok(()),
        some => Err(format!("snapshot {} of {} {when}:\n{some}", kept.snap, show_path(&lab.root))),
    }
}

fn show_path(path: &Path) -> String {
    show(path.as_os_str().as_encoded_bytes())
}

/// Each object on disk is one node, and each node one object; what was there at the snapshot before is the same node still.
fn identities(
    lab: &Lab,
    index: &Reader,
    kept: &Kept,
    before: &HashMap<(u64, u64), Node>,
) -> Result<HashMap<(u64, u64), Node>, String> {
    let view = describe::of_view(index, &lab.frames(), lab.num(), kept.snap);
    let mut nodes = HashMap::new();
    let mut objects = HashMap::new();
    for (path, thing) in &kept.tree {
        let node = Node(view[path].identity.0);
        let wrong = |what: String| Err(format!("snapshot {}: {}: {what}", kept.snap, show(path)));
        if nodes.insert(thing.identity, node).is_some_and(|other| other != node) {
            return wrong("two names of one file have two nodes".into());
        }
        if objects.insert(node, thing.identity).is_some_and(|other| other != thing.identity) {
            return wrong(format!("node {} is two files", node.0));
        }
        if let Some(was) = before.get(&thing.identity).filter(|was| **was != node) {
            return wrong(format!("was node {} and is node {}", was.0, node.0));
        }
    }
    Ok(nodes)
}

/// A rebuilt index gives the same numbers to everything.
fn same_numbers(lab: &Lab, rebuilt: &Attached) -> Result<(), String> {
    let (kept, new) = (lab.at.reader().unwrap(), rebuilt.reader().unwrap());
    let source = lab.num();
    let (a, b) = (kept.head(source).unwrap(), new.head(source).unwrap());
    if a != b {
        return Err(format!("the head is {a:?}, and rebuilt {b:?}"));
    }
    for number in 1..=a.number.0 {
        let snap = Snap(number);
        if kept.snapshot(source, snap).unwrap() != new.snapshot(source, snap).unwrap() {
            return Err(format!("the rebuilt index tells otherwise of snapshot {number}"));
        }
        let (a, b) = (describe::rows(&kept, source, snap), describe::rows(&new, source, snap));
        if let Some((a, b)) = a.iter().zip(&b).find(|(a, b)| a != b) {
            return Err(format!("snapshot {number}: the index has\n{a:?}\nand rebuilt\n{b:?}"));
        }
        if a.len() != b.len() {
            return Err(format!("snapshot {number}: {} rows, and rebuilt {}", a.len(), b.len()));
        }
    }
    Ok(())
}

/// The shortest sequence that still fails, found by leaving out ever smaller parts.
pub(crate) fn shrink(mode: Mode, mut all: Vec<Op>, tries: usize) -> Vec<Op> {
    let mut left = tries;
    let mut part = all.len() / 2;
    while part > 0 && left > 0 {
        let mut at = 0;
        while at < all.len() && left > 0 {
            let mut fewer = all.clone();
            fewer.drain(at..(at + part).min(all.len()));
            left -= 1;
            match fails(mode, &fewer) {
                true => all = fewer,
                false => at += part,
            }
        }
        part /= 2;
    }
    all
}

fn fails(mode: Mode, all: &[Op]) -> bool {
    std::panic::catch_unwind(|| run(mode, all)).map_or(true, |result| result.is_err())
}
