//! Walking a view beside what is there, and noting what has to be done.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::restore::{
    beside,
    compare::{CompareError, Found, compare},
    delete::{Guard, Remover},
    error::RestoreError,
    held::Held,
    plan::{Action, DirAction, Plan, PlannedDir, PlannedFile, Removal, Request, Target, Wanted},
    report::{Counts, Problem, Why},
};
use crate::sys::{
    dir::{self, Listing},
    stat::{self, Stat},
};
use crate::types::{
    attr::{Kind, Place},
    ids::{Node, Snap, SourceNum},
    path,
};
use crate::view::instant::{Object, View};
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, HashSet},
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// Makes the plan.
pub(super) fn plan(index: &Reader, request: &Request<'_>) -> Result<Plan, RestoreError> {
    let roots = roots(request)?;
    let (base, delete) = match &request.target {
        Target::To(dir) => (dir.as_path(), false),
        Target::InPlace { delete } => (Path::new("/"), *delete),
    };
    let base_fd = match dir::open_root(base) {
        Ok(fd) => Some(fd),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(RestoreError::Target { path: base.display().to_string(), source }),
    };
    let places = request.guarded.iter().filter_map(|p| dir::open_root(p).and_then(stat::of).ok()).map(|s| s.place);
    let guard =
        Guard { places: places.collect(), spared: request.spared, held: Held::new(index, request.newest.as_ref()) };
    let first = PlannedDir { parent: None, name: Vec::new(), wanted: None, action: DirAction::Keep, touched: false };
    let plan = Plan {
        base: base.to_owned(),
        dirs: vec![first],
        files: Vec::new(),
        clear: Vec::new(),
        remove: Vec::new(),
        problems: Vec::new(),
        will: Counts::default(),
        freed_bytes: 0,
        needed_bytes: 0,
    };
    let mut walk = Walk {
        index,
        view: request.view,
        base: base_fd.as_ref(),
        delete,
        guard: &guard,
        plan,
        groups: HashMap::new(),
        claimed: HashMap::new(),
        beside: HashSet::new(),
        seen_dirs: HashSet::new(),
        names: HashMap::new(),
        pending: Vec::new(),
    };
    for root in &roots {
        walk.root(root, &request.target)?;
    }
    Ok(walk.plan)
}

/// The paths without doubles, and in place without those inside of another.
fn roots(request: &Request<'_>) -> Result<Vec<Vec<u8>>, RestoreError> {
    let clean = |p: &Vec<u8>| {
        let mut out = vec![b'/'];
        out.extend(path::components(p).collect::<Vec<_>>().join(&b'/'));
        out
    };
    let mut all: Vec<Vec<u8>> = request.paths.iter().map(clean).collect();
    all.sort();
    all.dedup();
    if let Target::InPlace { .. } = request.target {
        let whole = all.clone();
        all.retain(|p| !whole.iter().any(|other| other != p && path::is_within(p, other)));
        return Ok(all);
    }
    let mut names: HashMap<Vec<u8>, &Vec<u8>> = HashMap::new();
    for one in &all {
        // The root stands for everything in it, so nothing goes beside it.
        let name = path::components(one).last().unwrap_or_default().to_vec();
        let other = names.get(&name).copied().or_else(|| {
            (name.is_empty() || names.contains_key(&b""[..])).then(|| names.values().next().copied()).flatten()
        });
        if let Some(other) = other {
            return Err(RestoreError::Collide {
                one: path::show(other),
                other: path::show(one),
                name: if name.is_empty() { "the directory itself".into() } else { path::show(&name) },
            });
        }
        names.insert(name, one);
    }
    Ok(all)
}

/// The names of one node.
struct Group {
    dir: usize,
    name: Vec<u8>,
    /// The inode that is kept; `None` where a new one is made.
    kept: Option<Place>,
}

/// A directory that is still to be walked.
struct Pending {
    at: usize,
    what: What,
    /// Whether the directory is there now.
    exists: bool,
    /// Whether what the view does not have is removed.
    delete: bool,
}

enum What {
    /// Above the roots of sources: the absolute path.
    Above(Vec<u8>),
    Node {
        source: SourceNum,
        snap: Snap,
        node: Node,
    },
}

struct Walk<'a> {
    index: &'a Reader,
    view: &'a View,
    base: Option<&'a OwnedFd>,
    delete: bool,
    guard: &'a Guard<'a>,
    plan: Plan,
    groups: HashMap<(SourceNum, Node), Group>,
    /// Kept inodes that have several names, and the node that each is kept for.
    claimed: HashMap<Place, (SourceNum, Node)>,
    /// What is removed from beside a database.
    beside: HashSet<Vec<u8>>,
    seen_dirs: HashSet<(SourceNum, Node)>,
    /// Directories on the way, by their parent and name.
    names: HashMap<(usize, Vec<u8>), usize>,
    pending: Vec<Pending>,
}

impl Walk<'_> {
    fn root(&mut self, absolute: &[u8], target: &Target) -> Result<(), RestoreError> {
        let object = self
            .view
            .look_up(self.index, absolute)?
            .ok_or_else(|| RestoreError::NotThere { path: path::show(absolute) })?;
        let names: Vec<&[u8]> = path::components(absolute).collect();
        let Some((last, before)) = names.split_last() else {
            let what = match object {
                Object::Above => What::Above(Vec::new()),
                Object::Node(part, row) => self.node_of(part, &row),
            };
            let exists = self.base.is_some();
            self.pending.push(Pending { at: 0, what, exists, delete: self.delete });
            return self.walk();
        };
        let mut parent = 0;
        if *target == (Target::InPlace { delete: self.delete }) {
            for (n, name) in before.iter().enumerate() {
                let way = [b"/".as_slice(), &before[..=n].join(&b'/')].concat();
                parent = self.on_the_way(parent, name, &way)?;
            }
        }
        let exists = self.plan.dirs[parent].action == DirAction::Keep && self.base.is_some();
        let fd = if exists { Some(self.open(parent)?) } else { None };
        match object {
            Object::Above => {
                let at = self.dir_above(parent, last, fd.as_ref())?;
                let exists = self.plan.dirs[at].action == DirAction::Keep;
                self.pending.push(Pending { at, what: What::Above(absolute.to_vec()), exists, delete: self.delete });
            }
            Object::Node(part, row) => {
                let snap = self.view.parts[part].snapshot.number;
                let mut row = *row;
                row.name = last.to_vec();
                self.entry(parent, fd.as_ref(), &row, snap, self.delete)?;
            }
        }
        self.walk()
    }

    fn node_of(&self, part: usize, row: &Row) -> What {
        What::Node { source: row.source, snap: self.view.parts[part].snapshot.number, node: row.node }
    }

    /// A directory on the way to what is restored in place: kept as it is, or made as it was.
    fn on_the_way(&mut self, parent: usize, name: &[u8], absolute: &[u8]) -> Result<usize, RestoreError> {
        if let Some(at) = self.names.get(&(parent, name.to_vec())) {
            return Ok(*at);
        }
        let fd = match self.plan.dirs[parent].action {
            DirAction::Keep => Some(self.open(parent)?),
            _ => None,
        };
        let at = self.dir_above(parent, name, fd.as_ref())?;
        if self.plan.dirs[at].action == DirAction::Create
            && let Some(Object::Node(_, row)) = self.view.look_up(self.index, absolute)?
        {
            self.plan.dirs[at].wanted = Some(Wanted { attr: row.attr, xattr: row.xattr });
        }
        Ok(at)
    }

    fn dir_above(&mut self, parent: usize, name: &[u8], fd: Option<&OwnedFd>) -> Result<usize, RestoreError> {
        if let Some(at) = self.names.get(&(parent, name.to_vec())) {
            return Ok(*at);
        }
        let shown = || path::show(&self.plan.path(parent, name));
        let action = match fd.map(|fd| stat::at(fd, name)) {
            Some(Ok(now)) if now.kind() == Some(Kind::Dir) => DirAction::Keep,
            Some(Ok(_)) => return Err(RestoreError::OnTheWay { path: shown() }),
            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => {
                return Err(RestoreError::Target { path: shown(), source: e });
            }
            _ => DirAction::Create,
        };
        let at = self.push_dir(parent, name, None, action);
        self.names.insert((parent, name.to_vec()), at);
        Ok(at)
    }

    fn push_dir(&mut self, parent: usize, name: &[u8], wanted: Option<Wanted>, action: DirAction) -> usize {
        match action {
            DirAction::Keep if wanted.is_some() => self.plan.will.kept += 1,
            DirAction::Keep => {}
            DirAction::Create => self.plan.will.created += 1,
            DirAction::Replace => self.plan.will.replaced += 1,
            DirAction::Change => self.plan.will.changed += 1,
        }
        if matches!(action, DirAction::Create | DirAction::Replace) {
            self.plan.dirs[parent].touched = true;
        }
        self.plan.dirs.push(PlannedDir { parent: Some(parent), name: name.to_vec(), wanted, action, touched: false });
        self.plan.dirs.len() - 1
    }

    fn open(&self, dir: usize) -> Result<OwnedFd, RestoreError> {
        let path = self.plan.dir_path(dir);
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOTDIR | libc::ELOOP) => {
                RestoreError::OnTheWay { path: path::show(&self.plan.from_root(&path)) }
            }
            _ => RestoreError::Target { path: path::show(&self.plan.from_root(&path)), source },
        };
        match self.base {
            Some(base) => dir::open_beneath(base, &path).map_err(failed),
            None => Err(failed(io::ErrorKind::NotFound.into())),
        }
    }

    fn walk(&mut self) -> Result<(), RestoreError> {
        while let Some(next) = self.pending.pop() {
            let fd = match next.exists.then(|| self.open(next.at)) {
                None => None,
                Some(Ok(fd)) => Some(fd),
                Some(Err(RestoreError::Target { source, .. })) if next.at != 0 => {
                    let why = Why::Io { doing: "open the directory", source };
                    self.problem(self.plan.from_root(&self.plan.dir_path(next.at)), why);
                    continue;
                }
                Some(Err(e)) => return Err(e),
            };
            let before = self.pending.len();
            let mut wanted = HashSet::new();
            match &next.what {
                What::Above(absolute) => self.above(next.at, absolute, fd.as_ref())?,
                What::Node { source, snap, node } => {
                    let rows = self.index.children(*source, *node, *snap)?;
                    for row in &rows {
                        self.entry(next.at, fd.as_ref(), row, *snap, next.delete)?;
                    }
                    wanted.extend(rows.into_iter().map(|row| row.name));
                    if let Some(fd) = fd.as_ref().filter(|_| next.delete) {
                        self.extra(next.at, fd, &wanted)?;
                    }
                }
            }
            // The first directory is to be walked first.
            self.pending[before..].reverse();
        }
        Ok(())
    }

    fn above(&mut self, at: usize, absolute: &[u8], fd: Option<&OwnedFd>) -> Result<(), RestoreError> {
        for name in self.view.names_above(absolute) {
            let below = path::join(if absolute.is_empty() { b"/" } else { absolute }, &name);
            match self.view.look_up(self.index, &below)? {
                Some(Object::Above) => {
                    let child = self.dir_above(at, &name, fd)?;
                    let exists = self.plan.dirs[child].action == DirAction::Keep;
                    self.pending.push(Pending { at: child, what: What::Above(below), exists, delete: self.delete });
                }
                Some(Object::Node(part, row)) => {
                    let mut row = *row;
                    row.name = name;
                    let snap = self.view.parts[part].snapshot.number;
                    self.entry(at, fd, &row, snap, self.delete)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Notes what has to be done for one entry of the view.
    fn entry(
        &mut self,
        at: usize,
        dir: Option<&OwnedFd>,
        row: &Row,
        snap: Snap,
        delete: bool,
    ) -> Result<(), RestoreError> {
        let shown = |walk: &Self| walk.plan.path(at, &row.name);
        if !path::is_name(&row.name) {
            self.problem(shown(self), Why::Impossible("a name that no file can have"));
            return Ok(());
        }
        let found = match dir.map(|dir| compare(self.index, dir, &row.name, row)) {
            None => Found::Nothing,
            Some(Ok(found)) => found,
            Some(Err(CompareError::Index(e))) => return Err(e.into()),
            Some(Err(CompareError::Io(source))) => {
                self.problem(shown(self), Why::Io { doing: "look at what is there", source });
                return Ok(());
            }
        };
        let stale = match dir {
            Some(dir) if !row.node.is_dir() => beside::stale(self.index, dir, row, snap)?,
            _ => Vec::new(),
        };
        // A database with commits beside it is not what its own bytes are.
        let found = match found {
            Found::Same(now) | Found::Attributes(now) if stale.iter().any(|(_, side)| side.size > 0) => {
                Found::Other(now)
            }
            other => other,
        };
        if let Found::Other(now) = &found
            && !self.make_way(at, dir, row, now, delete)?
        {
            return Ok(());
        }
        for (name, now) in stale {
            self.remove_beside(at, &name, &now);
        }
        if row.node.is_dir() { self.dir(at, row, snap, delete, &found) } else { self.file(at, row, snap, &found) }
    }

    /// Whether what stands there may be replaced; a directory is only by a restore that deletes. In place, nothing is that
    /// could not be brought back.
    fn make_way(
        &mut self,
        at: usize,
        dir: Option<&OwnedFd>,
        row: &Row,
        now: &Stat,
        delete: bool,
    ) -> Result<bool, RestoreError> {
        let path = path::join(&self.plan.dir_path(at), &row.name);
        let why = match now.kind() {
            Some(Kind::CharDevice | Kind::BlockDevice) if now.rdev != row.attr.rdev => {
                "a device stands there, and devices are not replaced: remove it yourself if it is not needed"
            }
            Some(Kind::Dir) if now.is_mount_root => "a mount point stands there: unmount it first",
            Some(Kind::Dir) => {
                let (mut removals, known) = (Vec::new(), self.plan.problems.len());
                let cleared = self.remover(|r, problems| r.remove(&path, &mut removals, problems))?.unwrap_or(false);
                if cleared && (delete || removals.len() == 1) {
                    self.plan.will.removed += removals.len() as u64;
                    self.plan.clear.append(&mut removals);
                    return Ok(true);
                }
                if !delete {
                    // Nothing of it would have been removed anyway.
                    self.plan.problems.truncate(known);
                }
                "a directory with other files stands there: remove it yourself, or restore in place with --delete"
            }
            kind => {
                let absolute = self.plan.path(at, &row.name);
                // A socket has no content, and is never captured.
                if kind != Some(Kind::Socket)
                    && let Some(dir) = dir
                    && !self.guard.held.holds(&absolute, dir, &row.name, now)?
                {
                    self.problem(absolute, Why::NotHeld);
                    return Ok(false);
                }
                if now.nlink == 1 {
                    self.plan.freed_bytes += now.blocks * 512;
                }
                return Ok(true);
            }
        };
        self.problem(self.plan.path(at, &row.name), Why::InTheWay(why));
        Ok(false)
    }

    fn dir(&mut self, at: usize, row: &Row, snap: Snap, delete: bool, found: &Found) -> Result<(), RestoreError> {
        if !self.seen_dirs.insert((row.source, row.node)) {
            self.problem(self.plan.path(at, &row.name), Why::Impossible("a directory that stands in two places"));
            return Ok(());
        }
        let wanted = Wanted { attr: row.attr.clone(), xattr: row.xattr };
        let (action, exists, mounted) = match found {
            Found::Nothing => (DirAction::Create, false, false),
            Found::Other(_) => (DirAction::Replace, false, false),
            Found::Attributes(now) => (DirAction::Change, true, now.is_mount_root),
            Found::Same(now) => (DirAction::Keep, true, now.is_mount_root),
        };
        let child = self.push_dir(at, &row.name, Some(wanted), action);
        let what = What::Node { source: row.source, snap, node: row.node };
        self.pending.push(Pending { at: child, what, exists, delete: delete && !mounted });
        Ok(())
    }

    fn file(&mut self, at: usize, row: &Row, snap: Snap, found: &Found) -> Result<(), RestoreError> {
        let key = (row.source, row.node);
        if let Some(group) = self.groups.get(&key) {
            let kept = match found {
                Found::Same(now) | Found::Attributes(now) => group.kept == Some(now.place),
                _ => false,
            };
            if kept {
                self.plan.will.kept += 1;
            } else {
                let action = Action::Link { dir: group.dir, name: group.name.clone() };
                self.push_file(at, row, action, found);
            }
            return Ok(());
        }
        let (action, kept) = match found {
            Found::Nothing => (Some(Action::Create), None),
            Found::Other(_) => (Some(Action::Replace), None),
            Found::Same(now) if self.claim(now, key) => (None, Some(now.place)),
            // Other names of it, which are not restored, would change with it.
            Found::Attributes(now) if self.is_ours(now, row, snap)? && self.claim(now, key) => {
                (Some(Action::Change), Some(now.place))
            }
            Found::Same(_) | Found::Attributes(_) => (Some(Action::Replace), None),
        };
        if row.linked {
            self.groups.insert(key, Group { dir: at, name: row.name.clone(), kept });
        }
        match action {
            Some(action) => self.push_file(at, row, action, found),
            None => self.plan.will.kept += 1,
        }
        Ok(())
    }

    /// Notes the removal of what stands beside a database, before that is put in place.
    fn remove_beside(&mut self, at: usize, name: &[u8], now: &Stat) {
        let path = path::join(&self.plan.dir_path(at), name);
        self.plan.dirs[at].touched = true;
        self.plan.will.removed += 1;
        self.beside.insert(path.clone());
        self.plan.clear.push(Removal { path, is_dir: false, place: now.place, content: Some((now.size, now.mtime)) });
    }

    /// Whether an inode may be kept for this node: nobody else keeps it.
    fn claim(&mut self, now: &Stat, key: (SourceNum, Node)) -> bool {
        now.nlink <= 1 || *self.claimed.entry(now.place).or_insert(key) == key
    }

    fn is_ours(&self, now: &Stat, row: &Row, snap: Snap) -> Result<bool, IndexError> {
        Ok(now.nlink <= 1 || now.nlink <= self.index.link_count(row.source, row.node, snap)?)
    }

    fn push_file(&mut self, at: usize, row: &Row, action: Action, found: &Found) {
        let was = match found {
            Found::Nothing => None,
            Found::Same(now) | Found::Attributes(now) | Found::Other(now) => Some((now.place, now.size, now.mtime)),
        };
        let attr = &row.attr;
        let will = &mut self.plan.will;
        match action {
            Action::Create => will.created += 1,
            Action::Replace => will.replaced += 1,
            Action::Change => will.changed += 1,
            Action::Link { .. } => will.linked += 1,
        }
        if matches!(action, Action::Create | Action::Replace) && attr.kind() == Kind::File {
            let on_disk = attr.size.min(attr.blocks.saturating_mul(512));
            will.bytes = will.bytes.saturating_add(attr.size);
            self.plan.needed_bytes = self.plan.needed_bytes.saturating_add(on_disk);
        }
        if action != Action::Change {
            self.plan.dirs[at].touched = true;
        }
        self.plan.files.push(PlannedFile {
            dir: at,
            name: row.name.clone(),
            action,
            was,
            source: row.source,
            node: row.node,
            ver: row.ver,
            wanted: Wanted { attr: attr.clone(), xattr: row.xattr },
        });
    }

    /// Notes the removal of what the view does not have.
    fn extra(&mut self, at: usize, fd: &OwnedFd, wanted: &HashSet<Vec<u8>>) -> Result<(), IndexError> {
        let (mut listing, mut buf) = (Listing::new(), Vec::new());
        let dir_path = self.plan.dir_path(at);
        if let Err(source) = dir::list(fd, &mut buf, &mut listing) {
            self.problem(self.plan.from_root(&dir_path), Why::Io { doing: "list it", source });
            return Ok(());
        }
        listing.sort_by_name();
        for entry in listing.iter().filter(|e| !wanted.contains(e.name)) {
            let mut removals = Vec::new();
            let path = path::join(&dir_path, entry.name);
            if self.beside.contains(&path) {
                continue;
            }
            self.remover(|r, problems| r.remove(&path, &mut removals, problems))?;
            if !removals.is_empty() {
                self.plan.dirs[at].touched = true;
            }
            self.plan.will.removed += removals.len() as u64;
            self.plan.remove.append(&mut removals);
        }
        Ok(())
    }

    fn remover<T>(
        &mut self,
        f: impl FnOnce(&Remover<'_>, &mut Vec<Problem>) -> Result<T, IndexError>,
    ) -> Result<Option<T>, IndexError> {
        let root = self.plan.base.as_os_str().as_bytes().to_vec();
        let Some(base) = self.base else { return Ok(None) };
        f(&Remover { base, root: &root, guard: self.guard }, &mut self.plan.problems).map(Some)
    }

    fn problem(&mut self, path: Vec<u8>, why: Why) {
        self.plan.problems.push(Problem { path, why });
    }
}
