//! Runs: what they do, how they end, and that they go on from where they were cut off.

use crate::world::World;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A source with some files and one snapshot of it, and a plan.
pub(crate) fn world(plan: &str) -> World {
    let world =
        World::new("[[source]]\npath = \"DIR/root\"\n[[notify]]\nname = \"file\"\ncommand = \"cat >>DIR/told\"\n");
    std::fs::create_dir(world.at("root/sub")).unwrap();
    for (name, text) in [("a", "one"), ("sub/b", "two"), ("sub/c", "three")] {
        std::fs::write(world.at("root").join(name), text).unwrap();
    }
    world.snapshot(&[]);
    std::fs::create_dir(world.at("plans")).unwrap();
    write(&world, plan);
    world
}

fn write(world: &World, plan: &str) {
    std::fs::write(world.at("plans/p.toml"), plan.replace("DIR", world.path().to_str().unwrap())).unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The newest run.
pub(crate) fn run(world: &World) -> Value {
    let (out, _) = world.good(0, &["--json", "plan", "runs"]);
    lines(&out).pop().expect("there is a run")
}

fn steps(run: &Value) -> Vec<String> {
    let step = |s: &Value| format!("{} {}", s["step"].as_str().unwrap(), s["ended"].as_str().unwrap());
    run["steps"].as_array().unwrap().iter().map(step).collect()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A run that goes on in the background, and ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(world: &World, args: &[&str]) -> Ended {
    Ended(world.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

const FILES: &str = r#"
[input.to]
type = "path"
default = "DIR/back"
[input.greet]
type = "yes-no"
default = "no"
[input.seen]
[[step]]
name = "files"
kind = "restore"
paths = ["DIR/root"]
to = "${to}"
undo = "remove"
[[step]]
name = "count"
kind = "command"
needs = ["files"]
shell = 'find "$to" -type f | wc -l; echo "$BYGONE_STEP of $BYGONE_PLAN at $at" >&2'
sets = "seen"
[[step]]
name = "same"
kind = "check"
needs = ["files"]
same = "DIR/root"
here = "${to}/root"
[[step]]
name = "three"
kind = "check"
needs = ["count"]
run = ["echo", "${seen} files"]
prints = "3 files"
[[step]]
name = "greet"
kind = "command"
needs = ["same"]
when = ["input greet is yes"]
run = ["false"]
[[step]]
name = "tell"
kind = "notify"
needs = ["greet", "three"]
channel = "file"
message = "Back at ${to}."
"#;

#[test]
fn steps_run_by_their_needs_and_all_of_it_is_told_and_recorded() {
    let world = world(FILES);
    let (out, _) = world.good(0, &["plan", "run", "p", "--at", "latest", "--dry-run"]);
    assert!(out.contains("files: restore, 3 file(s), 11 B, time not measured yet"), "{out}");
    assert!(out.contains("greet: command, skipped: the condition \"input greet is yes\" does not hold"), "{out}");
    assert!(!world.at("back").exists() && !world.at("state/plans/runs").exists(), "a dry run writes nothing");

    let (out, _) = world.good(0, &["plan", "run", "p", "--at", "latest"]);
    assert!(out.contains("files: done in ") && out.contains("3 file(s), 11 B"), "{out}");
    assert!(out.contains("done: 6 step(s), took "), "{out}");
    assert_eq!(read(&world.at("back/root/sub/b")), "two");
    let told = read(&world.at("told"));
    assert!(told.contains("\"event\":\"plan\"") && told.contains("Back at "), "{told}");
    let run = run(&world);
    let mut all = steps(&run);
    assert_eq!(all.remove(0), "files done");
    assert!(all.contains(&"greet skipped".to_owned()) && all[4] == "tell done", "{all:?}");
    assert_eq!((run["inputs"]["seen"].as_str(), run["over"].as_str()), (Some("3"), Some("done")));

    // The next estimate is made of what was measured, and is compared with the fact.
    let (out, _) = world.good(0, &["--json", "plan", "run", "p", "--at", "latest", "--set", "to=/nowhere/x", "-n"]);
    let would = &lines(&out)[0];
    assert!(would["would"]["steps"]["files"]["takes_ms"].is_u64(), "{would}");
    let to = format!("to={}", world.at("second").display());
    let (out, _) = world.good(0, &["plan", "run", "p", "--at", "latest", "--set", &to]);
    assert!(out.contains("; estimated "), "{out}");
    let (out, _) = world.good(0, &["--json", "audit", "show", "--kind", "plan-run"]);
    let entries: Vec<Value> = lines(&out).into_iter().map(|mut line| line["entry"].take()).collect();
    let outcomes: Vec<&str> = entries.iter().map(|e| e["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["begun", "done", "begun", "done"], "{out}");
    let last = entries.last().unwrap();
    assert_eq!(last["subject"]["plan"], "p");
    assert!(
        last["details"]["steps"].as_array().unwrap().len() == 6 && last["details"]["estimated_ms"].is_u64(),
        "{last}"
    );
    world.good(0, &["audit", "verify"]);
}

#[test]
fn inputs_are_asked_for_and_looked_at() {
    let world = world(FILES);
    for (set, told) in [
        ("nope=1", "no input \"nope\""),
        ("to=x", "no absolute path"),
        ("greet=maybe", "neither yes nor no"),
        ("x", "has no ="),
    ] {
        let (_, err) = world.good(2, &["plan", "run", "p", "--at", "latest", "--set", set]);
        assert!(err.contains(told), "{set}: {err}");
    }
    world.good(2, &["plan", "run", "p"]);
    world.good(2, &["plan", "run", "p", "--at", "soonish"]);
    write(&world, "[input.must]\n[[step]]\nname = \"a\"\nkind = \"command\"\nrun = [\"true\", \"${must}\"]\n");
    let (_, err) = world.good(2, &["plan", "run", "p", "--at", "latest"]);
    assert!(err.contains("the input must is missing"), "{err}");
    world.good(0, &["plan", "run", "p", "--at", "latest", "--set", "must=it's $(touch DIR)"]);
}

#[test]
fn a_failure_takes_back_what_was_made_in_reverse_order() {
    let plan = r#"
[[step]]
name = "first"
kind = "command"
shell = "echo first >>DIR/log"
undo-shell = "echo undo first >>DIR/log"
[[step]]
name = "files"
kind = "restore"
needs = ["first"]
paths = ["DIR/root/sub", "DIR/root/a"]
to = "DIR/back"
undo = "remove"
[[step]]
name = "stubborn"
kind = "command"
needs = ["files"]
shell = "echo stubborn >>DIR/log"
undo-run = ["false"]
[[step]]
name = "fails"
kind = "command"
needs = ["stubborn"]
shell = "echo try >>DIR/log; echo why not >&2; exit 5"
retries = 2
retry-after = "10ms"
undo-shell = "echo undo fails >>DIR/log"
[[step]]
name = "never"
kind = "command"
needs = ["fails"]
shell = "touch DIR/never"
"#;
    let world = world(plan);
    std::fs::create_dir(world.at("back")).unwrap();
    std::fs::write(world.at("back/mine"), "mine").unwrap();
    let (out, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(out.contains("fails: failed, and is tried again: it ended with status 5; it said: why not"), "{out}");
    assert!(err.contains("failed, not all rolled back: the step fails failed: it ended with status 5"), "{err}");
    assert!(err.contains("stubborn: not taken back: it ended with status 1"), "{err}");
    assert_eq!(read(&world.at("log")), "first\nstubborn\ntry\ntry\ntry\nundo fails\nundo first\n");
    assert!(!world.at("never").exists());
    let left: Vec<_> = std::fs::read_dir(world.at("back")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"], "only what the step made is gone");
    assert_eq!(run(&world)["over"], "failed, not all rolled back");
    // It is over: there is nothing to be resumed, and the next run begins.
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    let (_, err) = world.good(1, &["plan", "run", "--resume", &id]);
    assert!(err.contains("is over"), "{err}");
}

#[test]
fn a_run_that_stands_still_goes_on_when_the_cause_is_mended() {
    let plan = r#"
on-failure = "stop"
[[step]]
name = "once"
kind = "command"
shell = "echo once >>DIR/log"
undo-shell = "echo undo once >>DIR/log"
[[step]]
name = "needs-it"
kind = "check"
needs = ["once"]
exists = ["DIR/mended"]
[[step]]
name = "last"
kind = "command"
needs = ["needs-it"]
shell = "echo last >>DIR/log"
"#;
    let world = world(plan);
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(err.contains("the run has stopped: the step needs-it failed") && err.contains("--resume"), "{err}");
    let (_, err) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(err.contains("has not come to its end") && err.contains("--anew"), "{err}");
    std::fs::write(world.at("mended"), "").unwrap();
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    world.good(0, &["plan", "run", "--resume", &id]);
    assert_eq!(read(&world.at("log")), "once\nlast\n");
    // The same again, and given up; and taken back by hand.
    std::fs::remove_file(world.at("mended")).unwrap();
    world.good(1, &["plan", "run", "p", "--at", "latest"]);
    world.good(1, &["plan", "run", "p", "--at", "latest", "--anew"]);
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    let (out, _) = world.good(0, &["plan", "undo", &id]);
    let (_, told) = world.good(1, &["plan", "undo", &id]);
    assert!(told.contains("can't be taken back") && told.contains("--before-change"), "{told}");
    assert!(!told.contains("anew"), "{told}");
    assert!(out.contains("rolling back, since somebody asked to take it back"), "{out}");
    assert!(out.ends_with(" is taken back: 1 step(s)\n"), "{out}");
    assert!(read(&world.at("log")).ends_with("once\nonce\nundo once\n"), "{}", read(&world.at("log")));
}

const SLOW: &str = r#"
[[step]]
name = "once"
kind = "command"
shell = "echo once >>DIR/log"
[[step]]
name = "files"
kind = "restore"
paths = ["DIR/root"]
to = "DIR/back"
[[step]]
name = "slow"
kind = "command"
needs = ["once", "files"]
shell = "echo slow >>DIR/log; while ! [ -e DIR/go ]; do sleep 0.05; done; echo through >>DIR/log"
[[step]]
name = "last"
kind = "command"
needs = ["slow"]
shell = "echo last >>DIR/log"
"#;

#[test]
fn a_killed_run_goes_on_from_the_last_step_that_was_over() {
    let world = world(SLOW);
    let mut running = start(&world, &["plan", "run", "p", "--at", "latest"]);
    until("the slow step runs", || read(&world.at("log")).contains("slow\n"));
    let busy = run(&world);
    let id = busy["run"].as_str().unwrap().to_owned();
    assert!(busy["standing"].as_str().unwrap().starts_with("runs, process "), "{busy}");
    let (_, err) = world.good(1, &["plan", "run", "--resume", &id]);
    assert!(err.contains("is going on: process "), "{err}");
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    assert_eq!(run(&world)["standing"], "interrupted");
    // What the killed one has started may go on for a moment: it is not the run's any more.
    std::fs::write(world.at("go"), "").unwrap();
    until("it is through", || read(&world.at("log")).contains("through"));
    world.good(0, &["plan", "run", "--resume", &id]);
    let log = read(&world.at("log"));
    assert_eq!(log.matches("once").count(), 1, "{log}");
    assert_eq!(log.matches("slow").count(), 2, "a step that was cut off is begun again: {log}");
    assert_eq!(log.matches("last").count(), 1, "{log}");
    assert_eq!(run(&world)["over"], "done");
}

#[test]
fn a_run_that_is_stopped_ends_its_steps_and_goes_on_later() {
    for by_command in [true, false] {
        let world = world(&SLOW.replace("name = \"slow\"", "name = \"slow\"\nagain = false"));
        let mut running = start(&world, &["plan", "run", "p", "--at", "latest"]);
        until("the slow step runs", || read(&world.at("log")).contains("slow\n"));
        let id = run(&world)["run"].as_str().unwrap().to_owned();
        match by_command {
            true => drop(world.good(0, &["plan", "stop", &id])),
            false => {
                let signalled = std::process::Command::new("kill").args(["-INT", &running.0.id().to_string()]).status();
                assert!(signalled.unwrap().success());
            }
        }
        assert_eq!(running.0.wait().unwrap().code(), Some(1));
        let stopped = run(&world);
        assert_eq!(stopped["half_done"], serde_json::json!(["slow"]), "{stopped}");
        std::fs::write(world.at("go"), "").unwrap();
        let (_, err) = world.good(1, &["plan", "run", "--resume", &id]);
        assert!(err.contains("the step slow was cut off in the middle") && err.contains("--passed slow"), "{err}");
        let choice = if by_command { "--again" } else { "--passed" };
        world.good(0, &["plan", "run", "--resume", &id, choice, "slow"]);
        let log = read(&world.at("log"));
        assert_eq!(log.matches("through").count(), usize::from(by_command), "{log}");
        assert!(log.ends_with("last\n"), "{log}");
    }
}

#[test]
fn a_time_out_ends_a_step_and_what_may_fail_lets_others_go_on() {
    let plan = r#"
[[step]]
name = "slow"
kind = "command"
shell = "sleep 1000 & echo $! >DIR/pid; wait"
timeout = "300ms"
may-fail = true
[[step]]
name = "port"
kind = "wait"
port = "DIR/no-socket"
every = "20ms"
timeout = "200ms"
may-fail = true
[[step]]
name = "instead"
kind = "command"
needs = ["slow"]
when = ["step slow is failed"]
shell = "echo instead >DIR/log"
[[step]]
name = "not"
kind = "command"
needs = ["slow"]
when = ["step slow is done"]
shell = "echo not >DIR/log"
[[step]]
name = "ready"
kind = "wait"
needs = ["instead"]
shell = "test -e DIR/log"
every = "10ms"
"#;
    let world = world(plan);
    let (out, _) = world.good(3, &["plan", "run", "p", "--at", "latest"]);
    assert!(out.contains("slow: failed after ") && out.contains("its time-out"), "{out}");
    assert!(out.contains("port: failed after ") && out.contains("it did not end within 200ms, its time-out"), "{out}");
    assert!(out.contains("done in part: 5 step(s)"), "{out}");
    assert_eq!(read(&world.at("log")), "instead\n");
    let pid = read(&world.at("pid"));
    until("the whole group is ended", || !Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn a_person_confirms_or_nobody_is_waited_for() {
    let plan = "[[step]]\nname = \"look\"\nkind = \"manual\"\nask = \"Look at it.\"\n";
    let world = world(plan);
    let (out, _) = world.good(1, &["plan", "run", "p", "--at", "latest"]);
    assert!(out.contains("nobody is here to confirm it"), "{out}");
    world.good(0, &["plan", "run", "p", "--at", "latest", "--yes-manual"]);
    write(&world, &format!("{plan}timeout = \"100s\"\n"));
    let mut running = start(&world, &["plan", "run", "p", "--at", "latest"]);
    until("it waits", || !run(&world)["half_done"].as_array().unwrap().is_empty());
    let id = run(&world)["run"].as_str().unwrap().to_owned();
    let (_, err) = world.good(2, &["plan", "confirm", &id, "other"]);
    assert!(err.contains("its manual steps are: look"), "{err}");
    world.good(0, &["plan", "confirm", &id, "look"]);
    assert!(running.0.wait().unwrap().success());
    assert!(run(&world)["steps"][0]["told"].as_str().unwrap().starts_with("confirmed by "));
}

#[test]
fn checks_open_things_and_say_what_is_wrong() {
    let world = world("");
    std::fs::write(world.at("bad.db"), [b"SQLite format 3\0".as_slice(), &[0xab; 4096]].concat()).unwrap();
    let sum = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    std::fs::write(world.at("foo"), "foo").unwrap();
    std::fs::create_dir_all(world.at("copy/sub")).unwrap();
    std::fs::write(world.at("copy/a"), "One").unwrap();
    let check = |what: &str| {
        write(&world, &format!("[[step]]\nname = \"c\"\nkind = \"check\"\n{what}\n"));
        let (status, out, err) = world.run(&["plan", "run", "p", "--at", "latest"]);
        (status, format!("{out}{err}"))
    };
    let good = |what: &str| assert_eq!(check(what).0, 0, "{what}");
    let bad = |what: &str, told: &str| {
        let (status, out) = check(what);
        assert!(status == 1 && out.contains(told), "{what}: {out}");
    };
    good("exists = [\"DIR/foo\"]");
    bad("exists = [\"DIR/foo\", \"DIR/none\"]", "none: No such file");
    good(&format!("file = \"DIR/foo\"\nhash = \"sha256:{sum}\""));
    bad(&format!("file = \"DIR/root/a\"\nhash = \"sha256:{sum}\""), "has the hash sha256:");
    bad("sqlite = [\"DIR/bad.db\"]", "bad.db: SQLite can't read it");
    bad("sqlite = [\"DIR/root\"]", "there is no SQLite database in");
    good("same = \"DIR/root\"\nhere = \"DIR/root\"");
    std::fs::set_permissions(world.at("copy"), std::fs::metadata(world.at("root")).unwrap().permissions()).unwrap();
    bad("same = \"DIR/root\"\nhere = \"DIR/copy\"", "copy/a: its content is another, from byte 0 on");
    bad("same = \"DIR/root\"\nhere = \"DIR/copy\"", "copy/sub/b: it is missing");
    good("shell = \"echo hi\"\nprints = \"hi\"");
    bad("shell = \"echo ho\"\nprints = \"hi\"", "it printed \"ho\", and not \"hi\"");
    bad("query = \"select 1\"\nconnection = \"host=DIR port=1\"", "the server does not answer");
}

#[test]
fn a_restore_in_place_captures_first_and_removes_what_was_not_there() {
    let plan =
        "[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nin-place = true\ndelete = true\n";
    let world = world(plan);
    let (out, _) = world.good(0, &["--json", "list"]);
    let first = lines(&out)[0]["time"].as_str().unwrap().to_owned();
    std::fs::write(world.at("root/a"), "changed and never captured").unwrap();
    std::fs::write(world.at("root/extra"), "extra").unwrap();
    world.good(0, &["plan", "run", "p", "--at", &first]);
    assert_eq!(read(&world.at("root/a")), "one");
    assert!(!world.at("root/extra").exists());
    let (out, _) = world.good(0, &["--json", "list"]);
    let between = lines(&out).last().unwrap()["time"].as_str().unwrap().to_owned();
    assert_eq!(world.cat(&world.at("root/a"), &between), b"changed and never captured");
}
