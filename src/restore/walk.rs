//! Walking a view beside what is there, and noting what has to be done.

use crate::index::{rows::Row, tree::Reader};
use crate::restore::{
    aside,
    delete::Guard,
    error::RestoreError,
    held::Held,
    mapping::Mapping,
    plan::{DirAction, Plan, PlannedDir, Request, Target, Wanted},
    report::{Counts, Why},
    roots::roots,
};
use crate::sys::{dir, stat};
use crate::types::{
    attr::{Kind, Place},
    ids::{Node, Snap, SourceNum},
    path,
};
use crate::view::{
    instant::{Object, View},
    positions::Positions,
};
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
};

/// Makes the plan.
pub(super) fn plan(index: &Reader, request: &Request<'_>) -> Result<Plan, RestoreError> {
    let roots = roots(request)?;
    let (base, delete, opened) = match &request.target {
        Target::To(dir) => (dir.as_path(), false, None),
        Target::Beside { dir, opened } => (dir.as_path(), false, opened.clone()),
        Target::InPlace { delete } => (Path::new("/"), *delete, None),
    };
    let base_fd = match opened.as_ref().map_or_else(|| dir::open_root(base), |fd| fd.try_clone()) {
        Ok(fd) => Some(fd),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(RestoreError::Target { path: base.display().to_string(), source }),
    };
    let places = request.guarded.iter().filter_map(|p| dir::open_root(p).and_then(stat::of).ok()).map(|s| s.place);
    let guard =
        Guard { places: places.collect(), spared: request.spared, held: Held::new(index, request.newest.as_ref()) };
    let first = PlannedDir {
        parent: None,
        name: Vec::new(),
        wanted: None,
        action: DirAction::Keep,
        touched: false,
        mounted: false,
    };
    let plan = Plan {
        base: base.to_owned(),
        opened,
        mapping: request.mapping.clone(),
        anchors: HashSet::new(),
        roots: Vec::new(),
        dirs: vec![first],
        files: Vec::new(),
        clear: Vec::new(),
        remove: Vec::new(),
        apart: Vec::new(),
        problems: Vec::new(),
        will: Counts::default(),
        freed_bytes: 0,
        needed_bytes: 0,
    };
    let mut walk = Walk {
        index,
        view: request.view,
        mapping: request.mapping,
        base: base_fd.as_ref(),
        delete,
        guard: &guard,
        plan,
        groups: HashMap::new(),
        claimed: HashMap::new(),
        sides: None,
        beside: HashSet::new(),
        seen_dirs: HashSet::new(),
        names: HashMap::new(),
        pending: Vec::new(),
        positions: HashMap::new(),
        in_place: matches!(request.target, Target::InPlace { .. }),
    };
    let mut parents = Vec::new();
    for root in &roots {
        parents.push(walk.root(root, &request.target)?);
    }
    walk.note_apart()?;
    let mut plan = walk.plan;
    plan.anchors = aside::anchors(&plan, &parents);
    Ok(plan)
}

/// The names of one node.
pub(super) struct Group {
    pub(super) dir: usize,
    pub(super) name: Vec<u8>,
    /// The inode that is kept; `None` where a new one is made.
    pub(super) kept: Option<Place>,
    /// The snapshot that is restored.
    pub(super) snap: Snap,
    /// How many names of it are restored or stay.
    pub(super) names: u64,
}

/// A directory that is still to be walked.
pub(super) struct Pending {
    pub(super) at: usize,
    pub(super) what: What,
    /// Whether the directory is there now.
    pub(super) exists: bool,
    /// Whether what the view does not have is removed.
    pub(super) delete: bool,
}

pub(super) enum What {
    /// Above the roots of sources: the absolute path.
    Above(Vec<u8>),
    Node {
        source: SourceNum,
        snap: Snap,
        node: Node,
    },
}

pub(super) struct Walk<'a> {
    pub(super) index: &'a Reader,
    pub(super) view: &'a View,
    pub(super) mapping: &'a Mapping,
    pub(super) base: Option<&'a OwnedFd>,
    pub(super) delete: bool,
    pub(super) guard: &'a Guard<'a>,
    pub(super) plan: Plan,
    pub(super) groups: HashMap<(SourceNum, Node), Group>,
    /// Kept inodes that have several names, and the node that each is kept for.
    pub(super) claimed: HashMap<Place, (SourceNum, Node)>,
    /// Names that may stand beside a database, of the directory that was asked for last.
    pub(super) sides: Option<(usize, HashSet<Vec<u8>>)>,
    /// What is removed from beside a database.
    pub(super) beside: HashSet<Vec<u8>>,
    pub(super) seen_dirs: HashSet<(SourceNum, Node)>,
    /// Directories on the way, by their parent and name.
    pub(super) names: HashMap<(usize, Vec<u8>), usize>,
    pub(super) pending: Vec<Pending>,
    /// Finds the other names of files.
    pub(super) positions: HashMap<SourceNum, Positions<'a>>,
    pub(super) in_place: bool,
}

impl Walk<'_> {
    /// Gives the directory that it lies in.
    fn root(&mut self, absolute: &[u8], target: &Target) -> Result<usize, RestoreError> {
        let object = self
            .view
            .look_up(self.index, absolute)?
            .ok_or_else(|| RestoreError::NotThere { path: path::show(absolute) })?;
        let way = match target {
            Target::To(_) | Target::Beside { .. } if !self.mapping.full_paths => {
                path::components(absolute).last().map(|name| (name.to_vec(), None)).into_iter().collect()
            }
            _ => self.mapping.way(absolute),
        };
        let names: Vec<&[u8]> = way.iter().map(|(name, _)| name.as_slice()).collect();
        self.plan.roots.push(names.join(&b'/'));
        let Some((last, before)) = way.split_last() else {
            let what = match object {
                Object::Above => What::Above(absolute.to_vec()),
                Object::Node(part, row) => self.node_of(part, &row),
            };
            let exists = self.base.is_some();
            self.pending.push(Pending { at: 0, what, exists, delete: self.delete });
            self.walk()?;
            return Ok(0);
        };
        let mut parent = 0;
        for (name, seen) in before {
            parent = self.on_the_way(parent, name, seen.as_deref())?;
        }
        let last = &last.0;
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
                row.name = last.clone();
                self.entry(parent, fd.as_ref(), &row, snap, self.delete)?;
            }
        }
        self.walk()?;
        Ok(parent)
    }

    fn node_of(&self, part: usize, row: &Row) -> What {
        What::Node { source: row.source, snap: self.view.parts[part].snapshot.number, node: row.node }
    }

    /// A directory on the way to what is restored: kept as it is, or made as what it was in the view.
    pub(super) fn on_the_way(
        &mut self,
        parent: usize,
        name: &[u8],
        seen: Option<&[u8]>,
    ) -> Result<usize, RestoreError> {
        if let Some(at) = self.names.get(&(parent, name.to_vec())) {
            return Ok(*at);
        }
        let fd = match self.plan.dirs[parent].action {
            DirAction::Keep if self.base.is_some() => Some(self.open(parent)?),
            _ => None,
        };
        let at = self.dir_above(parent, name, fd.as_ref())?;
        if self.plan.dirs[at].action == DirAction::Create
            && let Some(seen) = seen
            && let Some(Object::Node(_, row)) = self.view.look_up(self.index, seen)?
        {
            self.plan.dirs[at].wanted = Some(Wanted { attr: self.mapping.attr(&row.attr), xattr: row.xattr });
        }
        Ok(at)
    }

    fn dir_above(&mut self, parent: usize, name: &[u8], fd: Option<&OwnedFd>) -> Result<usize, RestoreError> {
        if let Some(at) = self.names.get(&(parent, name.to_vec())) {
            return Ok(*at);
        }
        let shown = || path::show(&self.plan.path(parent, name));
        let mut mounted = false;
        let action = match fd.map(|fd| stat::at(fd, name)) {
            Some(Ok(now)) if now.kind() == Some(Kind::Dir) => {
                mounted = now.is_mount_root;
                DirAction::Keep
            }
            Some(Ok(_)) => return Err(RestoreError::OnTheWay { path: shown() }),
            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => {
                return Err(RestoreError::Target { path: shown(), source: e });
            }
            _ => DirAction::Create,
        };
        let at = self.push_dir(parent, name, None, action);
        self.plan.dirs[at].mounted = mounted;
        self.names.insert((parent, name.to_vec()), at);
        Ok(at)
    }

    pub(super) fn push_dir(&mut self, parent: usize, name: &[u8], wanted: Option<Wanted>, action: DirAction) -> usize {
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
        self.plan.dirs.push(PlannedDir {
            parent: Some(parent),
            name: name.to_vec(),
            wanted,
            action,
            touched: false,
            mounted: false,
        });
        self.plan.dirs.len() - 1
    }

    pub(super) fn open(&self, dir: usize) -> Result<OwnedFd, RestoreError> {
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
}
