//! A repository, its index and one source, in a directory that goes when the test ends.

#![allow(dead_code, reason = "each test uses a part")]

use bygone::capture::{
    engine::{self, Plan, Settings},
    report::{CaptureError, Report},
    scope::Scope,
};
use bygone::config::{
    model::{Capture, Source},
    patterns::Patterns,
};
use bygone::crypto::slots::{Secret, SlotKind};
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, frames::Frames, open::Repository, replay, write::SourceWriter};
use bygone::store::local::LocalStore;
use bygone::sys::clock::{self, SystemClock};
use bygone::types::{
    ids::{Snap, SourceNum},
    snapshot::Tier,
};
use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// The host that the source is said to be on.
pub(crate) const HOST: &str = "host";

/// A repository, its state directory, and a directory to capture.
pub(crate) struct Lab {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) repo: Arc<Repository>,
    pub(crate) at: Arc<Attached>,
    pub(crate) source: Source,
    pub(crate) capture: Capture,
    _dir: tempfile::TempDir,
}

impl Lab {
    /// With an empty source beside the repository.
    pub(crate) fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        Lab::with(dir, root)
    }

    /// With a source elsewhere, which exists.
    pub(crate) fn of(root: &Path) -> Lab {
        Lab::with(tempfile::tempdir().unwrap(), root.to_owned())
    }

    fn with(dir: tempfile::TempDir, root: PathBuf) -> Lab {
        let store = dir.path().join("repo");
        std::fs::create_dir(&store).unwrap();
        let (state, store) = (dir.path().join("state"), Arc::new(LocalStore::open(&store)));
        let secret = Secret::generate_key().unwrap();
        let id = Repository::new_id().unwrap();
        let repo = Arc::new(Repository::create(store, &secret, SlotKind::KeyFile, "test", clock::now(), id).unwrap());
        let at = Arc::new(Attached::open(repo.clone(), &state, Arc::new(SystemClock)).unwrap());
        let source = Source::new(root.clone());
        Lab { root, state, repo, at, source, capture: Capture::default(), _dir: dir }
    }

    /// The directory that holds repository and state.
    pub(crate) fn dir(&self) -> &Path {
        self._dir.path()
    }

    pub(crate) fn writer(&self) -> SourceWriter {
        SourceWriter::open(self.at.clone(), HOST, self.root.as_os_str().as_bytes()).unwrap()
    }

    pub(crate) fn never(&self) -> [PathBuf; 2] {
        [self.dir().join("repo"), self.state.clone()]
    }

    pub(crate) fn scope(&self) -> Scope {
        let patterns = Patterns::compile(&self.source.exclude, &self.source.include).unwrap();
        let never = self.never();
        Scope::new(&self.source, patterns, &[&never[0], &never[1]]).unwrap()
    }

    /// Captures everything that has changed; a snapshot is made in any case.
    pub(crate) fn snapshot(&self, tier: Tier) -> Report {
        self.try_capture(&mut self.writer(), &Plan::everything(), tier, true).unwrap()
    }

    pub(crate) fn try_capture(
        &self,
        writer: &mut SourceWriter,
        plan: &Plan,
        tier: Tier,
        always: bool,
    ) -> Result<Report, CaptureError> {
        let stop = AtomicBool::new(false);
        let settings = Settings { capture: &self.capture, tier, always, progress: &Quiet, stop: &stop };
        engine::capture(writer, &self.scope(), plan, &settings)
    }

    /// The number of the one source.
    pub(crate) fn num(&self) -> SourceNum {
        let sources = self.at.reader().unwrap().sources().unwrap();
        assert_eq!(sources.len(), 1, "one source");
        sources[0].num
    }

    /// The newest snapshot.
    pub(crate) fn head(&self) -> Snap {
        self.at.reader().unwrap().head(self.num()).unwrap().number
    }

    pub(crate) fn frames(&self) -> Frames {
        Frames::new(self.repo.clone(), 32 << 20)
    }

    /// Another index of the same repository, made from the journal alone.
    pub(crate) fn rebuilt(&self) -> Arc<Attached> {
        let state = self.dir().join("rebuilt");
        let _ = std::fs::remove_dir_all(&state);
        rebuilt(&self.repo, &state)
    }
}

/// An index of a repository below `state`, made from the journal alone. Nothing in it may be damaged.
pub(crate) fn rebuilt(repo: &Arc<Repository>, state: &Path) -> Arc<Attached> {
    let at = Attached::open(repo.clone(), state, Arc::new(SystemClock)).unwrap();
    let replayed = replay::catch_up(&at, &Quiet).unwrap();
    assert!(replayed.problems.is_empty(), "{:?}", replayed.problems);
    Arc::new(at)
}
