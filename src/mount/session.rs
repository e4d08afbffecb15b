//! The life of a mount: where it may stand, its beginning and its end.

use crate::config::model::Config;
use crate::mount::{
    errno::FsError,
    follow::Follower,
    fs::{Fs, Shown},
    fuse::Served,
    inodes::Split,
    umount::{self, UmountError},
};
use crate::repo::{attach::Attached, error::RepoError};
use crate::sys::{
    durable,
    fuse::{self, FuseError},
    mounts,
};
use crate::types::{path, role::Need, when::zone::ZoneError};
use crate::view::{names, whose::Whose};
use std::{
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How far the kernel reads ahead, which is also how much it asks for at once, in KiB.
const READ_AHEAD_KIB: u32 = 1024;
/// How long the end of a mount waits for requests that are being answered.
const END_WAIT: Duration = Duration::from_secs(2);

/// How to mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// What to show.
    pub shown: Shown,
    /// Let other users see it.
    pub allow_other: bool,
}

impl MountOptions {
    /// What of the history is mounted, and how, by the settings alone.
    pub fn of(config: &Config) -> Result<MountOptions, ZoneError> {
        let zone = config.zone()?;
        let shown = Shown {
            host: config.host.clone(),
            exact: false,
            this_host: config.host.clone(),
            zone,
            at: None,
            split: Split::of(config.mount.inodes),
        };
        Ok(MountOptions { shown, allow_other: config.mount.allow_other })
    }
}

/// Why a mount could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is something in the directory, which the mount would hide.
    #[error("{dir} is not empty: a mount would hide what is in it. Name an empty or a new directory")]
    NotEmpty {
        /// The directory.
        dir: String,
    },
    /// The directory can't be made or resolved.
    #[error("cannot use {dir} as the place to mount on: {source}")]
    Directory {
        /// The directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// A mount of ours stands there.
    #[error("bygone is mounted on {dir} already; `bygone umount {dir}` ends it")]
    Already {
        /// The directory.
        dir: String,
    },
    /// A place where a mount would block or hide what it needs.
    #[error("cannot mount on {dir}: it {how} {what}, {path}; choose a directory apart from it")]
    Place {
        /// The directory.
        dir: String,
        /// `is`, `lies inside`, `contains`.
        how: &'static str,
        /// `the repository`, ...
        what: &'static str,
        /// Where that is.
        path: String,
    },
    /// The host to show has no sources.
    #[error("the repository holds nothing of the host {host}; it knows {known}")]
    NoHost {
        /// The host.
        host: String,
        /// The hosts it has.
        known: String,
    },
    /// FUSE failed.
    #[error("cannot mount on {dir}: {source}")]
    Fuse {
        /// The directory.
        dir: String,
        /// Why.
        source: FuseError,
    },
    /// The session failed.
    #[error("cannot answer for the mount on {dir}: {source}")]
    Session {
        /// The directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// What a dead process left could not be removed.
    #[error(transparent)]
    Umount(#[from] UmountError),
    /// The tree can't be shown.
    #[error("cannot show the repository: {0}")]
    Tree(#[from] FsError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// A mount. Dropped, it is unmounted.
pub struct Mounted {
    dir: PathBuf,
    id: u64,
    served: Option<Served>,
    follower: Option<Follower>,
}

/// Mounts the history on `dir`, which is made where it is not there. Ready when this returns, in a time that does not
/// depend on how much history there is.
pub fn mount(attached: Arc<Attached>, options: &MountOptions, dir: &Path) -> Result<Mounted, MountError> {
    attached.repo().check(Need::Content)?;
    let dir = prepare(dir)?;
    check_place(&attached, options, &dir)?;
    check_empty(&dir)?;
    let fs = Arc::new(Fs::new(attached, options.shown.clone())?);
    let show = || path::show(dir.as_os_str().as_bytes());
    let device = fuse::mount(&dir, options.allow_other).map_err(|source| MountError::Fuse { dir: show(), source })?;
    let session = |source| MountError::Session { dir: show(), source };
    let entry = umount::top(&dir).map_err(session)?;
    let Some(entry) = entry.filter(|m| m.fstype == fuse::FSTYPE) else {
        let source = io::Error::other("it is not in the mount table");
        return Err(session(source));
    };
    let mut mounted = Mounted { dir: dir.clone(), id: entry.id, served: None, follower: None };
    let served = Served::start(fs.clone(), device, options.allow_other).map_err(session)?;
    let changes = served.notifier();
    mounted.served = Some(served);
    if fs.moves() {
        mounted.follower = Some(Follower::start(fs, changes).map_err(session)?);
    }
    if let Err(e) = fuse::set_read_ahead(entry.dev, READ_AHEAD_KIB) {
        tracing::debug!("the kernel reads ahead as it does by default: {e}");
    }
    Ok(mounted)
}

impl Mounted {
    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it still answers: false after somebody unmounted it.
    pub fn is_alive(&self) -> bool {
        self.served.as_ref().is_some_and(|served| !served.has_ended())
    }

    /// Waits until somebody unmounts it, or for this long. Whether it is still alive.
    pub fn wait(&self, at_most: Duration) -> bool {
        self.served.as_ref().is_some_and(|served| !served.wait(at_most))
    }

    /// Unmounts. Whoever still stands in it keeps it until this process ends.
    pub fn unmount(mut self) -> Result<(), UmountError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), UmountError> {
        let Some(served) = self.served.take() else { return Ok(()) };
        self.follower = None;
        let result = if served.has_ended() { Ok(()) } else { umount::own(self.id, &self.dir) };
        if result.is_ok()
            && served.wait(END_WAIT)
            && let Err(e) = served.join()
        {
            tracing::warn!("the mount on {} ended with an error: {e}", self.dir.display());
        }
        result
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let ended = match self.served {
            Some(_) => self.end(),
            // Mounted, and not answered for: see `mount`.
            None => umount::own(self.id, &self.dir),
        };
        if let Err(e) = ended {
            tracing::error!("{e}");
        }
    }
}

/// The directory, made where it is not there, without symbolic links; what a dead process left on it is taken away.
fn prepare(dir: &Path) -> Result<PathBuf, MountError> {
    let failed = |source: io::Error| MountError::Directory { dir: path::show(dir.as_os_str().as_bytes()), source };
    match dir.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            durable::create_dirs(dir, 0o755).map_err(|e| failed(e.into()))?;
        }
        _ => {}
    }
    let dir = umount::resolve(dir).map_err(failed)?;
    while let Some(found) = umount::top(&dir).map_err(failed)? {
        let show = path::show(dir.as_os_str().as_bytes());
        match found.fstype == fuse::FSTYPE {
            true if fuse::is_dead(&dir) => {
                tracing::warn!("a mount that a killed process left on {show} was removed");
                umount::own(found.id, &dir)?;
            }
            true => return Err(MountError::Already { dir: show }),
            false => break,
        }
    }
    match dir.metadata() {
        Ok(meta) if meta.is_dir() => Ok(dir),
        Ok(_) => Err(failed(io::ErrorKind::NotADirectory.into())),
        Err(e) => Err(failed(e)),
    }
}

/// Refuses a directory with something in it, which the mount would hide.
fn check_empty(dir: &Path) -> Result<(), MountError> {
    let show = || path::show(dir.as_os_str().as_bytes());
    match dir.read_dir().map_err(|source| MountError::Directory { dir: show(), source })?.next() {
        None => Ok(()),
        Some(_) => Err(MountError::NotEmpty { dir: show() }),
    }
}

/// Refuses what would dead-lock or hide what is needed: the repository, the state, and what this host captures.
fn check_place(attached: &Attached, options: &MountOptions, dir: &Path) -> Result<(), MountError> {
    let place = |how, what, path: &Path| {
        let show = |p: &Path| path::show(p.as_os_str().as_bytes());
        MountError::Place { dir: show(dir), how, what, path: show(path) }
    };
    let apart = |what, other: &Path| match other.canonicalize() {
        // A store that is no directory, or one that is not here.
        Err(_) => Ok(()),
        Ok(other) => match path::relation(dir.as_os_str().as_bytes(), other.as_os_str().as_bytes()) {
            Some(how) => Err(place(how, what, &other)),
            None => Ok(()),
        },
    };
    apart("the repository", Path::new(&attached.repo().store().location()))?;
    apart("the state of bygone", attached.dir())?;
    let index = attached.reader()?;
    let known = names::hosts(&index).map_err(RepoError::from)?;
    if !known.is_empty() && !known.contains(&options.shown.host) {
        return Err(MountError::NoHost { host: options.shown.host.clone(), known: known.join(", ") });
    }
    for line in Whose::named(&options.shown.this_host).lines(&index).map_err(RepoError::from)? {
        let root = Path::new(std::ffi::OsStr::from_bytes(&line.source.root));
        if root == dir || (root.starts_with(dir) && root != Path::new("/")) {
            let how = if root == dir { "is" } else { "contains" };
            return Err(place(how, "a source, which it would hide", root));
        }
    }
    Ok(())
}

/// The mounts of ours that this process sees.
pub fn ours() -> io::Result<Vec<mounts::Mount>> {
    Ok(mounts::mounts()?.into_iter().filter(|m| m.fstype == fuse::FSTYPE).collect())
}
