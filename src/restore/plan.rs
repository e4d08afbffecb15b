//! What a restore will do, as data: made by comparing the view with what is there, printed by a dry run, and then acted on.
//!
//! With [`Target::To`], each path becomes the entry of its last name in the directory, as `cp -a` does it; `/` becomes the
//! directory itself. With [`Target::InPlace`], each path is where it was. What is there already counts as the same content where
//! type, size and time of modification are the same; then only attributes that differ are set.

use crate::index::tree::Reader;
use crate::restore::{
    error::RestoreError,
    mapping::Mapping,
    report::{Counts, Problem},
    walk,
};
use crate::sys::dir;
use crate::types::{
    attr::{Attr, Place},
    ids::{Node, SourceNum, Ver},
    path,
    time::Time,
};
use crate::view::instant::View;
use rustix::fd::OwnedFd;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Where to restore to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Into this directory, which is made if it is missing.
    To(PathBuf),
    /// Into a directory that a [`Stage`](crate::restore::stage::Stage) makes: by its descriptor where it is there already, whatever is found
    /// under its name.
    Beside {
        /// What it is called.
        dir: PathBuf,
        /// It, open.
        opened: Option<Arc<OwnedFd>>,
    },
    /// Where it was.
    InPlace {
        /// Whether what was not there at the time is removed.
        delete: bool,
    },
}

/// Tells of an absolute path, and whether it is a directory, that it is never removed.
pub type Spared<'a> = &'a dyn Fn(&[u8], bool) -> bool;

/// What the newest snapshots hold: a restore in place removes and replaces nothing else.
pub struct Newest<'a> {
    /// The newest view.
    pub view: &'a View,
    /// Tells of an absolute path that it will be captured before anything is done, so that it counts as held where it can
    /// be read: for a dry run.
    pub upcoming: &'a dyn Fn(&[u8]) -> bool,
}

/// What to restore, and where to.
pub struct Request<'a> {
    /// The tree as of the time.
    pub view: &'a View,
    /// The paths, absolute.
    pub paths: &'a [Vec<u8>],
    /// Where to.
    pub target: Target,
    /// What is made different from what was captured.
    pub mapping: &'a Mapping,
    /// Directories that are never removed, nor anything in them: the repository, the state, mounts of bygone.
    pub guarded: &'a [PathBuf],
    /// What else is never removed: what capture leaves out was not captured, so that it is not in the view says nothing.
    pub spared: Spared<'a>,
    /// What could be brought back: nothing else is removed or replaced. `None` asks for no such thing.
    pub newest: Option<Newest<'a>>,
}

/// What is done with one directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirAction {
    /// Nothing: it is there.
    Keep,
    /// It is made.
    Create,
    /// Something else is unlinked, and it is made.
    Replace,
    /// It gets other attributes.
    Change,
}

/// A directory on the way, or restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedDir {
    /// The directory it lies in, as an index into [`Plan::dirs`]; the first one is the base and has none.
    pub parent: Option<usize>,
    /// Its name; empty for the base.
    pub name: Vec<u8>,
    /// Its attributes and set of extended attributes in the view; `None` where it only leads to what is restored.
    pub wanted: Option<Wanted>,
    /// What is done with it.
    pub action: DirAction,
    /// Whether anything in it is made or removed, which changes its times.
    pub touched: bool,
    /// Whether it is there, and another file system is mounted on it.
    pub mounted: bool,
}

/// The attributes that something is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Attributes, without the extended ones.
    pub attr: Attr,
    /// The set of extended attributes, 0 for none.
    pub xattr: i64,
}

/// What is done with one name that is no directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is made.
    Create,
    /// It is made and put in the place of something else.
    Replace,
    /// It gets other attributes; the content is as it was.
    Change,
    /// It becomes another name of a file, with or without replacing something.
    Link {
        /// The directory of the first name.
        dir: usize,
        /// The first name.
        name: Vec<u8>,
    },
}

/// A name that is no directory, with something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFile {
    /// The directory, as an index into [`Plan::dirs`].
    pub dir: usize,
    /// The name in it.
    pub name: Vec<u8>,
    /// What is done.
    pub action: Action,
    /// Where, how large and last modified what stood there was when the plan was made: nothing else is replaced.
    pub was: Option<(Place, u64, Time)>,
    /// The source.
    pub source: SourceNum,
    /// The node.
    pub node: Node,
    /// Its version.
    pub ver: Ver,
    /// Its attributes.
    pub wanted: Wanted,
    /// Bytes of content that are written; holes count for nothing.
    pub bytes: u64,
}

/// Something that is removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    /// Its path below the base.
    pub path: Vec<u8>,
    /// Whether it is a directory, empty by then.
    pub is_dir: bool,
    /// What it was when the plan was made: nothing else is removed.
    pub place: Place,
    /// Size and time of modification of what is no directory, for the same reason.
    pub content: Option<(u64, Time)>,
}

/// What a restore will do.
#[derive(Debug)]
pub struct Plan {
    /// The directory below which everything happens.
    pub base: PathBuf,
    /// That directory, where it has to be just this one whatever is found under its name.
    pub opened: Option<Arc<OwnedFd>>,
    /// What is made different from what was captured.
    pub mapping: Mapping,
    /// Directories below the base in which something can be kept aside for what is below them: there, and on its file system.
    pub anchors: HashSet<Vec<u8>>,
    /// What is restored, below the base: the files and directories that everything else lies in.
    pub roots: Vec<Vec<u8>>,
    /// Directories, each after the one it lies in.
    pub dirs: Vec<PlannedDir>,
    /// Names that are no directories, in the order of the tree.
    pub files: Vec<PlannedFile>,
    /// What is removed first, since something else comes to its place.
    pub clear: Vec<Removal>,
    /// What is removed last, since it was not there at the time. Contents come before their directory.
    pub remove: Vec<Removal>,
    /// Files that become files of their own, although they had other names, which lead to something else now and are not restored.
    pub apart: Vec<Vec<u8>>,
    /// What is known not to be possible.
    pub problems: Vec<Problem>,
    /// How much will be done.
    pub will: Counts,
    /// Bytes that what is replaced gives back.
    pub freed_bytes: u64,
    /// Bytes of disk that the new files took when they were captured.
    pub needed_bytes: u64,
}

/// One thing that will be done, for people and programs to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// `create`, `replace`, `change`, `link` or `remove`.
    pub verb: &'static str,
    /// Where.
    pub path: Vec<u8>,
    /// Bytes of content that are written.
    pub bytes: u64,
}

impl Plan {
    /// Compares the view with what is there. Writes nothing.
    pub fn make(index: &Reader, request: &Request<'_>) -> Result<Plan, RestoreError> {
        index.hold(|index| walk::plan(index, request))
    }

    /// Opens the base.
    pub(super) fn open_base(&self) -> io::Result<OwnedFd> {
        match &self.opened {
            Some(fd) => fd.try_clone(),
            None => dir::open_root(&self.base),
        }
    }

    /// The path of a directory below the base.
    pub fn dir_path(&self, dir: usize) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = &self.dirs[dir];
        while let Some(parent) = at.parent {
            names.push(at.name.as_slice());
            at = &self.dirs[parent];
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path of a name in a directory, from the root.
    pub fn path(&self, dir: usize, name: &[u8]) -> Vec<u8> {
        self.from_root(&path::join(&self.dir_path(dir), name))
    }

    /// A path below the base, from the root.
    pub fn from_root(&self, below: &[u8]) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt as _;
        path::join(self.base.as_os_str().as_bytes(), below)
    }

    /// What stands there now and is replaced or removed, below the base.
    pub fn replaced(&self) -> impl Iterator<Item = Vec<u8>> {
        let removed = self.clear.iter().chain(&self.remove).map(|r| r.path.clone());
        let dirs = self.dirs.iter().enumerate().filter(|(_, d)| d.action == DirAction::Replace);
        let is_replaced = |f: &&PlannedFile| f.was.is_some() && f.action != Action::Change;
        let files = self.files.iter().filter(is_replaced).map(|f| path::join(&self.dir_path(f.dir), &f.name));
        removed.chain(dirs.map(|(n, _)| self.dir_path(n))).chain(files)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let d = &self.will;
        d.created + d.replaced + d.changed + d.linked + d.removed == 0
    }

    /// Everything that will be done, in the order of the tree; removals last.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        let dirs = self.dirs.iter().enumerate().filter_map(|(n, dir)| {
            let verb = match dir.action {
                DirAction::Keep => return None,
                DirAction::Create => "create",
                DirAction::Replace => "replace",
                DirAction::Change => "change",
            };
            Some(Step { verb, path: self.from_root(&self.dir_path(n)), bytes: 0 })
        });
        let files = self.files.iter().map(|file| {
            let verb = match file.action {
                Action::Create => "create",
                Action::Replace => "replace",
                Action::Change => "change",
                Action::Link { .. } => "link",
            };
            Step { verb, path: self.path(file.dir, &file.name), bytes: file.bytes }
        });
        let removed = self.clear.iter().chain(&self.remove);
        let removed = removed.map(|r| Step { verb: "remove", path: self.from_root(&r.path), bytes: 0 });
        dirs.chain(files).chain(removed)
    }
}
