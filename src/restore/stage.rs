//! A tree that is made beside its place, and put there in one step.
//!
//! Who owns the directory around it may name anything there as he likes, also while a restore runs as root: so the directory has a
//! name that nobody can know before, it is known again by its device and inode number only, and everything in it is reached from
//! its open descriptor.

mod note;

use crate::restore::{error::RestoreError, plan::Target};
use crate::sys::{
    dir::{self, Listing},
    durable::{self, LockGuard},
    make, mounts, process, space,
    stat::{self, Stat},
};
use crate::types::{
    attr::Kind,
    path::{self, ASIDE_PREFIX, STAGE_PREFIX},
};
use note::Note;
use rustix::fd::OwnedFd;
use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One tree in the making.
#[derive(Debug)]
pub struct Stage {
    target: PathBuf,
    /// The directory that the target lies in, once it is there and open.
    parent: Option<OwnedFd>,
    /// What the directory of the tree is called in that.
    dir: Vec<u8>,
    /// It, once it is there and open.
    opened: Option<Arc<OwnedFd>>,
    /// Where it is noted.
    note: Note,
    held: Option<LockGuard>,
    /// Whether the directory itself becomes the target, and not what of that name is in it.
    whole: bool,
    /// What it is called in the directory, where that does not become the target itself.
    name: Vec<u8>,
}

/// How a tree was put in its place.
#[derive(Debug, Default)]
pub struct Put {
    /// The directory in which what stood there is.
    pub kept: Option<PathBuf>,
    /// The directory in which it was made, where that could not be removed, and why: it holds something else.
    pub left: Option<(PathBuf, io::Error)>,
    /// Why it is not known whether the disk has it.
    pub unsynced: Option<io::Error>,
}

impl Stage {
    /// For a tree that is to stand at `target`; `key` tells it from any other one for that place. Finds what a try before this one has
    /// begun, as noted in the directory `state`. Makes nothing.
    pub fn find(state: &Path, target: &Path, key: &[u8], whole: bool) -> Result<Stage, RestoreError> {
        let failed = |source| RestoreError::Target { path: target.display().to_string(), source };
        let (Some(_), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(failed(io::Error::other("the root can't be replaced in one step")));
        };
        let hash = blake3::Hasher::new().update(target.as_os_str().as_bytes()).update(&[0]).update(key).finalize();
        let note = Note::new(state, &hash.to_hex()[..32]);
        let noted = |source| RestoreError::Note { dir: state.display().to_string(), source };
        let mut stage = Stage {
            target: target.to_owned(),
            parent: None,
            dir: format!("{STAGE_PREFIX}{}", random().map_err(noted)?).into_bytes(),
            opened: None,
            note,
            held: None,
            whole,
            name: name.as_bytes().to_vec(),
        };
        stage.parent = stage.open_parent(false)?;
        let begun = stage.note.read().map_err(noted)?;
        if let (Some(begun), Some(parent)) = (begun, &stage.parent) {
            let is_it = |now: &Stat| begun.place == Some((now.place.dev, now.place.ino)) && is_owned(now);
            match dir::open_at(parent, &begun.name).and_then(|fd| Ok((stat::of(&fd)?, fd))) {
                Ok((now, fd)) if is_it(&now) => (stage.dir, stage.opened) = (begun.name, Some(Arc::new(fd))),
                // Empty, it may be one of a try that was killed before it noted more.
                Ok(_) if make::remove_dir(parent, &begun.name).is_ok() => {}
                Ok(_) => tracing::warn!(
                    "{} is not what an earlier try had made: it is left as it is, and the restore begins anew",
                    stage.target.with_file_name(std::ffi::OsStr::from_bytes(&begun.name)).display()
                ),
                Err(_) => {}
            }
        }
        Ok(stage)
    }

    /// Where it is to stand.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The directory in which it is made.
    pub fn dir(&self) -> PathBuf {
        self.target.with_file_name(std::ffi::OsStr::from_bytes(&self.dir))
    }

    /// Where a plan for it restores to.
    pub fn place(&self) -> Target {
        Target::Beside { dir: self.dir(), opened: self.opened.clone() }
    }

    /// What the tree is called there, where the directory does not become the target itself; its place may have another name.
    pub fn named(mut self, name: &[u8]) -> Stage {
        self.name = name.to_vec();
        self
    }

    /// Makes the directory, unless a try before has, and keeps others from doing the same at the same time. The directory, open: what a
    /// plan is carried out in.
    pub fn begin(&mut self) -> Result<Arc<OwnedFd>, RestoreError> {
        let noted = |stage: &Stage, source| RestoreError::Note { dir: stage.note.dir().display().to_string(), source };
        self.held = self.note.hold().map_err(|e| noted(self, e))?;
        if self.held.is_none() {
            let busy = io::Error::other("another process restores just this");
            return Err(self.failed(busy));
        }
        if let Some(opened) = &self.opened {
            // A try that was killed when it was about to put it in place had given it the mode of any directory.
            if !is_ours(&stat::of(opened).map_err(|e| self.failed(e))?) {
                make::set_mode(opened, 0o700).map_err(|e| self.failed(e))?;
            }
            return Ok(opened.clone());
        }
        self.parent = self.open_parent(true)?;
        let parent = self.parent.as_ref().ok_or_else(|| self.failed(io::ErrorKind::NotFound.into()))?;
        self.note.write(&self.dir, None).map_err(|e| noted(self, e))?;
        let fd = make_own(parent, &self.dir).map_err(|e| self.failed(e))?;
        let now = stat::of(&fd).map_err(|e| self.failed(e))?;
        self.note.write(&self.dir, Some((now.place.dev, now.place.ino))).map_err(|e| noted(self, e))?;
        let opened = Arc::new(fd);
        self.opened = Some(opened.clone());
        Ok(opened)
    }

    fn failed(&self, source: io::Error) -> RestoreError {
        RestoreError::Target { path: self.target.display().to_string(), source }
    }

    /// The directory that the target lies in, if it is there; `make` makes it. In place, no link on the way is followed.
    fn open_parent(&self, make: bool) -> Result<Option<OwnedFd>, RestoreError> {
        let above = self.target.parent().unwrap_or(Path::new("/"));
        if self.whole && make {
            durable::create_dirs(above, 0o777).map_err(|e| self.failed(e.into()))?;
        }
        let opened = match self.whole {
            true => dir::open_root(above),
            false => {
                let root = dir::open_root(Path::new("/")).map_err(|e| self.failed(e))?;
                let below = above.as_os_str().as_bytes();
                match dir::open_beneath(&root, below) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound && make => make_beneath(root, below),
                    other => other,
                }
            }
        };
        match opened {
            Ok(fd) => Ok(Some(fd)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !make => Ok(None),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {
                Err(RestoreError::OnTheWay { path: self.target.display().to_string() })
            }
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Whether something stands at the target.
    pub fn replaces(&self) -> bool {
        let target = self.target.file_name().unwrap_or_default().as_bytes();
        self.parent.as_ref().is_some_and(|parent| stat::at(parent, target).is_ok())
    }

    /// The directory in which what stands there is kept.
    pub fn aside(&self, id: &str) -> PathBuf {
        self.target.with_file_name(format!("{ASIDE_PREFIX}{id}"))
    }

    /// Puts the tree in its place, in one step; what stood there goes aside. The tree must be whole and durable. An error means that
    /// nothing has changed its place; what was not as it should be afterwards is told. `with_mode` gives a directory that becomes the target the permissions of
    /// any new one: nothing of the view has said others.
    pub fn put(&self, id: &str, with_mode: bool) -> Result<Put, RestoreError> {
        let (Some(parent), Some(own)) = (&self.parent, &self.opened) else {
            return Err(self.failed(io::ErrorKind::NotFound.into()));
        };
        if self.whole && with_mode {
            let mode = 0o777 & !process::umask().map_err(|e| self.failed(e))?;
            make::set_mode(own, mode).map_err(|e| self.failed(e))?;
        }
        let kept = self.exchange(parent, own, id).map_err(|e| self.failed(e))?;
        let mut put = Put { kept, ..Put::default() };
        if !self.whole {
            put.left = make::remove_dir(parent, &self.dir).err().map(|e| (self.dir(), e));
        }
        put.unsynced = space::sync_all(parent).err();
        self.note.remove();
        Ok(put)
    }

    fn exchange(&self, parent: &OwnedFd, own: &OwnedFd, id: &str) -> io::Result<Option<PathBuf>> {
        let target = self.target.file_name().unwrap_or_default().as_bytes();
        if stat::at(parent, &self.dir)?.place != stat::of(own)?.place {
            return Err(io::Error::other(format!("{} was put in another place meanwhile", self.dir().display())));
        }
        let (from, name) = if self.whole { (parent, self.dir.as_slice()) } else { (own, self.name.as_slice()) };
        match make::rename(from, name, parent, target, make::Taken::Refuse) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| None),
        }
        let aside = self.aside(id);
        let aside_name = aside.file_name().unwrap_or_default().as_bytes();
        let beside = make_own(parent, aside_name)?;
        // From there it changes places with what is to be there: that is aside in the same step.
        let exchanged = make::rename(from, name, &beside, target, make::Taken::Refuse).and_then(|()| {
            space::sync_all(parent)
                .and_then(|()| make::rename(&beside, target, parent, target, make::Taken::Exchange))
                .inspect_err(|_| take_back(make::rename(&beside, target, from, name, make::Taken::Refuse)))
        });
        if let Err(e) = exchanged {
            take_back(make::remove_dir(parent, aside_name));
            return Err(e);
        }
        Ok(Some(aside))
    }
}

/// The error to report is the first one.
fn take_back(done: io::Result<()>) {
    if let Err(e) = done {
        tracing::warn!("cannot take back what was begun: {e}");
    }
}

fn random() -> io::Result<String> {
    let id = crate::crypto::random::id().map_err(io::Error::other)?;
    Ok(id.to_string()[..16].to_owned())
}

/// Whether a directory is one that nobody else may write to.
fn is_ours(now: &Stat) -> bool {
    is_owned(now) && now.mode & 0o022 == 0
}

fn is_owned(now: &Stat) -> bool {
    now.kind() == Some(Kind::Dir) && now.uid == process::effective_uid()
}

/// Makes a directory that nobody else may use, and opens it; fails where another one is found under its name then.
fn make_own(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    make::directory(parent, name)?;
    let fd = dir::open_at(parent, name)?;
    let (mut names, mut buffer) = (Listing::new(), Vec::new());
    dir::list(&fd, &mut buffer, &mut names)?;
    match is_ours(&stat::of(&fd)?) && names.is_empty() {
        true => Ok(fd),
        false => Err(io::Error::other("another directory was put in the place of the one that was made")),
    }
}

/// Opens a directory below `at`, following no link, and makes what is missing of it.
fn make_beneath(mut at: OwnedFd, below: &[u8]) -> io::Result<OwnedFd> {
    let mode = 0o777 & !process::umask()?;
    for name in path::components(below) {
        at = match dir::open_at(&at, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make::directory(&at, name)?;
                let made = dir::open_at(&at, name)?;
                make::set_mode(&made, mode)?;
                make::sync(&at)?;
                made
            }
            other => other?,
        };
    }
    Ok(at)
}

/// What is mounted at an absolute path or below it, if anything is.
pub fn mounted_in(absolute: &[u8]) -> Result<Option<Vec<u8>>, RestoreError> {
    let all = mounts::mounts().map_err(|source| RestoreError::Target { path: path::show(absolute), source })?;
    Ok(all.into_iter().map(|m| m.point).find(|point| path::is_within(point, absolute)))
}
