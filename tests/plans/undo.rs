//! Taking back: only what a step made, as it made it, where it made it; all else stays and is named.

use crate::runs::{read, run, world};
use std::path::Path;

/// A restore of `root` to `to`, then a line for a shell, then a step that fails.
fn plan(to: &str, line: &str) -> String {
    format!(
        r#"
[[step]]
name = "files"
kind = "restore"
paths = ["DIR/root"]
to = "{to}"
undo = "remove"
overwrite = true
[[step]]
name = "later"
kind = "command"
needs = ["files"]
shell = '''{line}'''
[[step]]
name = "fails"
kind = "command"
needs = ["later"]
run = ["false"]
"#
    )
}

fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn what_others_made_or_changed_stays_and_is_named() {
    let line = r#"
set -e; cd DIR/new/u3
echo mine >root/mynotes; mkdir -p root/sub/own; echo mine >root/sub/own/o
echo edit >>root/a
chown 12345 root/sub/b || true
touch -d @1 root/sub/c
"#;
    let world = world(&plan("DIR/new/u3", line));
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(err.contains("failed, not all rolled back") && err.contains("files: not all taken back: left: "), "{err}");
    for (name, why) in [
        ("root/mynotes", "the step did not make it"),
        ("root/sub/own", "the step did not make it"),
        ("root/a", "it is not as the step made it"),
    ] {
        let told = format!("left: {}, {why}", world.at("new/u3").join(name).display());
        assert!(err.contains(&told), "{told}: {err}");
    }
    let root = world.at("new/u3/root");
    assert_eq!(names(&root), ["a", "mynotes", "sub"]);
    // What only has another owner or time has the content that the step made.
    assert_eq!(names(&root.join("sub")), ["own"]);
    assert_eq!((read(&root.join("a")).as_str(), read(&root.join("sub/own/o")).as_str()), ("oneedit\n", "mine\n"));
    // Once the user has taken theirs, the rest goes too, with the directories above that were made.
    for path in [root.join("mynotes"), root.join("a"), root.join("sub/own/o")] {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::remove_dir(root.join("sub/own")).unwrap();
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    world.good(0, &["plan", "undo", &id]);
    assert!(!world.at("new").exists());
}

#[test]
fn a_link_above_that_leads_elsewhere_now_is_not_followed() {
    let line = "ln -sfn DIR/precious DIR/tolink";
    let world = world(&plan("DIR/tolink/sub", line));
    for dir in ["real", "precious/sub/root"] {
        std::fs::create_dir_all(world.at(dir)).unwrap();
    }
    std::fs::write(world.at("precious/sub/root/a"), "one").unwrap();
    std::os::unix::fs::symlink(world.at("real"), world.at("tolink")).unwrap();
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(err.contains("is another directory now than the one that was used"), "{err}");
    assert_eq!(read(&world.at("precious/sub/root/a")), "one");
    assert_eq!(read(&world.at("real/sub/root/a")), "one");
    // Back at its place, it is taken back.
    std::fs::remove_file(world.at("tolink")).unwrap();
    std::os::unix::fs::symlink(world.at("real"), world.at("tolink")).unwrap();
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    world.good(0, &["plan", "undo", &id]);
    assert!(names(&world.at("real")).is_empty());
}

#[test]
fn a_directory_that_was_swapped_for_another_or_for_a_link_is_left() {
    let line = "cd DIR/back/root; mv sub away; ln -s DIR/precious sub; mv a b; cp -p b a";
    let world = world(&plan("DIR/back", line));
    std::fs::create_dir(world.at("precious")).unwrap();
    for (name, text) in [("b", "two"), ("c", "three")] {
        std::fs::write(world.at("precious").join(name), text).unwrap();
    }
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert_eq!(names(&world.at("precious")), ["b", "c"], "{err}");
    assert_eq!(names(&world.at("back/root")), ["a", "away", "b", "sub"], "{err}");
    assert!(err.contains("root/a, it is not what the step made, but was put in its place"), "{err}");
}

#[test]
fn what_was_replaced_comes_back() {
    let world = world(&plan("DIR/back", "true"));
    std::fs::create_dir_all(world.at("back/root/sub")).unwrap();
    for (name, text) in [("root/a", "old a"), ("root/sub/b", "old b"), ("root/mine", "mine")] {
        std::fs::write(world.at("back").join(name), text).unwrap();
    }
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    let back = world.at("back");
    assert_eq!(read(&back.join("root/a")), "old a", "{err}");
    assert_eq!(read(&back.join("root/sub/b")), "old b", "{err}");
    assert_eq!(
        (names(&back), names(&back.join("root"))),
        (vec!["root".into()], vec!["a".into(), "mine".into(), "sub".into()])
    );
    assert_eq!(names(&back.join("root/sub")), ["b"]);
    // That the directories that were there have the attributes of then is told.
    let told = format!("left: {}, it was there before, and has the attributes", back.join("root").display());
    assert!(err.contains(&told), "{err}");
    let (out, _) = world.good(0, &["aside", "list"]);
    assert!(out.contains("nothing is kept aside"), "{out}");
}

#[test]
fn nothing_is_kept_aside_after_a_good_end() {
    let world = world(&plan("DIR/back", "ls -a DIR/back >DIR/meanwhile").replace("false", "true"));
    std::fs::create_dir_all(world.at("back/root")).unwrap();
    std::fs::write(world.at("back/root/a"), "old a").unwrap();
    world.good(0, &["plan", "run", "p", "--at", "latest"]);
    assert!(read(&world.at("meanwhile")).contains(".bygone-aside-"));
    assert_eq!((names(&world.at("back")), read(&world.at("back/root/a"))), (vec!["root".into()], "one".into()));
    let (out, _) = world.good(0, &["aside", "list"]);
    assert!(out.contains("nothing is kept aside"), "{out}");
}

#[test]
fn the_plan_of_a_run_that_was_changed_since_is_refused() {
    let world = world(
        &plan("DIR/back", "test -e DIR/go")
            .replace("[[step]]\nname = \"files\"", "on-failure = \"stop\"\n[[step]]\nname = \"files\""),
    );
    world.good(1, &["plan", "run", "p", "--at", "latest"]);
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    let copy = world.at("state/plans/runs").join(&id).join("p.toml");
    let text = read(&copy);
    std::fs::write(&copy, text.replace("test -e", "touch DIR/evil; test -e")).unwrap();
    for args in [["plan", "run", "--resume", &id].as_slice(), &["plan", "undo", &id]] {
        let (_, err) = world.good(1, args);
        assert!(err.contains(copy.to_str().unwrap()) && err.contains("is not the plan that it began with"), "{err}");
    }
    std::fs::write(&copy, text).unwrap();
    world.good(0, &["plan", "undo", &id]);
}

#[test]
fn a_time_out_ends_what_has_a_session_of_its_own_too() {
    let line = r#"
setsid sh -c 'echo $$ >DIR/pid1; exec sleep 100001' &
(setsid sh -c 'echo $$ >DIR/pid2; exec sleep 100002' &)
while ! [ -s DIR/pid1 ] || ! [ -s DIR/pid2 ]; do sleep 0.01; done
exec sleep 100003
"#;
    let text = plan("DIR/back", line).replace("name = \"later\"", "name = \"later\"\ntimeout = \"3s\"");
    let world = world(&text);
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(err.contains("its time-out"), "{err}");
    for name in ["pid1", "pid2"] {
        let pid = read(&world.at(name));
        let line = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        assert!(!line.contains("10000"), "{name} {pid} goes on: {line}");
    }
}
