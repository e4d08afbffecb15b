//! What a plan asks of each file system that it writes to.

use crate::index::{error::IndexError, tree::Reader};
use crate::restore::plan::{Action, DirAction, Plan, Wanted};
use crate::sys::{
    probe::{Wants, is_unusual},
    process,
};
use crate::types::{attr::Kind, path};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// So many names are tried of those that not every file system takes.
const NAMES_MAX: usize = 4096;
/// So many directories are tried until one lets something be made in it.
const PLACES_MAX: usize = 8;

/// What is asked of one file system.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The directory where it begins for the plan, as an index into [`Plan::dirs`].
    pub(super) first: usize,
    /// Directories that are there already and get something, the first ones.
    pub(super) places: Vec<usize>,
    /// Bytes that new files take.
    pub(super) bytes: u64,
    /// Nodes that are made.
    pub(super) nodes: u64,
    /// What is to be tried.
    pub(super) wants: Wants,
    /// A file for each kind of thing that is to be held, to be named where it can't.
    pub(super) examples: BTreeMap<&'static str, Vec<u8>>,
    /// How many there are of each.
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// Users and groups of what is restored.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pub(super) users: BTreeMap<u32, u64>,
    pub(super) groups: BTreeMap<u32, u64>,
}

/// What each file system is asked for, by the first directory on it, and to whom what is restored will belong.
pub(super) fn of_plan(index: &Reader, plan: &Plan) -> Result<(Vec<Needs>, Owners), IndexError> {
    let mut gather =
        Gather { index, plan, needs: Vec::new(), group: Vec::new(), owners: Owners::default(), sets: HashMap::new() };
    gather.dirs()?;
    gather.files()?;
    let Gather { mut needs, owners, .. } = gather;
    needs.retain(|n| !n.places.is_empty() || n.nodes > 0);
    Ok((needs, owners))
}

struct Gather<'a> {
    index: &'a Reader,
    plan: &'a Plan,
    needs: Vec<Needs>,
    /// The file system of each directory, as an index into `needs`.
    group: Vec<usize>,
    owners: Owners,
    /// Sets of extended attributes that have been looked at, by file system.
    sets: HashMap<usize, HashSet<i64>>,
}

impl Gather<'_> {
    fn dirs(&mut self) -> Result<(), IndexError> {
        for (n, dir) in self.plan.dirs.iter().enumerate() {
            let group = match dir.parent {
                Some(parent) if !dir.mounted => self.group[parent],
                _ => {
                    self.needs.push(Needs { first: n, ..Needs::default() });
                    self.needs.len() - 1
                }
            };
            self.group.push(group);
            let is_made = matches!(dir.action, DirAction::Create | DirAction::Replace);
            if !is_made && dir.touched && self.needs[group].places.len() < PLACES_MAX {
                self.needs[group].places.push(n);
            }
            if is_made || dir.action == DirAction::Change {
                if let Some(wanted) = &dir.wanted {
                    let path = || self.plan.from_root(&self.plan.dir_path(n));
                    self.attributes(group, wanted, &path)?;
                }
                self.needs[group].nodes += u64::from(is_made);
                if is_made {
                    self.name(group, &dir.name, || self.plan.from_root(&self.plan.dir_path(n)));
                }
            }
        }
        Ok(())
    }

    fn files(&mut self) -> Result<(), IndexError> {
        for file in &self.plan.files {
            let group = self.group[file.dir];
            let path = || self.plan.path(file.dir, &file.name);
            let needs = &mut self.needs[group];
            match &file.action {
                Action::Create | Action::Replace => {
                    needs.nodes += u64::from(file.action == Action::Create);
                    needs.kind(file.wanted.attr.kind(), file.wanted.attr.rdev, file.wanted.attr.size, &path);
                }
                Action::Link { .. } => {
                    needs.wants.links = true;
                    needs.example("links", &path);
                }
                Action::Change => {}
            }
            if file.action != Action::Change {
                self.name(group, &file.name, path);
            }
            if !matches!(file.action, Action::Link { .. }) {
                self.attributes(group, &file.wanted, &path)?;
            }
        }
        Ok(())
    }

    fn name(&mut self, group: usize, name: &[u8], path: impl Fn() -> Vec<u8>) {
        let needs = &mut self.needs[group];
        if is_unusual(name) {
            needs.example("names", &path);
            if needs.wants.names.len() < NAMES_MAX {
                needs.wants.names.push(name.to_vec());
            }
        }
    }

    fn attributes(&mut self, group: usize, wanted: &Wanted, path: &dyn Fn() -> Vec<u8>) -> Result<(), IndexError> {
        let attr = &wanted.attr;
        *self.owners.users.entry(attr.uid).or_default() += 1;
        *self.owners.groups.entry(attr.gid).or_default() += 1;
        let needs = &mut self.needs[group];
        if attr.uid != process::effective_uid() || attr.gid != process::effective_gid() {
            needs.wants.owner.get_or_insert((attr.uid, attr.gid));
            needs.example("owners", path);
        }
        if attr.kind() == Kind::File {
            needs.wants.mode.get_or_insert(attr.mode & 0o7777);
        }
        // The more digits the better.
        if needs.wants.mtime.is_none_or(|known| known.nsec % 1_000_000_000 == 0 || known.nsec % 1000 == 0) {
            needs.wants.mtime = Some(attr.mtime);
        }
        if wanted.xattr != 0 && self.sets.entry(group).or_default().insert(wanted.xattr) {
            for (name, value) in self.plan.mapping.xattrs(self.index.xattrs(wanted.xattr)?, attr.mode) {
                needs.xattr(name, value, path);
            }
        }
        Ok(())
    }
}

impl Needs {
    fn example(&mut self, what: &'static str, path: &dyn Fn() -> Vec<u8>) {
        self.examples.entry(what).or_insert_with(path);
        *self.counts.entry(what).or_default() += 1;
    }

    fn kind(&mut self, kind: Kind, rdev: u64, size: u64, path: &dyn Fn() -> Vec<u8>) {
        match kind {
            Kind::File => {
                if size > self.wants.largest {
                    self.wants.largest = size;
                    self.examples.insert("size", path());
                }
            }
            Kind::Symlink => {
                self.wants.symlinks = true;
                self.example("symlinks", path);
            }
            Kind::CharDevice | Kind::BlockDevice => {
                self.wants.device.get_or_insert(rdev);
                self.example("devices", path);
            }
            Kind::Fifo | Kind::Socket => {
                self.wants.fifos = true;
                self.example("fifos", path);
            }
            Kind::Dir => {}
        }
    }

    /// One extended attribute of each kind is tried, on a file: what directories hand down is tried as what a file has.
    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>, path: &dyn Fn() -> Vec<u8>) {
        let name = match name.as_slice() {
            b"system.posix_acl_default" => b"system.posix_acl_access".to_vec(),
            _ => name,
        };
        let kind = xattr_kind(&name);
        if !self.wants.xattrs.iter().any(|(other, _)| xattr_kind(other) == kind) {
            self.wants.xattrs.push((name, value));
        }
        self.example(kind, path);
    }
}

/// The kind of an extended attribute, as a file system has them or not.
pub(super) fn xattr_kind(name: &[u8]) -> &'static str {
    match name.split(|b| *b == b'.').next().unwrap_or_default() {
        b"user" => "extended attributes of users",
        b"system" => "access control lists",
        b"trusted" => "trusted extended attributes",
        b"security" => "security attributes, such as capabilities",
        _ => "extended attributes of an unknown kind",
    }
}

/// Names in one directory of the plan that differ by case only, two of each.
pub(super) fn folded(plan: &Plan) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen: HashMap<(usize, String), &[u8]> = HashMap::new();
    let mut out = Vec::new();
    let mut told = BTreeSet::new();
    let dirs = plan.dirs.iter().filter_map(|d| Some((d.parent?, d.name.as_slice())));
    for (dir, name) in dirs.chain(plan.files.iter().map(|f| (f.dir, f.name.as_slice()))) {
        let Ok(text) = std::str::from_utf8(name) else { continue };
        let key = (dir, text.to_lowercase());
        match seen.get(&key) {
            Some(other) if *other != name => {
                if told.insert(key) {
                    out.push((plan.path(dir, other), path::join(&plan.from_root(&plan.dir_path(dir)), name)));
                }
            }
            Some(_) => {}
            None => drop(seen.insert(key, name)),
        }
    }
    out
}
