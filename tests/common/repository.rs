//! A repository in a directory of its own, with real captures.

use bygone::capture::{
    engine::{self, Plan, Settings},
    report::Report,
    scope::Scope,
};
use bygone::config::{model, patterns::Patterns};
use bygone::crypto::slots::{Secret, SlotKind};
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, error::RepoError, open::Repository, replay, write::SourceWriter};
use bygone::store::local::LocalStore;
use bygone::sys::clock::{self, SystemClock};
use bygone::types::{snapshot::Tier, time::Instant};
use bygone::view::instant::View;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, atomic::AtomicBool};

pub const HOST: &str = "host";

/// A key that the tests know.
pub fn secret() -> Secret {
    Secret::KeyFile(zeroize::Zeroizing::new([7; 32]))
}

/// A repository with its index.
pub struct TestRepo {
    pub dir: tempfile::TempDir,
    pub at: Arc<Attached>,
}

impl TestRepo {
    /// An empty one.
    pub fn create() -> TestRepo {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("repo");
        std::fs::create_dir(&store).unwrap();
        let id = Repository::new_id().unwrap();
        let store = Arc::new(LocalStore::open(&store));
        Repository::create(store, &secret(), SlotKind::KeyFile, "test", clock::now(), id).unwrap();
        let at = attach(dir.path(), "state").unwrap();
        TestRepo { dir, at }
    }

    /// Where its objects are.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// Opens it again, with a new index made from the journal alone; what the replay found.
    pub fn rebuild(&self, state: &str) -> Result<(Arc<Attached>, replay::Replayed), RepoError> {
        let at = attach(self.dir.path(), state)?;
        let replayed = replay::catch_up(&at, &Quiet)?;
        Ok((at, replayed))
    }

    /// A snapshot of everything below `root`.
    pub fn capture(&self, root: &Path) -> Report {
        let mut writer = SourceWriter::open(self.at.clone(), HOST, root.as_os_str().as_bytes()).unwrap();
        let source = model::Source::new(root.to_owned());
        let patterns = Patterns::compile(&[], &[]).unwrap();
        let (store, state) = (self.store(), self.dir.path().join("state"));
        let scope = Scope::new(&source, patterns, &[&store, &state]).unwrap();
        let settings = Settings {
            capture: &model::Capture::default(),
            tier: Tier::Incremental,
            always: true,
            progress: &Quiet,
            stop: &AtomicBool::new(false),
        };
        let report = engine::capture(&mut writer, &scope, &Plan::everything(), &settings).unwrap();
        assert_eq!(report.problems, [], "everything could be read");
        report
    }

    /// The newest view.
    pub fn view(&self) -> View {
        View::open(&self.at.reader().unwrap(), HOST, Instant(i64::MAX)).unwrap()
    }
}

/// Opens the repository below `dir` with an index in `state`.
pub fn attach(dir: &Path, state: &str) -> Result<Arc<Attached>, RepoError> {
    let store = Arc::new(LocalStore::open(&dir.join("repo")));
    let repo = Arc::new(Repository::open(store, &secret())?);
    Ok(Arc::new(Attached::open(repo, &dir.join(state), Arc::new(SystemClock))?))
}
