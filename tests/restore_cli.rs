//! `restore` by the program: what and as of when, where to, what is made different, what is found before anything is written, what
//! is kept, and what happens when it is killed.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod common;

use common::tree::describe;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Case {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    src: PathBuf,
}

impl Case {
    /// A protected directory, called `thesis` in the settings; nothing is captured yet.
    fn new() -> Case {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let case = Case { src: dir.join("src"), _temp: temp, dir };
        let settings = format!(
            "repository = {:?}\nstate = {:?}\n[limits]\npressure = false\n[key]\nfile = {:?}\n[[source]]\nname = \"thesis\"\npath = {:?}\n",
            case.dir.join("repo"),
            case.dir.join("state"),
            case.dir.join("key"),
            case.src
        );
        fs::write(case.dir.join("bygone.toml"), settings).unwrap();
        fs::create_dir(&case.src).unwrap();
        case.ok(&["init"]);
        case
    }

    fn prepare(&self, command: &mut Command, args: &[&str]) {
        command.arg("--config").arg(self.dir.join("bygone.toml")).args(args);
        command.env_clear().env("HOME", &self.dir).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        self.prepare(&mut command, args);
        command.output().unwrap()
    }

    fn ended(&self, status: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(status), "{args:?}: {text}");
        text
    }

    fn ok(&self, args: &[&str]) -> String {
        self.ended(0, args)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.src.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A snapshot; its exact time.
    fn snapshot(&self) -> String {
        self.ok(&["snapshot"]);
        let list = self.ok(&["--json", "list"]);
        let lines = list.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.filter_map(|line| line["time"].as_str().map(str::to_owned)).next_back().unwrap()
    }

    fn restore(&self, status: i32, args: &[&str]) -> String {
        self.ended(status, &[&["restore"], args].concat())
    }

    fn to(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn s(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn temporary(root: &Path) -> Vec<String> {
    describe(root).into_keys().filter(|name| name.contains("/.tmp-") || name.contains(".bygone-")).collect()
}

#[test]
fn just_before_a_change_whether_it_was_captured_or_not() {
    let case = Case::new();
    let file = case.write("dir/file", "one");
    case.write("dir/other", "other");
    case.snapshot();
    fs::write(&file, "two, longer").unwrap();
    case.snapshot();
    // Nothing has happened since: the last change is the one that was captured.
    let told = case.restore(0, &["--before-change", s(&file), "--to", s(&case.to("a"))]);
    assert!(told.contains("src/dir/file was changed"), "{told}");
    assert_eq!(text(&case.to("a/file")), "one");
    assert_eq!(case.ok(&["cat", s(&file), "--before-change"]), "one");
    // Removed, and no snapshot since: the newest one has it.
    fs::remove_file(&file).unwrap();
    let told = case.restore(0, &["--before-change", s(&file), "--in-place"]);
    assert!(told.contains("has been changed or removed after it"), "{told}");
    assert_eq!(text(&file), "two, longer");
    // Removed with its directory, captured, and much else captured since.
    fs::remove_dir_all(case.src.join("dir")).unwrap();
    case.snapshot();
    for n in 0..3 {
        case.write("elsewhere", &"x".repeat(n + 1));
        case.snapshot();
    }
    let told = case.restore(0, &["--before-change", s(&file), "--to", s(&case.to("b"))]);
    assert!(told.contains("was removed or renamed"), "{told}");
    assert_eq!(text(&case.to("b/file")), "two, longer");
    // Of a directory, the last change of anything in it; what is restored may be something else.
    let told = case.restore(0, &["--before-change", s(&case.src.join("dir")), s(&case.src), "--to", s(&case.to("c"))]);
    assert!(told.contains("just before"), "{told}");
    assert_eq!(text(&case.to("c/src/dir/other")), "other");
    assert!(!case.to("c/src/elsewhere").exists());
    let told = case.ended(1, &["restore", "--before-change", s(&case.src.join("never")), "--to", s(&case.to("d"))]);
    assert!(
        told.contains("no change of") && told.contains("before which it was there") && told.contains("bygone log"),
        "{told}"
    );
    // A directory that was renamed took the file with it.
    case.write("dir/file", "three");
    case.snapshot();
    fs::rename(case.src.join("dir"), case.src.join("moved")).unwrap();
    case.snapshot();
    assert_eq!(case.ok(&["cat", s(&file), "--before-change"]), "three");
}

#[test]
fn a_source_a_host_and_a_list() {
    let case = Case::new();
    case.write("a/x", "x");
    case.write("b/y", "y");
    case.write("b/new\nline", "z");
    case.snapshot();
    case.restore(0, &["--source", "thesis", "--at", "latest", "--to", s(&case.to("by-name"))]);
    assert_eq!(describe(&case.to("by-name/src")), describe(&case.src));
    case.restore(0, &["--source", s(&case.src), "--at", "latest", "--to", s(&case.to("by-path"))]);
    assert_eq!(describe(&case.to("by-path/src")), describe(&case.src));
    let told = case.restore(1, &["--source", "/no/such", "--at", "latest", "--to", s(&case.to("none"))]);
    assert!(told.contains("/no/such is no source") && told.contains(s(&case.src)), "{told}");
    // A whole host onto a bare tree.
    case.restore(0, &["--all", "--at", "latest", "--to", s(&case.to("bare"))]);
    let below = case.to("bare").join(case.src.strip_prefix("/").unwrap());
    assert_eq!(describe(&below), describe(&case.src));
    // Lists: by lines and by NUL bytes, at their full paths.
    let list = case.to("list");
    fs::write(&list, format!("{}\n\n{}\n", case.src.join("a/x").display(), case.src.join("b/y").display())).unwrap();
    case.restore(0, &["--files-from", s(&list), "--at", "latest", "--to", s(&case.to("lines")), "--full-paths"]);
    let below = case.to("lines").join(case.src.strip_prefix("/").unwrap());
    assert_eq!((text(&below.join("a/x")), text(&below.join("b/y"))), ("x".into(), "y".into()));
    assert!(!below.join("b/new\nline").exists());
    assert_eq!(fs::metadata(below.join("a")).unwrap().mtime(), fs::metadata(case.src.join("a")).unwrap().mtime());
    fs::write(&list, format!("{}\0", case.src.join("b/new\nline").display())).unwrap();
    case.restore(0, &["--files-from", s(&list), "-0", "--at", "latest", "--to", s(&case.to("nul"))]);
    assert_eq!(text(&case.to("nul/new\nline")), "z");
    fs::write(&list, "\n").unwrap();
    assert!(
        case.restore(1, &["--files-from", s(&list), "--at", "latest", "--to", s(&case.to("e"))])
            .contains("lists no path")
    );
    // What has to be said, and what can't go together.
    for wrong in [
        &["--at", "latest", "--to", "x"][..],
        &["a", "--to", "x"],
        &["a", "--at", "latest"],
        &["a", "--all", "--at", "latest", "--to", "x"],
        &["a", "--at", "latest", "--before-change", "a", "--to", "x"],
        &["a", "--at", "latest", "--in-place", "--full-paths"],
        &["a", "--at", "latest", "--to", "x", "--map-path", "/a=/b"],
        &["a", "--at", "latest", "--to", "x", "--chmod", "z+r"],
        &["a", "--at", "latest", "--to", "x", "--map-owner", "no-such-user=0"],
        &["a", "--at", "latest", "--to", "x", "--map-owner", "1=2", "--map-owner", "1=3"],
    ] {
        case.restore(2, wrong);
    }
}

#[test]
fn owners_modes_and_paths_are_mapped() {
    let case = Case::new();
    let file = case.write("dir/file", "content");
    chown(&file, Some(4321), Some(1234)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4640)).unwrap();
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe1, 0x10, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16,
        0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    let named = case.write("dir/named", "for user 4321");
    rustix::fs::lsetxattr(&named, "system.posix_acl_access", &acl, rustix::fs::XattrFlags::empty()).unwrap();
    case.snapshot();
    let plain = case.restore(0, &[s(&case.src), "--at", "latest", "--to", s(&case.to("plain"))]);
    assert!(plain.contains("will belong to the user 4321") && plain.contains("--map-owner 4321=NAME"), "{plain}");
    let args = ["--map-owner", "4321=daemon", "--map-group", "all=7", "--chmod", "Fo+r,D0750"];
    let (src, out) = (s(&case.src).to_owned(), case.to("out"));
    let told = case.restore(0, &[&[src.as_str(), "--at", "latest", "--to", s(&out)], &args[..]].concat());
    assert!(!told.contains("4321"), "{told}");
    let meta = fs::metadata(out.join("src/dir/file")).unwrap();
    // The set-id bit was given for another owner.
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1, 7, 0o644));
    assert_eq!(fs::metadata(out.join("src/dir")).unwrap().mode() & 0o7777, 0o750);
    let mut value = [0; 100];
    let len = rustix::fs::lgetxattr(out.join("src/dir/named"), "system.posix_acl_access", &mut value[..]).unwrap();
    assert_eq!(&value[16..20], &[1, 0, 0, 0], "the user in the ACL: {:?}", &value[..len]);
    // Again, nothing is left to do: what is there is compared with what is to be there.
    let again = case.restore(0, &[&[src.as_str(), "--at", "latest", "--to", s(&out)], &args[..]].concat());
    assert!(again.contains("0 created, 0 replaced, 0 with other attributes"), "{again}");
    // Paths: in place, but elsewhere.
    let moved = format!("{}={}", case.src.join("dir").display(), case.to("new/place").display());
    case.restore(0, &[s(&case.src.join("dir")), "--at", "latest", "--in-place", "--map-path", &moved]);
    assert_eq!(text(&case.to("new/place/file")), "content");
    let told = case.restore(1, &[&src, "--at", "latest", "--in-place", "--map-path", &moved]);
    assert!(told.contains("is to go elsewhere, but lies in"), "{told}");
}

/// A file system that is gone with it.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: PathBuf, kind: &str, options: &str) -> Mounted {
        fs::create_dir_all(&at).unwrap();
        let status = Command::new("mount").args(["-t", kind, "-o", options, kind]).arg(&at).status().unwrap();
        assert!(status.success(), "mount {kind}");
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn what_a_file_system_can_not_hold_is_told_whole_before_anything_is_written() {
    let case = Case::new();
    case.write("one", &"1".repeat(3000));
    let file = case.write("with-note", "x");
    rustix::fs::lsetxattr(&file, "user.note", b"hello", rustix::fs::XattrFlags::empty()).unwrap();
    case.write("large", &"large ".repeat(1 << 20));
    case.snapshot();
    // No extended attributes there.
    let ram = Mounted::new(case.to("ram"), "ramfs", "mode=755");
    let told = case.restore(1, &[s(&case.src), "--at", "latest", "--to", s(&ram.0)]);
    assert!(told.contains("can't hold extended attributes of users") && told.contains("src/with-note"), "{told}");
    assert!(told.contains("--anyway") && told.contains("nothing was written"), "{told}");
    assert_eq!(fs::read_dir(&ram.0).unwrap().count(), 0);
    let told = case.restore(0, &[s(&case.src), "--at", "latest", "--to", s(&ram.0), "--dry-run"]);
    assert!(told.contains("can't hold") && told.contains("would have"), "{told}");
    let told = case.restore(3, &[s(&case.src), "--at", "latest", "--to", s(&ram.0), "--anyway"]);
    assert!(told.contains("user.note could not be set"), "{told}");
    assert_eq!(text(&ram.0.join("src/with-note")), "x");
    // No room, of bytes and of nodes, both at once.
    let small = Mounted::new(case.to("small"), "tmpfs", "size=1m,nr_inodes=3,mode=755");
    let told = case.restore(1, &[s(&case.src), "--at", "latest", "--to", s(&small.0), "--anyway"]);
    assert!(told.contains("bytes are needed") && told.contains("nodes are needed"), "{told}");
    assert_eq!(fs::read_dir(&small.0).unwrap().count(), 0);
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&small.0).status().unwrap();
    assert!(status.success());
    let json = case.ended(1, &["--json", "restore", s(&file), "--at", "latest", "--to", s(&small.0)]);
    assert!(json.contains("\"unmet\":\"writable\""), "{json}");
}

#[test]
fn what_is_replaced_is_kept_aside_until_it_is_dropped() {
    let case = Case::new();
    let file = case.write("dir/file", "one");
    let first = case.snapshot();
    // Not protected any more: no snapshot holds what is there now.
    case.ok(&["source", "remove", s(&case.src)]);
    fs::write(&file, "never captured").unwrap();
    case.write("dir/more/extra", "never captured either");
    fs::set_permissions(case.src.join("dir/more"), fs::Permissions::from_mode(0o751)).unwrap();
    let args = [s(&case.src), "--at", &first, "--in-place", "--delete"];
    case.restore(3, &args);
    assert_eq!(text(&file), "never captured");
    let told = case.restore(0, &[&args[..], &["--aside"]].concat());
    assert!(told.contains("what was replaced is kept in"), "{told}");
    assert_eq!(text(&file), "one");
    assert!(!case.src.join("dir/more").exists());
    let json = case.ok(&["--json", "aside", "list"]);
    let kept: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let dir = PathBuf::from(kept["dirs"][0].as_str().unwrap());
    assert_eq!(dir.parent(), case.src.parent());
    assert_eq!(text(&dir.join("src/dir/file")), "never captured");
    assert_eq!(text(&dir.join("src/dir/more/extra")), "never captured either");
    assert_eq!(fs::metadata(dir.join("src/dir/more")).unwrap().mode() & 0o777, 0o751);
    // Nothing to replace: nothing is kept.
    case.restore(0, &[&args[..], &["--aside"]].concat());
    assert_eq!(case.ok(&["--json", "aside", "list"]).lines().count(), 1);
    assert!(case.ended(1, &["aside", "drop", "nothing"]).contains("bygone aside list"));
    case.ok(&["aside", "drop", kept["id"].as_str().unwrap()]);
    assert!(!dir.exists());
    assert!(case.ok(&["aside", "list"]).contains("nothing is kept aside"));
}

#[test]
fn what_is_kept_aside_is_never_captured_nor_removed() {
    let case = Case::new();
    let file = case.write("dir/file", "one");
    let first = case.snapshot();
    fs::write(&file, "two").unwrap();
    case.restore(0, &[s(&file), "--at", &first, "--in-place", "--aside"]);
    let aside = fs::read_dir(case.src.join("dir")).unwrap().map(|e| e.unwrap().path());
    let aside =
        aside.into_iter().find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(".bygone-aside-")).unwrap();
    assert_eq!(text(&aside.join("file")), "two");
    let now = case.snapshot();
    assert!(!case.ok(&["find", ".bygone-aside-*", "--ever"]).contains("aside"));
    case.restore(0, &[s(&case.src), "--at", &now, "--in-place", "--delete"]);
    assert_eq!(text(&aside.join("file")), "two");
}

#[test]
fn a_stage_makes_a_whole_tree_atomic() {
    let case = Case::new();
    case.write("dir/file", "one");
    symlink("dir/file", case.src.join("link")).unwrap();
    let first = case.snapshot();
    let before = describe(&case.src);
    case.write("dir/file", "two, changed");
    case.write("extra", "extra");
    // Into a directory that is there: what was in it goes aside.
    let out = case.to("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "mine").unwrap();
    let told = case.restore(0, &[s(&case.src), "--at", &first, "--to", s(&out), "--stage"]);
    assert!(told.contains("what was replaced is kept in"), "{told}");
    assert_eq!(describe(&out.join("src")), before);
    assert!(!out.join("mine").exists());
    // Into one that is not.
    case.restore(0, &[s(&case.src), "--at", &first, "--to", s(&case.to("new")), "--stage"]);
    assert_eq!(describe(&case.to("new/src")), before);
    // In place, by another inode.
    let inode = fs::metadata(&case.src).unwrap().ino();
    case.restore(0, &[s(&case.src), "--at", &first, "--in-place", "--stage"]);
    assert_ne!(fs::metadata(&case.src).unwrap().ino(), inode);
    assert_eq!(describe(&case.src), before);
    let list = case.ok(&["--json", "aside", "list"]);
    let kept: Vec<serde_json::Value> = list.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(kept.len(), 2);
    assert_eq!(text(&Path::new(kept[0]["dirs"][0].as_str().unwrap()).join("out/mine")), "mine");
    assert_eq!(text(&Path::new(kept[1]["dirs"][0].as_str().unwrap()).join("src/extra")), "extra");
    case.ok(&["aside", "drop", "--all"]);
    assert_eq!(temporary(&case.dir), [""; 0]);
    // A part is damaged: nothing is put in place.
    let before = describe(&case.src);
    for pack in describe(&case.to("repo/packs")).into_keys() {
        let path = case.to("repo/packs").join(pack.trim_start_matches('/'));
        if path.is_file() {
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|b| *b = !*b);
            fs::write(&path, bytes).unwrap();
        }
    }
    let told = case.restore(1, &[s(&case.src), "--at", &first, "--in-place", "--stage"]);
    assert!(told.contains("nothing was put in place"), "{told}");
    assert_eq!(describe(&case.src), before);
    // A mount in it stays where it is.
    let _mounted = Mounted::new(case.src.join("dir"), "tmpfs", "size=1m");
    let told = case.restore(1, &[s(&case.src), "--at", &first, "--in-place", "--stage"]);
    assert!(told.contains("is mounted in it"), "{told}");
}

/// Runs it until it is killed while the tree is made.
fn killed(case: &Case, args: &[&str]) {
    for when in 1..100 {
        let mut command = Command::new("strace");
        let inject = format!("inject=fchown,fchownat:signal=SIGKILL:when={when}");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fchown,fchownat", "-e", &inject]);
        command.arg(env!("CARGO_BIN_EXE_bygone"));
        case.prepare(&mut command, args);
        assert!(!command.output().unwrap().status.success(), "{args:?} was killed");
        if !stages(case).is_empty() {
            return;
        }
    }
    panic!("it was never killed while the tree was made");
}

/// The directories in which trees are made, beside the source.
fn stages(case: &Case) -> Vec<PathBuf> {
    let all = fs::read_dir(&case.dir).unwrap().map(|e| e.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".bygone-stage-")).collect()
}

#[test]
fn a_stage_is_made_in_no_directory_but_its_own() {
    let case = Case::new();
    for n in 0..6 {
        case.write(&format!("dir/file-{n}"), &format!("content {n}"));
    }
    let first = case.snapshot();
    let before = describe(&case.src);
    case.write("dir/file-1", "changed");
    let args = ["restore", s(&case.src), "--at", &first, "--in-place", "--stage"];
    let victim = case.to("victim");
    fs::create_dir_all(victim.join("src/dir")).unwrap();
    fs::write(victim.join("src/dir/file-1"), "not to be touched").unwrap();
    let untouched = describe(&victim);
    killed(&case, &args);
    let [leftover] = &stages(&case)[..] else { panic!("{:?}", stages(&case)) };
    assert_eq!(fs::metadata(leftover).unwrap().mode() & 0o7777, 0o700);
    // Whoever owns the directory around it puts something else in its place: a link, or another directory.
    for plant in ["link", "dir"] {
        let leftover = stages(&case).into_iter().next().unwrap_or_else(|| panic!("{plant}: it is there"));
        fs::rename(&leftover, case.to("moved-away")).unwrap();
        match plant {
            "link" => symlink(&victim, &leftover).unwrap(),
            _ => fs::rename(&victim, &leftover).unwrap(),
        }
        case.write("dir/file-1", "changed");
        let told = case.ok(&args);
        assert!(plant == "link" || told.contains("is not what an earlier try had made"), "{told}");
        assert_eq!(describe(&case.src), before, "{plant}");
        match plant {
            "link" => fs::remove_file(&leftover).unwrap(),
            _ => fs::rename(&leftover, &victim).unwrap(),
        }
        assert_eq!(describe(&victim), untouched, "{plant}");
        fs::remove_dir_all(case.to("moved-away")).unwrap();
        assert!(stages(&case).is_empty(), "{plant}");
        case.ok(&["aside", "drop", "--all"]);
        if plant == "link" {
            case.write("dir/file-1", "changed");
            killed(&case, &args);
        }
    }
    // A link on the way to it is not followed.
    let (dir, other) = (case.src.clone(), case.to("other"));
    fs::rename(&dir, &other).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(other.join("dir/file-2"), "elsewhere").unwrap();
    symlink(other.join("dir"), dir.join("dir")).unwrap();
    let below = dir.join("dir/file-2");
    let told = case.ended(1, &["restore", s(&below), "--at", &first, "--in-place", "--stage"]);
    assert!(told.contains("a symbolic link is not followed"), "{told}");
    assert_eq!(text(&other.join("dir/file-2")), "elsewhere");
    assert!(case.ok(&["aside", "list"]).contains("nothing is kept aside"));
}

#[test]
fn what_is_left_in_a_stage_is_named_and_what_was_done_too() {
    let case = Case::new();
    case.write("dir/file", "one");
    case.write("dir/more", "more");
    let first = case.snapshot();
    let before = describe(&case.src);
    case.write("dir/file", "two, longer");
    let args = ["restore", s(&case.src), "--at", &first, "--in-place", "--stage"];
    killed(&case, &args);
    let stage = stages(&case).pop().unwrap();
    fs::write(stage.join("mine"), "of a user").unwrap();
    let told = case.ended(3, &args);
    assert!(told.contains(s(&stage)) && told.contains(&format!("{} is in place", case.src.display())), "{told}");
    assert!(told.contains("what was replaced is kept in"), "{told}");
    assert_eq!(describe(&case.src), before);
    assert_eq!(text(&stage.join("mine")), "of a user");
    assert_eq!(case.ok(&["--json", "aside", "list"]).lines().count(), 1);
    // A try that fails notes nothing that is not there.
    case.ok(&["aside", "drop", "--all"]);
    let status = Command::new("chattr").arg("+i").arg(&case.src).status().unwrap();
    if status.success() {
        let told = case.ended(1, &args);
        assert!(Command::new("chattr").arg("-i").arg(&case.src).status().unwrap().success());
        assert!(told.contains("cannot restore"), "{told}");
        assert!(case.ok(&["aside", "list"]).contains("nothing is kept aside"));
        case.ok(&args);
        assert_eq!(describe(&case.src), before);
    }
}

#[test]
fn what_is_in_another_directory_is_not_replaced_unasked() {
    let case = Case::new();
    case.write("dir/file", "captured");
    case.write("dir/same", "the same");
    let first = case.snapshot();
    let out = case.to("out");
    let args = [s(&case.src), "--at", &first, "--to", s(&out)];
    case.restore(0, &args);
    // What it has restored itself is no obstacle, nor is what lies beside.
    fs::write(out.join("src/dir/mine"), "mine").unwrap();
    fs::remove_file(out.join("src/dir/same")).unwrap();
    case.restore(0, &args);
    fs::write(out.join("src/dir/file"), "written since").unwrap();
    fs::remove_file(out.join("src/dir/same")).unwrap();
    let told = case.restore(1, &[&args[..], &["--anyway"]].concat());
    assert!(told.contains("1 file(s) there would be replaced") && told.contains("--overwrite"), "{told}");
    assert!(told.contains("out/src/dir/file: ") && told.contains("nothing was written"), "{told}");
    assert_eq!(text(&out.join("src/dir/file")), "written since");
    assert!(!out.join("src/dir/same").exists(), "nothing was written");
    let json = case.ended(1, &[&["--json", "restore"], &args[..]].concat());
    assert!(json.contains("\"unmet\":\"free\""), "{json}");
    let told = case.restore(0, &[&args[..], &["--dry-run"]].concat());
    assert!(told.contains("replace") && told.contains("out/src/dir/file"), "{told}");
    let told = case.restore(0, &[&args[..], &["--aside"]].concat());
    assert!(told.contains("what was replaced is kept in"), "{told}");
    assert_eq!(text(&out.join("src/dir/file")), "captured");
    let list = case.ok(&["--json", "aside", "list"]);
    let kept: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!(text(&Path::new(kept["dirs"][0].as_str().unwrap()).join("src/dir/file")), "written since");
    fs::write(out.join("src/dir/file"), "written again").unwrap();
    case.restore(0, &[&args[..], &["--overwrite"]].concat());
    assert_eq!(text(&out.join("src/dir/file")), "captured");
    assert_eq!(text(&out.join("src/dir/mine")), "mine");
    case.restore(2, &[s(&case.src), "--at", &first, "--in-place", "--overwrite"]);
}

#[test]
fn killed_at_any_point_the_same_command_goes_on_and_leaves_nothing_behind() {
    let case = Case::new();
    for n in 0..12 {
        case.write(&format!("d{}/file-{n}", n % 3), &format!("content {n} ").repeat(2000 * n));
    }
    fs::hard_link(case.src.join("d0/file-0"), case.src.join("d1/linked")).unwrap();
    let first = case.snapshot();
    let before = describe(&case.src);
    let mut killed = 0;
    for (call, whens) in
        [("renameat2", [1, 4, 9]), ("fchown,fchownat", [2, 7, 14]), ("mkdirat", [1, 2, 3]), ("pwrite64", [3, 9, 30])]
    {
        for (turn, when) in whens.into_iter().enumerate() {
            let stage = turn % 2 == 1;
            let out = case.to(&format!("out-{call}-{when}"));
            let mut args = vec!["restore", s(&case.src), "--at", &first, "--to", s(&out)];
            args.extend(stage.then_some("--stage"));
            let mut command = Command::new("strace");
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            command.arg(env!("CARGO_BIN_EXE_bygone"));
            case.prepare(&mut command, &args);
            killed += usize::from(!command.output().unwrap().status.success());
            assert!(!stage || !out.exists() || describe(&out.join("src")) == before, "a part is in place");
            case.ok(&args);
            assert_eq!(describe(&out.join("src")), before, "{call} {when}");
            assert_eq!(temporary(&case.dir), [""; 0], "{call} {when}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
    assert!(killed >= 8, "{killed} of 12 were killed");
    let notes =
        fs::read_dir(case.to("state")).unwrap().flat_map(|e| fs::read_dir(e.unwrap().path()).into_iter().flatten());
    let left: Vec<_> =
        notes.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n.starts_with("restoring-")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_restore_is_no_change_of_what_it_restores() {
    let case = Case::new();
    let file = case.write("dir/file", "good");
    case.snapshot();
    fs::write(&file, "bad, and longer").unwrap();
    case.snapshot();
    let undo = ["--before-change", s(&file), "--in-place"];
    case.restore(0, &undo);
    assert_eq!(text(&file), "good");
    // Again, to be sure; also when the state it made has been captured, and the directory is what is asked about.
    for turn in 0..3 {
        let told = case.restore(0, &undo);
        assert!(told.contains("to which the restore of") && told.contains(" 0 replaced"), "{told}");
        assert_eq!(text(&file), "good", "{turn}");
        assert_eq!(case.ok(&["cat", s(&file), "--before-change"]), "good");
        case.snapshot();
    }
    // A change after it is one: captured or not, what is before it is what the restore put there, which nothing else captured.
    fs::write(&file, "bad again").unwrap();
    case.snapshot();
    case.restore(0, &undo);
    assert_eq!(text(&file), "good");
    fs::write(&file, "worse").unwrap();
    case.restore(0, &undo);
    assert_eq!(text(&file), "good");
    fs::remove_file(&file).unwrap();
    case.restore(0, &undo);
    assert_eq!(text(&file), "good");
    // Two changes later the last one is meant.
    fs::write(&file, "better").unwrap();
    case.snapshot();
    fs::write(&file, "and bad").unwrap();
    case.snapshot();
    for _ in 0..2 {
        case.restore(0, &undo);
        assert_eq!(text(&file), "better");
    }
    // Other ways to restore in place are no change either.
    fs::write(&file, "bad, not captured").unwrap();
    case.restore(0, &[s(&file), "--at", "latest", "--in-place", "--aside"]);
    let now = text(&file);
    for how in [&["--stage"][..], &["--aside"], &[]] {
        case.restore(0, &[&undo[..], how].concat());
        assert_eq!(text(&file), now, "{how:?}");
    }
}

#[test]
fn a_killed_restore_of_what_was_before_a_change_goes_on_with_that() {
    let case = Case::new();
    let dir = case.src.join("many");
    let all = |content: &str| (0..40).for_each(|n| drop(case.write(&format!("many/{n}"), content)));
    all("good");
    case.snapshot();
    let before = describe(&dir);
    all("EVIL, and longer");
    case.snapshot();
    let undo = ["restore", "--before-change", s(&dir), "--in-place"];
    let mut mixed = 0;
    // What a killed one did may be captured before it goes on, and that may be killed too.
    for (when, is_captured) in [(12, false), (12, true), (4, false)] {
        let mut command = Command::new("strace");
        let inject = format!("inject=renameat,renameat2:signal=SIGKILL:when={when}");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat,renameat2", "-e", &inject]);
        command.arg(env!("CARGO_BIN_EXE_bygone"));
        case.prepare(&mut command, &undo);
        assert!(!command.output().unwrap().status.success());
        let good = (0..40).filter(|n| text(&dir.join(n.to_string())) == "good").count();
        mixed += usize::from(good > 0 && good < 40);
        if is_captured {
            case.snapshot();
        }
    }
    assert!(mixed > 0, "none was killed in the middle");
    let told = case.ok(&undo);
    assert!(told.contains("did not come to its end, and goes on"), "{told}");
    assert_eq!(describe(&dir), before);
    let told = case.ok(&undo);
    assert!(!told.contains("did not come to its end"), "{told}");
    assert_eq!(describe(&dir), before);
    assert_eq!(temporary(&dir), [""; 0]);
}

#[test]
fn a_lost_name_is_linked_to_the_file_that_still_stands() {
    let case = Case::new();
    let one = case.write("a", "one");
    let (hard, sub) = (case.src.join("hard"), case.src.join("sub/hard"));
    fs::create_dir(case.src.join("sub")).unwrap();
    fs::hard_link(&one, &hard).unwrap();
    fs::hard_link(&one, &sub).unwrap();
    let first = case.snapshot();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let stays = inode(&hard);
    fs::remove_file(&one).unwrap();
    let undo = ["--before-change", s(&one), "--in-place"];
    let told = case.restore(0, &undo);
    assert!(told.contains("0 created") && told.contains("1 linked"), "{told}");
    assert_eq!((inode(&one), inode(&sub)), (stays, stays));
    // Something else in its place goes, also where all names are restored, and the directory of one is missing.
    fs::remove_file(&one).unwrap();
    fs::write(&one, "another").unwrap();
    fs::remove_dir_all(case.src.join("sub")).unwrap();
    case.snapshot();
    let told = case.restore(0, &[s(&case.src), "--at", &first, "--in-place"]);
    assert!(!told.contains("of its own"), "{told}");
    assert_eq!((inode(&one), inode(&hard), inode(&sub)), (stays, stays, stays));
    // The other names lead to something else now: then it is a file of its own, and that is told.
    fs::remove_file(&one).unwrap();
    fs::write(&hard, "changed, and longer").unwrap();
    case.snapshot();
    let told = case.restore(0, &[s(&one), "--at", &first, "--in-place"]);
    assert!(told.contains("becomes a file of its own") && told.contains("1 created"), "{told}");
    assert_eq!((text(&one), text(&sub)), ("one".into(), "changed, and longer".into()));
}

#[test]
fn paths_that_were_not_there_are_all_named() {
    let case = Case::new();
    case.write("is", "is");
    case.snapshot();
    let (is, one, two) = (case.src.join("is"), case.src.join("one"), case.src.join("two"));
    let out = case.to("out");
    let args = [s(&one), s(&is), s(&two), "--at", "latest", "--to", s(&out)];
    let told = case.restore(1, &args);
    assert!(told.contains(s(&one)) && told.contains(s(&two)) && told.contains("--anyway"), "{told}");
    assert!(!out.exists());
    let told = case.restore(3, &[&args[..], &["--anyway"]].concat());
    assert!(told.contains(s(&one)) && told.contains(s(&two)), "{told}");
    assert_eq!(text(&out.join("is")), "is");
    let told = case.restore(1, &[s(&one), "--at", "latest", "--to", s(&out), "--anyway"]);
    assert!(told.contains("was not there at that time") && told.contains("bygone log"), "{told}");
    // Two of one name fit below their whole paths.
    case.write("d/is", "other");
    case.snapshot();
    let told = case.restore(1, &[s(&is), s(&case.src.join("d/is")), "--at", "latest", "--to", s(&out)]);
    assert!(told.contains("--full-paths"), "{told}");
}

#[test]
fn a_dry_run_counts_holes_as_the_restore_does() {
    let case = Case::new();
    let file = fs::File::create(case.src.join("sparse")).unwrap();
    file.set_len(50 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 3 << 20], 20 << 20).unwrap();
    drop(file);
    case.snapshot();
    let out = case.to("out");
    let args = ["--json", "restore", s(&case.src), "--at", "latest", "--to", s(&out)];
    let bytes = |told: &str, what: &str| {
        let lines = told.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.filter_map(|line| line[what]["bytes"].as_u64()).next_back().unwrap()
    };
    let would = bytes(&case.ok(&[&args[..], &["-n"]].concat()), "would");
    let done = bytes(&case.ok(&args), "done");
    assert_eq!(would, done);
    assert!(done < 10 << 20, "{done}");
}

#[test]
fn what_is_kept_aside_is_dropped_although_it_is_protected() {
    let case = Case::new();
    let file = case.write("file", "one");
    let first = case.snapshot();
    let undo = [s(&file), "--at", &first, "--in-place", "--aside"];
    let protect = |path: &Path| Command::new("chattr").arg("+i").arg(path).status().is_ok_and(|s| s.success());
    fs::write(&file, "two, and longer").unwrap();
    case.restore(0, &undo);
    let kept = |case: &Case| -> Vec<PathBuf> {
        let all = fs::read_dir(&case.src).unwrap().map(|e| e.unwrap().path());
        all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".bygone-aside-")).collect()
    };
    let at = kept(&case).pop().unwrap();
    fs::create_dir(at.join("dir")).unwrap();
    fs::write(at.join("dir/inside"), "").unwrap();
    if !protect(&at.join("dir/inside")) || !protect(&at.join("file")) {
        return eprintln!("not tested: nobody may protect a file here");
    }
    // One that can't be removed is named, and the others go.
    fs::write(&file, "three, the longest").unwrap();
    case.restore(0, &undo);
    let other = kept(&case).into_iter().find(|path| *path != at).unwrap();
    fs::create_dir(at.join("mounted")).unwrap();
    let mounted = Mounted::new(at.join("mounted"), "tmpfs", "size=1m");
    let told = case.ended(3, &["aside", "drop", "--all"]);
    assert!(told.contains(s(&at)) && told.contains("mounted"), "{told}");
    assert!(!other.exists());
    drop(mounted);
    case.ok(&["aside", "drop", "--all"]);
    assert!(kept(&case).is_empty());
    assert!(case.ok(&["aside", "list"]).contains("nothing is kept aside"));
}

#[test]
fn without_root_what_can_not_be_done_is_told_first() {
    let case = Case::new();
    let file = case.write("dir/file", "of root");
    chown(case.write("dir/mine", "of nobody"), Some(65534), Some(65534)).unwrap();
    case.snapshot();
    // Another user has the settings and the key; his state is his own.
    let home = case.to("home");
    fs::create_dir(&home).unwrap();
    let settings = text(&case.to("bygone.toml")).replace(s(&case.to("state")), s(&home.join("state")));
    fs::write(home.join("bygone.toml"), settings).unwrap();
    fs::copy(case.to("key"), home.join("key")).unwrap();
    for (path, mode) in [(case.dir.clone(), 0o755), (home.join("key"), 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let settings = text(&home.join("bygone.toml")).replace(s(&case.to("key")), s(&home.join("key")));
    fs::write(home.join("bygone.toml"), settings).unwrap();
    assert!(
        Command::new("chown").arg("-R").arg("65534:65534").arg(&home).arg(case.to("repo")).status().unwrap().success()
    );
    let bin = home.join("bygone");
    fs::copy(env!("CARGO_BIN_EXE_bygone"), &bin).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&bin);
        command.arg("--config").arg(home.join("bygone.toml")).arg("restore").args(args).args(["--host", &host(&case)]);
        command.env_clear().env("HOME", &home).stdin(Stdio::null());
        let out = command.output().unwrap();
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let out = home.join("out");
    let (status, told) = run(&[s(&case.src.join("dir")), "--at", "latest", "--to", s(&out)]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("this user may not make other owners") && told.contains("--map-owner"), "{told}");
    assert!(!out.exists());
    let (status, told) = run(&[
        s(&file),
        "--at",
        "latest",
        "--to",
        "/root/nowhere-of-mine",
        "--map-owner",
        "all=65534",
        "--map-group",
        "all=65534",
    ]);
    assert_eq!(status, Some(1), "{told}");
    let (status, told) = run(&[
        s(&case.src.join("dir")),
        "--at",
        "latest",
        "--to",
        s(&out),
        "--map-owner",
        "all=65534",
        "--map-group",
        "all=65534",
    ]);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(text(&out.join("dir/file")), "of root");
    let files: BTreeMap<_, _> = describe(&out);
    assert!(files.len() >= 3, "{files:?}");
    std::io::stderr().flush().unwrap();
}

fn host(case: &Case) -> String {
    let list = case.ok(&["--json", "list"]);
    let line: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    line["host"].as_str().unwrap().to_owned()
}
