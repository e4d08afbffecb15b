//! The mount as programs see it: real mounts of real captures.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use bygone::capture::{
    engine::{Plan, Settings, capture},
    scope::Scope,
};
use bygone::config::{
    model::{Capture, Source},
    patterns::Patterns,
};
use bygone::crypto::slots::{Secret, SlotKind};
use bygone::mount::{
    fs::Shown,
    inodes::Split,
    session::{self, MountError, MountOptions, Mounted},
    umount::{self, UmountError, Unmounted},
};
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, open::Repository, write::SourceWriter};
use bygone::store::local::LocalStore;
use bygone::sys::{clock::SystemClock, durable};
use bygone::types::{
    ids::Snap,
    op::Gap,
    snapshot::Tier,
    time::Instant,
    when::{show::exact_name, zone::Zone},
};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _, Seek as _},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

const HOST: &str = "here";

/// A directory that is captured, its repository, and a place to mount.
struct World {
    dir: tempfile::TempDir,
    at: Arc<Attached>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        for name in ["src", "repo", "state", "mnt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let secret = Secret::generate_key().unwrap();
        let store = Arc::new(LocalStore::open(&dir.path().join("repo")));
        let id = Repository::new_id().unwrap();
        let repo = Repository::create(store, &secret, SlotKind::KeyFile, "test", Instant(0), id).unwrap();
        let at = Attached::open(Arc::new(repo), &dir.path().join("state"), Arc::new(SystemClock)).unwrap();
        World { dir, at: Arc::new(at) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path("src").join(name);
        durable::create_dirs(path.parent().unwrap(), 0o755).unwrap();
        durable::replace(&path, content.as_ref(), 0o644).unwrap();
    }

    /// A snapshot after a time in which nothing watched.
    fn snapshot_with_gap(&self, from: Instant) -> Instant {
        let mut plan = Plan::everything();
        plan.gaps.push(Gap {
            subtree: Vec::new(),
            from: Instant(from.0 + 1),
            to: Instant(from.0 + 2),
            why: "nothing watched".into(),
        });
        self.capture(HOST, &plan)
    }

    /// Captures what is in `src`, as a source of `host`.
    fn snapshot_of(&self, host: &str) -> Instant {
        self.capture(host, &Plan::everything())
    }

    fn capture(&self, host: &str, plan: &Plan) -> Instant {
        let root = self.path("src");
        let source = Source::new(root.clone());
        let never = [self.path("repo"), self.path("state")];
        let never: Vec<&Path> = never.iter().map(PathBuf::as_path).collect();
        let scope = Scope::new(&source, Patterns::compile(&[], &[]).unwrap(), &never).unwrap();
        let mut writer = SourceWriter::open(self.at.clone(), host, root.as_os_str().as_bytes()).unwrap();
        let (settings, stop) = (Capture::default(), AtomicBool::new(false));
        let settings =
            Settings { capture: &settings, tier: Tier::Incremental, always: true, progress: &Quiet, stop: &stop };
        let report = capture(&mut writer, &scope, plan, &settings).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        report.snapshot.unwrap().time
    }

    fn snapshot(&self) -> Instant {
        self.snapshot_of(HOST)
    }

    fn options(&self) -> MountOptions {
        let shown = Shown {
            host: HOST.into(),
            exact: false,
            this_host: HOST.into(),
            zone: Zone::utc(),
            at: None,
            split: Split::Shared,
        };
        MountOptions { shown, allow_other: false }
    }

    fn mount(&self) -> Mounted {
        session::mount(self.at.clone(), &self.options(), &self.path("mnt")).unwrap()
    }

    /// The source in the view of an instant.
    fn view(&self, at: Instant) -> PathBuf {
        self.below(&format!("@{}", exact_name(at)))
    }

    fn below(&self, view: &str) -> PathBuf {
        self.path("mnt").join(view).join(self.path("src").strip_prefix("/").unwrap())
    }
}

fn run(program: &str, args: &[&dyn AsRef<OsStr>]) -> (bool, String) {
    let out = Command::new(program).args(args.iter().map(|a| a.as_ref())).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn ok(program: &str, args: &[&dyn AsRef<OsStr>]) -> String {
    let (success, text) = run(program, args);
    assert!(success, "{program}: {text}");
    text
}

fn errno(e: &io::Error) -> i32 {
    e.raw_os_error().unwrap()
}

#[test]
fn a_view_shows_what_was_captured() {
    let w = World::new();
    let src = w.path("src");
    w.write("a", "hello");
    w.write("dir/empty", "");
    w.write("dir/large", (0..3_000_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect::<Vec<_>>());
    fs::hard_link(src.join("a"), src.join("dir/b")).unwrap();
    symlink("dir/b", src.join("link")).unwrap();
    let odd = src.join(OsStr::from_bytes(b"\xff\xfe new\nline"));
    fs::File::create(&odd).unwrap();
    fs::File::create(src.join("n".repeat(255))).unwrap();
    let sparse = fs::File::create(src.join("sparse")).unwrap();
    sparse.set_len(32 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 16 << 20).unwrap();
    ok("mkfifo", &[&src.join("fifo")]);
    ok("mknod", &[&src.join("null"), &"c", &"1", &"3"]);
    ok("setfattr", &[&"-n", &"user.test", &"-v", &"value", &src.join("a")]);
    let has_acl = run("setfacl", &[&"-m", &"u:daemon:r", &src.join("a")]).0;
    let has_flags = run("chattr", &[&"+d", &src.join("dir/large")]).0;
    let at = w.snapshot();
    let mounted = w.mount();
    let v = w.view(at);

    assert_eq!(fs::read_to_string(v.join("a")).unwrap(), "hello");
    assert_eq!(fs::read(v.join("dir/large")).unwrap(), fs::read(src.join("dir/large")).unwrap());
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&v), names(&src));
    for name in names(&src) {
        let (a, b) = (src.join(&name).symlink_metadata().unwrap(), v.join(&name).symlink_metadata().unwrap());
        let all = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), m.rdev());
        assert_eq!(all(&a), all(&b), "{name:?}");
        if !a.is_dir() {
            assert_eq!((a.len(), a.nlink(), a.ctime()), (b.len(), b.nlink(), b.ctime()), "{name:?}");
        }
    }
    // Blocks are those of the moment of capture, when not all of them may have been allocated; never those of holes.
    assert!(v.join("sparse").metadata().unwrap().blocks() < (1 << 20) / 512);
    let ino = |name: &str| v.join(name).metadata().unwrap().ino();
    assert_eq!(ino("a"), ino("dir/b"), "hard links stay hard links");
    assert!(ino("a") < 1 << 63);
    assert_eq!(fs::read_link(v.join("link")).unwrap(), Path::new("dir/b"));
    assert!(v.join("fifo").metadata().unwrap().file_type().is_fifo());
    assert!(ok("getfattr", &[&"-n", &"user.test", &"--only-values", &v.join("a")]).contains("value"));
    if has_acl {
        assert!(ok("getfacl", &[&v.join("a")]).contains("user:daemon:r--"));
    }
    if has_flags {
        // Not all that lsattr shows of the source: flags that describe the layout are not kept.
        let flags = ok("lsattr", &[&v.join("dir/large")]);
        assert!(flags.split(' ').next().unwrap().contains('d'), "{flags}");
    }

    let mut file = fs::File::open(v.join("sparse")).unwrap();
    let seek = |file: &fs::File, whence| rustix::fs::seek(file, whence);
    assert_eq!(seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap(), 16 << 20);
    assert!(seek(&file, rustix::fs::SeekFrom::Hole(16 << 20)).unwrap() < 17 << 20);
    assert_eq!(seek(&file, rustix::fs::SeekFrom::Data(32 << 20)), Err(rustix::io::Errno::NXIO));
    let mut four = [0; 4];
    file.seek(io::SeekFrom::Start(16 << 20)).unwrap();
    file.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"data");

    let attribute = |name: &str, path: &Path| {
        let mut value = vec![0; 4096];
        rustix::fs::getxattr(path, name, &mut value[..]).map(|n| String::from_utf8(value[..n].to_vec()).unwrap())
    };
    for name in ["snapshot", "time", "valid-from", "hash"] {
        assert!(!attribute(&format!("user.bygone.{name}"), &v.join("a")).unwrap().is_empty(), "{name}");
    }
    assert_eq!(attribute("user.bygone.time", &v.join("dir")).unwrap(), exact_name(at));
    assert_eq!(attribute("user.bygone.snapshot", &v.join("dir")).unwrap(), "1");
    assert_eq!(attribute("user.bygone.gap", &v.join("a")), Err(rustix::io::Errno::NODATA));
    assert_eq!(attribute("user.none", &v.join("a")), Err(rustix::io::Errno::NODATA));
    assert!(!ok("getfattr", &[&"-d", &v.join("a")]).contains("bygone"), "no copy carries our own attributes along");

    assert_eq!(errno(&fs::File::create(v.join("new")).unwrap_err()), libc::EROFS);
    assert_eq!(errno(&fs::remove_file(v.join("a")).unwrap_err()), libc::EROFS);
    assert_eq!(errno(&fs::metadata(v.join("missing")).unwrap_err()), libc::ENOENT);
    mounted.unmount().unwrap();
    assert_eq!(fs::read_dir(w.path("mnt")).unwrap().count(), 0);
}

#[test]
fn real_tools_copy_and_compare() {
    let w = World::new();
    for n in 0..50 {
        w.write(&format!("d{}/f{n}", n % 7), format!("content {n}").repeat(n * 50));
    }
    let src = w.path("src");
    fs::hard_link(src.join("d0/f0"), src.join("d1/linked")).unwrap();
    symlink("../d0", src.join("d2/up")).unwrap();
    let sums = ok("sh", &[&"-c", &"cd \"$1\" && find . -type f -print0 | sort -z | xargs -0 sha256sum", &"sh", &src]);
    let at = w.snapshot();
    let mounted = w.mount();
    let v = w.view(at);
    let copy = w.path("copy");
    assert_eq!(ok("diff", &[&"-r", &"--no-dereference", &src, &v]), "");
    ok("cp", &[&"-a", &v, &copy]);
    assert_eq!(ok("rsync", &[&"-aHAX", &"--dry-run", &"--itemize-changes", &format!("{}/", v.display()), &src]), "");
    assert_eq!(ok("rsync", &[&"-aHAXc", &"-n", &"-i", &format!("{}/", copy.display()), &src]), "");
    ok("sh", &[&"-c", &"tar -C \"$1\" -cf - . | tar -df - -C \"$2\"", &"sh", &v, &src]);
    durable::replace(&w.path("sums"), sums.as_bytes(), 0o644).unwrap();
    ok("sh", &[&"-c", &"cd \"$1\" && sha256sum --quiet -c \"$2\"", &"sh", &v, &w.path("sums")]);
    let count = |dir: &Path| ok("find", &[&dir, &"-printf", &"%P %y %s %m\n"]).lines().count();
    assert_eq!(count(&v), count(&src));
    assert!(run("du", &[&"-s", &v]).0);
    drop(mounted);
}

#[test]
fn git_reads_a_repository_inside_a_view() {
    let w = World::new();
    let git = |at: &Path, args: &[&str]| {
        let mut all: Vec<&dyn AsRef<OsStr>> =
            vec![&"-c", &"safe.directory=*", &"-c", &"user.name=n", &"-c", &"user.email=e", &"-C", &at];
        all.extend(args.iter().map(|a| a as &dyn AsRef<OsStr>));
        ok("git", &all)
    };
    w.write("project/file", "first\n");
    w.write("project/dir/other", "other\n");
    let project = w.path("src/project");
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "first"]] {
        git(&project, args);
    }
    let clean = w.snapshot();
    w.write("project/file", "second\n");
    w.write("project/new", "new\n");
    let changed = w.snapshot();
    let _mounted = w.mount();
    assert_eq!(git(&w.view(clean).join("project"), &["status", "--porcelain"]), "");
    assert_eq!(git(&w.view(changed).join("project"), &["status", "--porcelain"]), " M file\n?? new\n");
    assert_eq!(git(&w.view(changed).join("project"), &["diff", "--numstat"]), "1\t1\tfile\n");
    git(&w.view(clean).join("project"), &["fsck", "--strict"]);
}

#[test]
fn an_unchanged_file_is_the_same_file_and_a_directory_never_is() {
    let w = World::new();
    w.write("same", "same");
    w.write("changed", "one");
    let first = w.snapshot();
    w.write("changed", "two!");
    let second = w.snapshot();
    let ino = |path: PathBuf| path.metadata().unwrap().ino();
    {
        let _mounted = w.mount();
        let (a, b) = (w.view(first), w.view(second));
        assert_eq!(ino(a.join("same")), ino(b.join("same")));
        assert_ne!(ino(a.join("changed")), ino(b.join("changed")));
        assert_ne!(ino(a.clone()), ino(b.clone()));
        assert_eq!(fs::read_to_string(a.join("changed")).unwrap(), "one");
        assert_eq!(fs::read_to_string(b.join("changed")).unwrap(), "two!");
    }
    let before = {
        let _mounted = w.mount();
        (ino(w.view(first)), ino(w.view(first).join("same")))
    };
    let mut options = w.options();
    {
        let _mounted = w.mount();
        assert_eq!((ino(w.view(first)), ino(w.view(first).join("same"))), before, "the same after a new mount");
    }
    options.shown.split = Split::PerView;
    let _mounted = session::mount(w.at.clone(), &options, &w.path("mnt")).unwrap();
    assert_ne!(ino(w.view(first).join("same")), ino(w.view(second).join("same")));
    assert_eq!(fs::read_to_string(w.view(second).join("same")).unwrap(), "same");
}

#[test]
fn names_that_move_follow_and_the_others_stay() {
    let w = World::new();
    w.write("f", "one");
    let first = w.snapshot();
    let _mounted = w.mount();
    let mnt = w.path("mnt");
    let latest = || fs::read_link(mnt.join("@latest")).unwrap();
    assert_eq!(latest(), Path::new(&format!("@{}", exact_name(first))));
    assert_eq!(fs::read_to_string(w.below("@latest").join("f")).unwrap(), "one");
    w.write("f", "two");
    let second = w.snapshot();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(latest(), Path::new(&format!("@{}", exact_name(second))));
    assert_eq!(fs::read_to_string(w.below("@latest").join("f")).unwrap(), "two");
    assert_eq!(fs::read_to_string(w.view(first).join("f")).unwrap(), "one");
    for link in ["@now", "@today"] {
        assert_eq!(fs::read_link(mnt.join(link)).unwrap(), latest(), "{link}");
    }
    for none in ["@2001", "@1y", "@yesterday", "@2200", "@nonsense", "latest", "@"] {
        assert_eq!(errno(&mnt.join(none).symlink_metadata().unwrap_err()), libc::ENOENT, "{none}");
    }
    let with_offset = format!("@{}", exact_name(first).replace('Z', "+00:00"));
    assert_eq!(fs::read_link(mnt.join(with_offset)).unwrap(), Path::new(&format!("@{}", exact_name(first))));
    let days: Vec<_> = fs::read_dir(mnt.join("timeline")).unwrap().map(|d| d.unwrap().path()).collect();
    let times: usize = days.iter().map(|d| fs::read_dir(d).unwrap().count()).sum();
    assert_eq!(times, 2);
    let one = fs::read_dir(&days[0]).unwrap().next().unwrap().unwrap().path();
    assert!(
        one.join(w.path("src").strip_prefix("/").unwrap()).join("f").exists(),
        "links of the timeline lead somewhere"
    );
}

#[test]
fn history_lists_every_version_of_a_path() {
    let w = World::new();
    w.write("dir/f", "one");
    w.snapshot();
    w.write("dir/f", "two");
    w.snapshot();
    fs::remove_file(w.path("src/dir/f")).unwrap();
    w.snapshot();
    let _mounted = w.mount();
    let versions = w.below("history").join("dir/f");
    let mut contents: Vec<_> =
        fs::read_dir(versions).unwrap().map(|v| fs::read_to_string(v.unwrap().path()).unwrap()).collect();
    contents.sort();
    assert_eq!(contents, ["one", "two"]);
}

#[test]
fn one_instant_as_the_root_and_other_hosts() {
    let w = World::new();
    w.write("f", "mine");
    let first = w.snapshot();
    w.write("f", "theirs");
    w.snapshot_of("there");
    let inside = w.path("src").strip_prefix("/").unwrap().to_owned();
    let mut options = w.options();
    options.shown.at = Some(first);
    {
        let _mounted = session::mount(w.at.clone(), &options, &w.path("mnt")).unwrap();
        assert_eq!(fs::read_to_string(w.path("mnt").join(&inside).join("f")).unwrap(), "mine");
        assert_eq!(fs::read_dir(w.path("mnt")).unwrap().count(), 1);
    }
    options.shown.at = Some(Instant(first.0 - 1));
    assert!(session::mount(w.at.clone(), &options, &w.path("mnt")).is_err(), "before the first snapshot");
    let _mounted = w.mount();
    let hosts = w.path("mnt").join("hosts");
    assert_eq!(fs::read_to_string(hosts.join("there/@latest").join(&inside).join("f")).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(hosts.join("here/@latest").join(&inside).join("f")).unwrap(), "mine");
    assert!(hosts.join("nobody").symlink_metadata().is_err());
}

#[test]
fn damage_is_an_error_for_the_files_it_concerns_and_no_other() {
    let w = World::new();
    let noise = |seed: u64| {
        let mut x = seed;
        let next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) as u8
        };
        std::iter::repeat_with(next).take(2 << 20).collect::<Vec<u8>>()
    };
    w.write("good", noise(1));
    w.snapshot();
    let packs = || {
        let found = ok("find", &[&w.path("repo/packs"), &"-type", &"f"]);
        found.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let before = packs();
    w.write("bad", noise(2));
    let at = w.snapshot();
    let after = packs();
    for pack in after.difference(&before) {
        let file = fs::OpenOptions::new().read(true).write(true).open(pack).unwrap();
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 5000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte[0] ^ 1], 5000).unwrap();
    }
    let _mounted = w.mount();
    assert_eq!(errno(&fs::read(w.view(at).join("bad")).unwrap_err()), libc::EIO);
    assert_eq!(fs::read(w.view(at).join("good")).unwrap(), noise(1));
}

#[test]
fn where_a_mount_would_do_harm_it_is_refused() {
    let w = World::new();
    w.write("f", "x");
    w.snapshot();
    let refuse = |dir: PathBuf| session::mount(w.at.clone(), &w.options(), &dir).err();
    for dir in ["repo", "repo/packs", "state", "src", "."] {
        let e = refuse(w.path(dir).canonicalize().unwrap());
        assert!(matches!(e, Some(MountError::Place { .. })), "{dir}: {e:?}");
    }
    fs::create_dir(w.path("filled")).unwrap();
    fs::write(w.path("filled/f"), "x").unwrap();
    assert!(matches!(refuse(w.path("filled")), Some(MountError::NotEmpty { .. })));
    let mounted = w.mount();
    assert!(matches!(refuse(w.path("mnt")), Some(MountError::Already { .. })));
    assert!(mounted.is_alive());
    assert_eq!(umount::umount(&w.path("mnt")).unwrap(), Unmounted::Alive);
    assert!(!mounted.wait(Duration::from_secs(20)), "it ends when somebody else unmounts it");
    assert!(matches!(umount::umount(&w.path("mnt")), Err(UmountError::NotMounted { .. })));
    drop(mounted);
    let fresh = session::mount(w.at.clone(), &w.options(), &w.path("new/place")).unwrap();
    assert!(w.path("new/place/@latest").symlink_metadata().is_ok());
    drop(fresh);
}

#[test]
fn a_mount_inside_a_source_is_not_captured_and_what_it_hides_stays() {
    let w = World::new();
    w.write("f", "x");
    fs::create_dir(w.path("src/mnt")).unwrap();
    let before = w.snapshot();
    let inside = session::mount(w.at.clone(), &w.options(), &w.path("src/mnt")).unwrap();
    w.write("f", "changed");
    let during = w.snapshot();
    drop(inside);
    let _mounted = w.mount();
    for at in [before, during] {
        let names: Vec<_> = fs::read_dir(w.view(at).join("mnt")).unwrap().collect();
        assert!(names.is_empty(), "{names:?}");
    }
    assert_eq!(fs::read(w.view(during).join("f")).unwrap(), b"changed");
}

#[test]
fn a_gap_is_told_by_what_was_captured_first_after_it() {
    let w = World::new();
    w.write("f", "x");
    w.write("same", "y");
    let before = w.snapshot();
    w.write("f", "changed");
    let after = w.snapshot_with_gap(before);
    let _mounted = w.mount();
    let gap = |at: Instant, name: &str| {
        let mut value = [0; 4096];
        let path = w.view(at).join(name);
        rustix::fs::getxattr(&path, "user.bygone.gap", &mut value)
            .map(|n| String::from_utf8_lossy(&value[..n]).into_owned())
    };
    assert!(gap(after, "f").unwrap().contains("nothing watched"), "its versions in the gap are not known");
    assert!(gap(after, "same").unwrap().contains("nothing watched"));
}

#[test]
fn an_overlay_takes_a_view_as_its_lower_layer() {
    let w = World::new();
    w.write("f", "below");
    w.write("d/g", "deep");
    let at = w.snapshot();
    let _mounted = w.mount();
    for name in ["layers", "merged"] {
        fs::create_dir(w.path(name)).unwrap();
    }
    let (layers, merged) = (w.path("layers"), w.path("merged"));
    ok("mount", &[&"-t", &"tmpfs", &"tmpfs", &layers]);
    let _layers = Unmount(layers.clone());
    fs::create_dir(layers.join("up")).unwrap();
    fs::create_dir(layers.join("work")).unwrap();
    let (up, work) = (layers.join("up"), layers.join("work"));
    // A colon separates layers: those of a time of day are escaped.
    let lower = w.view(at).display().to_string().replace(':', "\\:");
    let options = format!("lowerdir={lower},upperdir={},workdir={}", up.display(), work.display());
    ok("mount", &[&"-t", &"overlay", &"overlay", &"-o", &options, &merged]);
    let _merged = Unmount(merged.clone());
    ok("sh", &[&"-c", &"echo more >> \"$1\"", &"sh", &merged.join("f")]);
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "belowmore\n");
    assert_eq!(fs::read_to_string(merged.join("d/g")).unwrap(), "deep");
    assert_eq!(fs::read_to_string(w.view(at).join("f")).unwrap(), "below");
}

/// Unmounts when it is dropped, also by a panic.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        if !run("umount", &[&"-l", &self.0]).0 {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

#[test]
fn a_killed_mount_leaves_no_hang() {
    let w = World::new();
    let config = w.path("bygone.toml");
    let text = format!("repository = {:?}\nstate = {:?}\n", w.path("own-repo"), w.path("own-state"));
    durable::replace(&config, text.as_bytes(), 0o600).unwrap();
    w.write("f", "x");
    let program = env!("CARGO_BIN_EXE_bygone");
    ok(program, &[&"--config", &config, &"init", &"--key-file", &w.path("key")]);
    ok(program, &[&"--config", &config, &"source", &"add", &w.path("src")]);
    ok(program, &[&"--config", &config, &"snapshot"]);
    let mut child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .args(["mount", "--foreground"])
        .arg(w.path("mnt"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 7];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(errno(&fs::read_dir(w.path("mnt")).unwrap_err()), libc::ENOTCONN);
    // A new mount takes away what was left, and goes to the background; then the other way round.
    ok(program, &[&"--config", &config, &"mount", &w.path("mnt")]);
    assert!(w.path("mnt/@latest").symlink_metadata().is_ok());
    ok(program, &[&"umount", &w.path("mnt")]);
    assert_eq!(fs::read_dir(w.path("mnt")).unwrap().count(), 0);
    assert!(!run(program, &[&"umount", &w.path("mnt")]).0);
}

#[test]
fn a_directory_of_many_entries_lists_all_of_them_once() {
    let w = World::new();
    let dir = w.path("src/many");
    fs::create_dir(&dir).unwrap();
    for n in 0..20_000 {
        fs::File::create(dir.join(format!("{n:06}"))).unwrap();
    }
    let at = w.snapshot();
    let _mounted = w.mount();
    let mut names: Vec<_> = fs::read_dir(w.view(at).join("many")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20_000);
}

#[test]
fn what_retention_released_goes_from_a_running_mount() {
    let w = World::new();
    w.write("f", "one");
    let first = w.snapshot();
    w.write("f", "two");
    let second = w.snapshot();
    w.write("f", "three");
    let third = w.snapshot();
    let _mounted = w.mount();
    let read = |at: Instant| fs::read_to_string(w.view(at).join("f")).ok();
    assert_eq!([first, second, third].map(read), ["one", "two", "three"].map(|s| Some(s.to_owned())));
    let root = |at: Instant| fs::metadata(w.view(at)).unwrap().ino();
    let (kept, gone) = (root(third), root(second));
    let held = fs::File::open(w.view(second)).unwrap();
    let source = w.at.reader().unwrap().sources().unwrap()[0].num;
    // What is asked for at the second instant is then what the first one has.
    w.at.index().release(source, (Snap(2), &[Snap(1)]), Duration::from_secs(10)).unwrap();
    while read(second).as_deref() == Some("two") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read(second).as_deref(), Some("one"));
    assert_ne!(root(second), gone, "another view");
    drop(held);
    w.at.index().release(source, (Snap(2), &[]), Duration::from_secs(10)).unwrap();
    while read(first).is_some() || read(second).is_some() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((read(third).as_deref(), root(third)), (Some("three"), kept), "what is kept stays as it was");
}
