//! `verify-tree` by the program: a directory that any tool made equals an instant, or each thing in which it does not is named.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Case {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    src: PathBuf,
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn special(path: &Path, kind: rustix::fs::FileType, rdev: u64) {
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::from_raw_mode(0o640), rdev).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Case {
    /// A captured tree with something of everything, and a copy of it as `cp -a` makes one.
    fn new() -> Case {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let case = Case { src: dir.join("src"), _temp: temp, dir };
        let settings = format!("repository = {:?}\nstate = {:?}\n", case.dir.join("repo"), case.dir.join("state"));
        fs::write(case.dir.join("bygone.toml"), settings).unwrap();
        fs::create_dir_all(case.src.join("a/b")).unwrap();
        let at = |name: &str| case.src.join(name);
        fs::write(at("a/small"), "small\n").unwrap();
        fs::write(at("a/empty"), "").unwrap();
        fs::write(at("large"), noise(9 << 20, 1)).unwrap();
        let sparse = File::create(at("sparse")).unwrap();
        sparse.set_len(300 << 20).unwrap();
        sparse.write_all_at(&noise(200_000, 2), 100 << 20).unwrap();
        fs::write(case.src.join(OsStr::from_bytes(b"bad \xff\n")), "b").unwrap();
        fs::hard_link(at("a/small"), at("a/b/other name")).unwrap();
        fs::hard_link(at("a/small"), at("third")).unwrap();
        fs::write(at("twin"), "small\n").unwrap();
        symlink("../nowhere", at("a/link")).unwrap();
        special(&at("fifo"), rustix::fs::FileType::Fifo, 0);
        xattr(&at("a/b"), "user.note", b"n");
        fs::set_permissions(at("a/b"), Permissions::from_mode(0o1750)).unwrap();
        if is_root() {
            special(&at("null"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
            std::os::unix::fs::chown(at("large"), Some(1234), Some(4321)).unwrap();
        }
        case.ok(&["init", "--key-file", case.dir.join("key").to_str().unwrap()]);
        case.ok(&["source", "add", case.src.to_str().unwrap()]);
        case.ok(&["snapshot"]);
        let copied = Command::new("cp").arg("-a").arg(&case.src).arg(case.copy()).status().unwrap();
        assert!(copied.success());
        case
    }

    fn copy(&self) -> PathBuf {
        self.dir.join("copy")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir.join("bygone.toml")).args(args);
        command.env_clear().env("HOME", &self.dir).env("TZ", "UTC").stdin(Stdio::null()).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", text(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Compares the copy with the newest instant.
    fn compare(&self, more: &[&str]) -> Output {
        let (copy, src) = (self.copy(), self.src.clone());
        let args = ["verify-tree", copy.to_str().unwrap(), "--at", "latest", "--path", src.to_str().unwrap()];
        self.run(&[&args, more].concat())
    }

    /// The copy equals it.
    fn equal(&self, more: &[&str]) -> String {
        let out = self.compare(more);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));
        text(&out)
    }

    /// The copy differs in exactly these lines.
    fn differs(&self, wanted: &[&str]) {
        let out = self.compare(&[]);
        assert_eq!(out.status.code(), Some(3), "{}", text(&out));
        let told = text(&out);
        let is_difference =
            |l: &&str| ["missing", "extra", "differs", "unread"].iter().any(|w| l.starts_with(&format!("{w} ")));
        let lines: Vec<&str> = told.lines().filter(is_difference).collect();
        assert_eq!(lines.len(), wanted.len(), "{told}");
        for (line, wanted) in lines.iter().zip(wanted) {
            assert!(line.contains(wanted), "{line} instead of {wanted}\n{told}");
        }
    }
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The time of the last modification of a directory is put back after something in it was changed.
fn keeping_time(dir: &Path, change: impl FnOnce()) {
    let was = fs::metadata(dir).unwrap().modified().unwrap();
    change();
    File::open(dir).unwrap().set_modified(was).unwrap();
}

#[test]
fn a_copy_by_another_tool_is_equal_and_a_restore_is() {
    let case = Case::new();
    let told = case.equal(&[]);
    assert!(told.contains("equal; the digest of the tree is "), "{told}");
    let (to, src) = (case.dir.join("to"), case.src.to_str().unwrap().to_owned());
    case.ok(&["restore", &src, "--at", "latest", "--to", to.to_str().unwrap()]);
    let restored = case.ok(&["verify-tree", to.join("src").to_str().unwrap(), "--at", "latest", "--path", &src]);
    let digest = |told: &str| told.split("tree is ").nth(1).unwrap().trim()[..64].to_owned();
    assert_eq!(digest(&told), digest(&restored));
    // Its own path is the default; a directory above the sources only leads to them.
    let own = case.ok(&["verify-tree", &src, "--at", "latest"]);
    assert_eq!(digest(&told), digest(&own));
    let above = case.dir.join("above");
    fs::create_dir_all(above.join("x")).unwrap();
    let parent = case.dir.to_str().unwrap();
    let out = case.run(&["verify-tree", above.to_str().unwrap(), "--at", "latest", "--path", parent]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out));
    assert!(text(&out).contains("missing  src\n") && text(&out).contains("extra    x\n"), "{}", text(&out));
}

#[test]
fn no_pack_is_read() {
    let case = Case::new();
    fs::remove_dir_all(case.dir.join("repo/packs")).unwrap();
    case.equal(&[]);
}

#[test]
fn each_difference_is_named() {
    let case = Case::new();
    let copy = case.copy();
    let at = |name: &str| copy.join(name);
    let was = fs::metadata(at("large")).unwrap().modified().unwrap();
    let large = File::options().read(true).write(true).open(at("large")).unwrap();
    let mut byte = [0];
    large.read_exact_at(&mut byte, 5 << 20).unwrap();
    large.write_all_at(&[!byte[0]], 5 << 20).unwrap();
    large.set_modified(was).unwrap();
    case.differs(&["large [content: was 9437184 bytes, is other bytes between "]);
    large.write_all_at(&byte, 5 << 20).unwrap();
    large.set_modified(was).unwrap();
    case.equal(&[]);
    // A byte in what was a hole.
    let was = fs::metadata(at("sparse")).unwrap().modified().unwrap();
    let sparse = File::options().write(true).open(at("sparse")).unwrap();
    sparse.write_all_at(&[1], 200 << 20).unwrap();
    sparse.set_modified(was).unwrap();
    case.differs(&["sparse [content: "]);
    sparse.write_all_at(&[0], 200 << 20).unwrap();
    sparse.set_modified(was).unwrap();
    case.equal(&[]);
    keeping_time(&copy, || fs::write(at("new"), "n").unwrap());
    keeping_time(&at("a"), || fs::remove_file(at("a/empty")).unwrap());
    case.differs(&["missing  a/empty", "extra    new"]);
    keeping_time(&copy, || fs::remove_file(at("new")).unwrap());
    keeping_time(&at("a"), || symlink("x", at("a/empty")).unwrap());
    case.differs(&["a/empty [type: was file, is symlink]"]);
}

#[test]
fn metadata_and_links_count() {
    let case = Case::new();
    let copy = case.copy();
    let at = |name: &str| copy.join(name);
    fs::set_permissions(at("a/b"), Permissions::from_mode(0o1755)).unwrap();
    xattr(&at("a/b"), "user.note", b"other");
    case.differs(&["a/b [mode: was 1750, is 1755; xattrs: was user.note=n, is user.note=other]"]);
    case.equal(&["--ignore", "mode,xattrs"]);
    fs::set_permissions(at("a/b"), Permissions::from_mode(0o1750)).unwrap();
    xattr(&at("a/b"), "user.note", b"n");
    // A name of its own, and one that is another file's.
    let time = fs::metadata(at("third")).unwrap().modified().unwrap();
    keeping_time(&at("a"), || {
        fs::remove_file(at("a/small")).unwrap();
        fs::write(at("a/small"), "small\n").unwrap();
        File::options().write(true).open(at("a/small")).unwrap().set_modified(time).unwrap();
    });
    keeping_time(&copy, || {
        fs::remove_file(at("twin")).unwrap();
        fs::hard_link(at("large"), at("twin")).unwrap();
    });
    case.differs(&[
        "a/small [links: was the same file as third, is another file]",
        "twin [links: was another file, is the same file as large]",
    ]);
    let out = case.compare(&["--ignore", "links"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out).contains("twin [content: was 6 bytes, is 9437184 bytes"), "{}", text(&out));
    File::open(at("a")).unwrap().set_modified(time).unwrap();
    assert!(text(&case.compare(&[])).contains("differs  a [times: was "));
}

#[test]
fn a_receipt_tells_and_can_not_be_altered() {
    let case = Case::new();
    let file = case.dir.join("receipt.json");
    let name = file.to_str().unwrap();
    let told = case.equal(&["--receipt", name]);
    assert!(told.contains("the receipt is "), "{told}");
    let receipt: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&receipt["equal"], &receipt["differences"]), (&Value::Bool(true), &Value::from(0)));
    assert_eq!(receipt["snapshots"][0]["snapshot"]["number"], 1);
    let checked = case.ok(&["verify-tree", "--check-receipt", name]);
    assert!(checked.starts_with("authentic: ") && checked.contains("snapshot 1, which is there"), "{checked}");
    assert!(case.compare(&["--receipt", name]).status.code() == Some(1), "a receipt is never replaced");
    let altered = fs::read_to_string(&file).unwrap().replace("\"differences\": 0", "\"differences\": 1");
    fs::write(case.dir.join("altered.json"), altered).unwrap();
    let out = case.run(&["verify-tree", "--check-receipt", case.dir.join("altered.json").to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    // Whoever reads the first of two members of one name would read another receipt.
    let twice = fs::read_to_string(&file).unwrap().replacen('{', "{\n  \"equal\": false,", 1);
    fs::write(case.dir.join("twice.json"), twice).unwrap();
    let doubled = case.run(&["verify-tree", "--check-receipt", case.dir.join("twice.json").to_str().unwrap()]);
    assert_eq!(doubled.status.code(), Some(1));
    assert!(text(&doubled).contains("stands twice"), "{}", text(&doubled));
    assert!(text(&out).contains("its authentication is wrong"), "{}", text(&out));
    for wrong in ["", "[]", "{}", "{\"authentication\":1,\"receipt\":1}", &"[".repeat(100_000)] {
        fs::write(case.dir.join("wrong.json"), wrong).unwrap();
        let out = case.run(&["verify-tree", "--check-receipt", case.dir.join("wrong.json").to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    }
    let other = Case::new();
    let out = other.run(&["verify-tree", "--check-receipt", name]);
    assert!(out.status.code() == Some(1) && text(&out).contains("it is of the repository "), "{}", text(&out));
    let trail = case.ok(&["audit", "show"]);
    assert!(trail.contains("verify-tree done"), "{trail}");
}

#[test]
fn json_names_everything_and_errors_say_what_to_do() {
    let case = Case::new();
    fs::remove_file(case.copy().join("twin")).unwrap();
    fs::write(case.copy().join(OsStr::from_bytes(b"bad \xff\n")), "c").unwrap();
    let copy = case.copy();
    let args =
        ["--json", "verify-tree", copy.to_str().unwrap(), "--at", "latest", "--path", case.src.to_str().unwrap()];
    let out = case.run(&args);
    assert_eq!(out.status.code(), Some(3));
    let lines: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |what: &str| lines.iter().filter(|l| l["what"] == what).count();
    assert_eq!((of("missing"), of("differs")), (1, 2), "{lines:?}");
    assert!(lines.iter().any(|l| l["path"]["bytes_base64"].is_string()), "{lines:?}");
    assert_eq!(lines.last().unwrap()["equal"], false);
    let out = case.run(&["verify-tree", copy.to_str().unwrap(), "--at", "latest"]);
    assert!(out.status.code() == Some(1) && text(&out).contains("--path"), "{}", text(&out));
    let file = case.src.join("large");
    let out = case.run(&["verify-tree", copy.to_str().unwrap(), "--at", "latest", "--path", file.to_str().unwrap()]);
    assert!(out.status.code() == Some(1) && text(&out).contains("was no directory"), "{}", text(&out));
    assert_eq!(case.run(&["verify-tree", copy.to_str().unwrap()]).status.code(), Some(2));
    assert!(fs::metadata(copy.join("large")).unwrap().size() > 0);
}
