//! What is left out.

use crate::{
    describe::{self, Depth, Tree},
    lab::{HOST, Lab},
    loopfs::{LoopFs, run},
};
use bygone::capture::{engine::Plan, scope::CACHEDIR_SIGNATURE};
use bygone::types::snapshot::Tier;
use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Command,
};

fn names(tree: &Tree) -> Vec<String> {
    tree.keys().filter(|path| !path.is_empty()).map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

fn plant(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, file).unwrap();
    }
}

/// A directory mounted onto another one, until it is dropped.
struct Bind(PathBuf);

impl Bind {
    fn mount(from: &Path, to: &Path) -> Option<Bind> {
        match run(Command::new("mount").arg("--bind").arg(from).arg(to)) {
            Ok(()) => Some(Bind(to.to_owned())),
            Err(why) => {
                eprintln!("not tested: {why}");
                None
            }
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        if let Err(why) = run(Command::new("umount").arg(&self.0)) {
            eprintln!("{why}");
        }
    }
}

#[test]
fn sockets_are_noted_and_left_out() {
    let lab = Lab::new();
    let _listener = UnixListener::bind(lab.root.join("socket")).unwrap();
    let report = lab.snapshot(Tier::Incremental);
    assert_eq!((report.sockets, report.problems.len()), (1, 0));
    assert_eq!(lab.view(lab.head()).len(), 1);
}

#[test]
fn caches_are_left_out_but_for_their_tag() {
    let mut lab = Lab::new();
    plant(&lab.root, &["cache/a", "cache/b/c", "fake/a", "other"]);
    std::fs::write(lab.root.join("cache/CACHEDIR.TAG"), [CACHEDIR_SIGNATURE, b"\n# more"].concat()).unwrap();
    std::fs::write(lab.root.join("fake/CACHEDIR.TAG"), b"no signature").unwrap();
    assert_eq!(names(&lab.captured()), ["cache", "cache/CACHEDIR.TAG", "fake", "fake/CACHEDIR.TAG", "fake/a", "other"]);
    lab.source.cachedir_tag = false;
    assert_eq!(lab.captured().len(), 10, "captured where the source says so");
    lab.source.cachedir_tag = true;
    assert_eq!(lab.captured().len(), 7, "and ended where it says so no more");
}

/// A capture of single names, as a watcher hints at them.
fn hinted(lab: &Lab, hints: &[(&str, &str)]) -> Vec<String> {
    let mut plan = Plan::default();
    for (dir, name) in hints {
        plan.entries.entry(dir.as_bytes().to_vec()).or_default().insert(name.as_bytes().to_vec());
    }
    let report = lab.try_capture(&mut lab.writer(), &plan, Tier::Incremental, false).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    names(&lab.view(lab.head()))
}

#[test]
fn a_watched_cache_is_left_out_too() {
    let lab = Lab::new();
    plant(&lab.root, &["cache/a"]);
    std::fs::write(lab.root.join("cache/CACHEDIR.TAG"), CACHEDIR_SIGNATURE).unwrap();
    let tagged = ["cache", "cache/CACHEDIR.TAG"];
    assert_eq!(names(&lab.captured()), tagged);
    plant(&lab.root, &["cache/b", "cache/deep/c"]);
    let hints = [("cache", "b"), ("cache", "deep"), ("cache/deep", "c")];
    assert_eq!(hinted(&lab, &hints), tagged);
    std::fs::remove_file(lab.root.join("cache/CACHEDIR.TAG")).unwrap();
    assert_eq!(
        hinted(&lab, &[("cache", "CACHEDIR.TAG")]),
        ["cache", "cache/a", "cache/b", "cache/deep", "cache/deep/c"]
    );
    std::fs::write(lab.root.join("cache/CACHEDIR.TAG"), CACHEDIR_SIGNATURE).unwrap();
    assert_eq!(hinted(&lab, &[("cache", "CACHEDIR.TAG")]), tagged);
}

#[test]
fn patterns_leave_out_and_take_in_again() {
    let mut lab = Lab::new();
    plant(&lab.root, &["a.o", "keep.o", "build/x", "src/a.o", "src/a.c", "src/build/y"]);
    assert_eq!(lab.captured().len(), 10);
    (lab.source.exclude, lab.source.include) = (vec!["*.o".into(), "/build/".into()], vec!["keep.o".into()]);
    assert_eq!(names(&lab.captured()), ["keep.o", "src", "src/a.c", "src/build", "src/build/y"]);
}

#[test]
fn the_repository_and_the_state_are_never_captured() {
    let mut lab = Lab::around();
    plant(&lab.root, &["mine"]);
    lab.source.include = vec!["repo".into(), "state".into(), "*".into()];
    assert_eq!(names(&lab.captured()), ["mine"]);
}

#[test]
fn other_file_systems_as_the_source_says() {
    let Some(other) = LoopFs::make("ext4", 64) else { return };
    plant(other.path(), &["inside"]);
    let mut lab = Lab::new();
    plant(&lab.root, &["mine"]);
    std::fs::create_dir(lab.root.join("mnt")).unwrap();
    let Some(_bound) = Bind::mount(other.path(), &lab.root.join("mnt")) else { return };
    assert_eq!(names(&lab.captured()), ["mine", "mnt", "mnt/inside", "mnt/lost+found"]);
    lab.source.one_file_system = true;
    assert_eq!(names(&lab.captured()), ["mine", "mnt"], "the place itself stays");
    plant(other.path(), &["inside", "dir/more"]);
    let hints = [("mnt", "inside"), ("mnt", "dir"), ("mnt/dir", "more")];
    assert_eq!(hinted(&lab, &hints), ["mine", "mnt"], "a watcher may tell of it all the same");
}

#[test]
fn a_directory_bound_to_a_second_place_is_there_twice() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::new();
    plant(&lab.root, &["dir/file", "dir/sub/file"]);
    std::fs::create_dir(lab.root.join("bound")).unwrap();
    let Some(bound) = Bind::mount(&lab.root.join("dir"), &lab.root.join("bound")) else { return };
    for _ in 0..2 {
        let view = lab.captured();
        let all = ["bound", "bound/file", "bound/sub", "bound/sub/file", "dir", "dir/file", "dir/sub", "dir/sub/file"];
        assert_eq!(names(&view), all);
        let identities: std::collections::BTreeSet<_> =
            view.values().filter(|t| t.mode & libc::S_IFMT == libc::S_IFDIR).map(|t| t.identity).collect();
        assert_eq!(identities.len(), 5, "each place of a directory is a node");
        std::fs::write(lab.root.join("dir/sub/file"), b"changed").unwrap();
    }
    drop(bound);
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.captured(), Depth::All), "");
}

#[test]
fn a_mount_of_history_is_never_captured() {
    use bygone::mount::{
        fs::Shown,
        inodes::Split,
        session::{self, MountOptions},
    };
    let lab = Lab::new();
    plant(&lab.root, &["mine", "history/below"]);
    std::fs::remove_file(lab.root.join("history/below")).unwrap();
    lab.captured();
    let zone = bygone::types::when::zone::Zone::utc();
    let shown =
        Shown { host: HOST.into(), exact: false, this_host: HOST.into(), zone, at: None, split: Split::default() };
    let point = lab.root.join("history");
    let mount = session::mount(lab.at.clone(), &MountOptions { shown, allow_other: false }, &point).unwrap();
    assert!(std::fs::read_dir(&point).unwrap().count() > 0);
    assert_eq!(names(&lab.captured()), ["history", "mine"], "the place that it covers stays, as empty as it is");
    mount.unmount().unwrap();
    assert_eq!(names(&lab.captured()), ["history", "mine"]);
}
