//! The command line as a person meets it: what is printed, where, and the exit status.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// bygone with the settings `<dir>/bygone.toml`, and nothing from outside.
fn bygone(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("--config").arg(dir.join("bygone.toml")).args(args);
    command.env_clear().env("HOME", dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = bygone(dir, args).output().unwrap();
    // The directory's name differs from run to run.
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(dir.to_str().unwrap(), "DIR");
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a/below", "b"] {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn sources_are_added_listed_and_removed() {
    let dir = directory();
    let (dir, a, b) = (dir.path(), dir.path().join("a"), dir.path().join("b"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    assert_eq!(
        run(dir, &["source", "add", a, "--exclude", "*.o", "--include", "keep.o", "--one-file-system"]),
        (0, "DIR/a is protected from the next snapshot on\n".into(), String::new())
    );
    assert_eq!(run(dir, &["-q", "source", "add", b, "--ignore-cachedir-tag"]), (0, String::new(), String::new()));
    let listed = "DIR/a\n    exclude *.o\n    include keep.o\n    one file system\n\
                  DIR/b\n    with directories tagged as caches\n";
    assert_eq!(run(dir, &["source", "list"]), (0, listed.into(), String::new()));
    let (_, json, _) = run(dir, &["--json", "source", "list"]);
    let (_, checked, _) = run(dir, &["--json", "config", "check"]);
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert_eq!((&checked["sources"], checked["problems"].as_array().unwrap().len()), (&2.into(), 0));
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["path"], &first["exclude"][0]), (&"DIR/a".into(), &"*.o".into()));
    let (status, _, told) = run(dir, &["source", "add", &format!("{a}/below")]);
    assert_eq!(status, 1);
    assert!(told.starts_with("error: source DIR/a/below lies inside source DIR/a\n  to do: "), "{told}");
    assert_eq!(
        run(dir, &["config", "check"]),
        (0, "DIR/bygone.toml: no problems, 2 source(s)\n".into(), String::new())
    );
    assert_eq!(run(dir, &["source", "remove", a]).0, 0);
    let (status, _, told) = run(dir, &["source", "remove", a]);
    assert!(status == 1 && told.contains("has no source DIR/a"), "{told}");
    assert_eq!(std::fs::read_to_string(dir.join("bygone.toml")).unwrap().matches("[[source]]").count(), 1);
}

#[test]
fn links_are_followed_and_relative_paths_completed() {
    let dir = directory();
    let dir = dir.path().canonicalize().unwrap();
    std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
    let done = bygone(&dir, &["source", "add", "link", "./b/"]).current_dir(&dir).output().unwrap();
    assert!(done.status.success());
    assert_eq!(run(&dir, &["source", "list"]).1, "DIR/a\nDIR/b\n");
    let done = bygone(&dir, &["source", "remove", "link", "b"]).current_dir(&dir).output().unwrap();
    assert!(done.status.success());
    assert_eq!(run(&dir, &["source", "list"]).1, "");
}

#[test]
fn a_wrong_configuration_is_told_with_its_place() {
    let dir = directory();
    let write = |text: &str| {
        let file = dir.path().join("bygone.toml");
        bygone::sys::durable::replace(&file, text.as_bytes(), 0o600).unwrap();
    };
    write("[capture]\nquick = 1\n");
    let (status, out, told) = run(dir.path(), &["config", "check"]);
    assert_eq!((status, told.as_str()), (1, ""));
    assert!(out.starts_with("DIR/bygone.toml:2:1: unknown field `quick`") && out.contains("\n  to do: "), "{out}");
    let (status, _, told) = run(dir.path(), &["source", "list"]);
    assert!(status == 1 && told.starts_with("error: DIR/bygone.toml:2:1: unknown field `quick`"), "{told}");
    assert!(told.ends_with("\n  to do: correct it there; bygone.toml(5) explains every setting\n"), "{told}");
    write("[capture]\nquick = 1\nlevel = \"a\"\n[[source]]\npath = \"b\"\n");
    let (_, out, _) = run(dir.path(), &["config", "check"]);
    let places: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("DIR/bygone.toml:")?.split(':').next()).collect();
    assert_eq!(places, ["2", "3", "5"], "{out}");
    let (_, _, told) = run(dir.path(), &["source", "list"]);
    assert!(told.contains("; `bygone config check` names the 2 other problem(s) too\n"), "{told}");
    write("[[source]]\npath = \"/nonexistent/x\"\n");
    let (status, out, told) = run(dir.path(), &["config", "check"]);
    assert_eq!((status, told.as_str()), (1, ""));
    assert!(out.starts_with("DIR/bygone.toml:2:8: source /nonexistent/x cannot be looked at"), "{out}");
    let (_, json, _) = run(dir.path(), &["config", "check", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["problems"][0]["line"], 2);
    write("[[notify]]\ncommand = \"/nonexistent/tell --all\"\n[[notify]]\nname = \"\"\ncommand = \"echo x | cat\"\n");
    let (status, out, _) = run(dir.path(), &["config", "check"]);
    assert!(status == 1 && out.matches("to do: ").count() == 1, "{out}");
    assert!(out.contains("[[notify]] notify-1: command: there is no program \"/nonexistent/tell\""), "{out}");
    write("[capture]\nlevel = 99\nthreads = 0\n[mount]\nzone = \"Mars/A\"\n[[source]]\npath = \"/nonexistent/x\"\n");
    let (status, out, _) = run(dir.path(), &["config", "check"]);
    let places: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("DIR/bygone.toml:")?.split(':').next()).collect();
    assert_eq!((status, places), (1, vec!["3", "2", "5", "7"]), "{out}");
    let (status, _, told) = run(dir.path(), &["source", "list"]);
    assert!(status == 1 && told.starts_with("error: DIR/bygone.toml:3:11: threads is from 1 to 256"), "{told}");
}

#[test]
fn a_socket_whose_path_is_too_long_is_a_problem_and_stops_nothing() {
    let dir = directory();
    let long = format!("{}/{}", dir.path().display(), "s".repeat(108));
    let text = format!(
        "repository = \"{0}/repo\"\nstate = \"{0}/state\"\n[key]\nfile = \"{0}/key\"\n[daemon]\nsocket = {long:?}\n",
        dir.path().display()
    );
    bygone::sys::durable::replace(&dir.path().join("bygone.toml"), text.as_bytes(), 0o600).unwrap();
    let (status, out, _) = run(dir.path(), &["config", "check"]);
    assert!(status == 1 && out.contains("DIR/bygone.toml:6:10: the socket ") && out.contains("in [daemon]"), "{out}");
    assert_eq!(run(dir.path(), &["init"]).0, 0);
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    assert_eq!(run(dir.path(), &["source", "add", source.to_str().unwrap()]).0, 0);
    assert_eq!(run(dir.path(), &["snapshot"]).0, 0);
    // What is missing is told with its own cure.
    std::fs::remove_file(dir.path().join("key")).unwrap();
    let (status, out, _) = run(dir.path(), &["health"]);
    assert!(status == 1 && out.contains("to do: put back the copy of the key"), "{out}");
}

#[test]
fn health_before_there_is_a_repository_says_so() {
    let dir = directory();
    let text = format!("repository = \"{0}/repo\"\nstate = \"{0}/state\"\n", dir.path().display());
    bygone::sys::durable::replace(&dir.path().join("bygone.toml"), text.as_bytes(), 0o600).unwrap();
    let (status, out, _) = run(dir.path(), &["health"]);
    assert!(status == 1 && out.contains("there is no repository yet; to do: make it with `bygone init`"), "{out}");
    assert!(!out.contains("bring back"), "{out}");
    // To look makes nothing.
    assert_eq!(run(dir.path(), &["config", "check"]).0, 0);
    assert!(!dir.path().join("repo").exists());
}

#[test]
fn the_check_of_the_settings_opens_the_repository() {
    let dir = directory();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(run(dir.path(), &["init", "--repo", &path("repo"), "--key-file", &path("key")]).0, 0);
    assert_eq!(run(dir.path(), &["config", "check"]).0, 0);
    // A key, and not that of this repository.
    let other = directory();
    let (repo, key) = (other.path().join("repo"), other.path().join("key"));
    let made = run(other.path(), &["init", "--repo", repo.to_str().unwrap(), "--key-file", key.to_str().unwrap()]);
    assert_eq!(made.0, 0, "{made:?}");
    std::fs::copy(&key, path("key")).unwrap();
    let (status, out, _) = run(dir.path(), &["config", "check"]);
    assert!(status == 1 && out.contains("to do: `bygone key list` shows what opens it"), "{out}");
}

#[test]
fn statuses_tell_usage_from_failure() {
    let dir = directory();
    assert_eq!(run(dir.path(), &["--version"]).0, 0);
    assert_eq!(run(dir.path(), &["no-such-command"]).0, 2);
    assert_eq!(run(dir.path(), &["source", "add", "/", "--exclude", "a["]).0, 2);
    let (status, _, told) = run(dir.path(), &["config", "check"]);
    assert_eq!((status, told.lines().next()), (1, Some("error: there is no configuration DIR/bygone.toml")));
    let (status, _, told) = run(dir.path(), &["--json", "config", "check"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &json["error"]), (1, &"there is no configuration DIR/bygone.toml".into()));
    for args in [&["--json", "no-such-command"][..], &["--json", "diff", "4m"], &["find", "x", "-0", "--json"]] {
        let (status, _, told) = run(dir.path(), args);
        let json: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
        assert!(
            status == 2 && json["error"].is_string() && json["hint"].as_str().unwrap().contains("Usage: "),
            "{told}"
        );
    }
    let (_, _, told) = run(dir.path(), &["completions", "--", "--json"]);
    assert!(told.starts_with("error: "), "an argument is no option: {told}");
    let wrong = bygone(dir.path(), &["source", "list"]).env("BYGONE_LOG", "a=b=c").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn what_init_says_of_the_settings_is_true() {
    let dir = directory();
    let at = |name: &str| dir.path().join(name);
    let text = format!(
        "repository = {:?}\nstate = {:?}\n[key]\nfile = {:?}\n[[source]]\npath = {:?}\n",
        at("r"),
        at("s"),
        at("k"),
        at("a")
    );
    std::fs::write(at("bygone.toml"), &text).unwrap();
    let (status, out, told) = run(dir.path(), &["init"]);
    assert_eq!((status, told.as_str()), (0, ""));
    assert!(out.contains("\nthe settings DIR/bygone.toml name both already, and stay as they are\n"), "{out}");
    assert!(out.ends_with("\nnext: `bygone snapshot` or `bygone watch` captures the 1 source(s) there\n"), "{out}");
    assert_eq!(std::fs::read_to_string(at("bygone.toml")).unwrap(), text);
    let (_, out, _) = run(dir.path(), &["--repo", at("r2").to_str().unwrap(), "init"]);
    assert!(out.contains("\nwrote the settings DIR/bygone.toml\n"), "{out}");
    std::fs::remove_file(at("bygone.toml")).unwrap();
    let (_, out, _) = run(dir.path(), &["--repo", at("r3").to_str().unwrap(), "init"]);
    assert!(out.contains("\nwrote the settings DIR/bygone.toml\nnext: `bygone source add DIRECTORY`"), "{out}");
}

#[test]
fn completions_of_every_shell() {
    let dir = directory();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (status, out, told) = run(dir.path(), &["completions", shell]);
        assert_eq!((status, told.as_str()), (0, ""));
        assert!(out.contains("snapshot") && out.contains("log-format"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let dir = directory();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = bygone(dir.path(), &["completions", "zsh"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn what_is_done_is_logged_and_said_as_json() {
    let dir = directory();
    let (shown, key) = (dir.path().to_str().unwrap(), dir.path().join("key"));
    std::fs::write(
        dir.path().join("bygone.toml"),
        format!("repository = \"{shown}/repo\"\nstate = \"{shown}/state\"\n"),
    )
    .unwrap();
    let (status, out, told) = run(dir.path(), &["--json", "init", "--key-file", key.to_str().unwrap()]);
    assert_eq!(status, 0, "{told}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["key"], serde_json::json!({ "file": "DIR/key" }));
    let a = dir.path().join("a");
    let (_, out, _) = run(dir.path(), &["--json", "source", "add", a.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["added"][0], &json["restart"]), (&"DIR/a".into(), &serde_json::json!([])));
    let (status, _, told) = run(dir.path(), &["-v", "snapshot"]);
    assert_eq!(status, 0, "{told}");
    for what in
        ["opened the repository DIR/repo (id ", "opened the index ", "capturing DIR/a", "captured DIR/a: snapshot 1"]
    {
        assert!(told.contains(what), "{what}: {told}");
    }
    let (_, _, told) = run(dir.path(), &["-vv", "snapshot"]);
    assert!(told.contains("writing journal/"), "{told}");
    assert_eq!(run(dir.path(), &["snapshot"]).2, "", "nothing of it is logged without -v");
}

#[test]
fn nothing_of_the_progress_stays_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("script is not installed: not checked");
        return;
    }
    let dir = directory();
    let (shown, program) = (dir.path().to_str().unwrap(), env!("CARGO_BIN_EXE_bygone"));
    std::fs::write(dir.path().join("a/file"), "x").unwrap();
    let text = format!(
        "repository = \"{shown}/repo\"\nstate = \"{shown}/state\"\n[key]\nfile = \"{shown}/key\"\n\
         [[source]]\npath = \"{shown}/a\"\n[[source]]\npath = \"{shown}/b\"\n"
    );
    std::fs::write(dir.path().join("bygone.toml"), text).unwrap();
    assert_eq!(run(dir.path(), &["init"]).0, 0);
    let line = format!("{program} --config {shown}/bygone.toml snapshot");
    let out = Command::new("script").args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").output().unwrap();
    let seen = String::from_utf8(out.stdout).unwrap();
    assert!(seen.contains("capturing"), "{seen:?}");
    // What is left of a line is what stands behind the last time it was cleared.
    let left: Vec<&str> = seen.lines().map(|l| l.rsplit("\x1b[2K").next().unwrap().trim()).collect();
    assert!(left.iter().all(|l| !l.contains("capturing")), "{left:?}");
    assert_eq!(left.iter().filter(|l| l.contains(" new, ")).count(), 2, "{left:?}");
}

/// An ordinary user: the first command as somebody who is not root, with the help of `fusermount3`.
#[test]
fn a_user_protects_mounts_and_copies_back() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::process::{Command, Stdio};
    if !rustix::process::geteuid().is_root() {
        eprintln!("every other test of a mount was run as an ordinary user already");
        return;
    }
    const NOBODY: u32 = 65534;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    // The program may lie where only root can go.
    let program = dir.join("bygone");
    std::fs::copy(env!("CARGO_BIN_EXE_bygone"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (home, mnt) = (dir.join("home"), dir.join("mnt"));
    for made in [&home, &home.join("documents"), &mnt] {
        std::fs::create_dir(made).unwrap();
        chown(made, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // In mounts of its own, where the device is open to everybody: elsewhere udev sees to that.
    let script = "case $(stat -c %a /dev/fuse) in *6) ;; *) mknod -m 666 \"$0/fuse\" c 10 229 && mount --bind \"$0/fuse\" \
                  /dev/fuse ;; esac && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$@\"";
    let as_user = |within: &[&str], program: &Path| {
        let mut command = Command::new(within[0]);
        command.args(&within[1..]).arg(program).env_clear().stdin(Stdio::null());
        command.env("HOME", &home).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command
    };
    std::fs::write(home.join("documents/thesis"), "first").unwrap();
    chown(home.join("documents/thesis"), Some(NOBODY), Some(NOBODY)).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut command = as_user(&["unshare", "--mount", "sh", "-c", script, dir.to_str().unwrap()], &program);
    command.arg("protect").arg(home.join("documents")).arg("--mount").arg(&mnt);
    let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let told = || std::fs::read_to_string(dir.join("log")).unwrap();
    let seen = mnt.join("@latest").join(home.join("documents/thesis").strip_prefix("/").unwrap());
    let pid = child.id().to_string();
    let there =
        ["nsenter", "--mount", "--target", &pid, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let read = || as_user(&there, "cat".as_ref()).arg(&seen).output().unwrap().stdout;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while read() != b"first" && std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let first = read();
    // Whatever was seen, it ends and nothing stays mounted.
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none(), "it ended by itself, {ended:?}: {}", told());
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(first, b"first", "{}", told());
    assert!(status.success(), "{}", told());
    for place in [".config/bygone/bygone.toml", ".local/state/bygone"] {
        assert!(home.join(place).exists(), "{place} is in the home: {}", told());
    }
}
