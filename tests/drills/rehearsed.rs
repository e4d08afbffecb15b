//! Directories: what comes back, that nobody else sees it, what a failure is, and what is left.

use crate::world::World;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A file of the plans that come with the program.
pub(crate) fn ready(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/plans");
    dir.join(format!("{name}.toml")).to_str().unwrap().to_owned()
}

/// Drills take root and overlays.
pub(crate) fn can_drill() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    eprintln!("not tested: a drill takes root");
    false
}

/// Runs a drill, and gives its report.
pub(crate) fn drill(world: &World, status: i32, args: &[&str]) -> Value {
    let args: Vec<&str> = ["--json", "drill", "run"].into_iter().chain(args.iter().copied()).collect();
    let (out, told) = world.good(status, &args);
    let last = out.lines().last().unwrap_or_else(|| panic!("{told}"));
    let report: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {out}{told}"));
    assert!(report["drill"].is_string(), "{out}{told}");
    report
}

/// Nothing of a drill stays but its reports.
pub(crate) fn is_gone(world: &World) {
    for entry in std::fs::read_dir(world.at("state/drills")).unwrap() {
        let dir = entry.unwrap().path();
        for name in ["scratch", "room", "plans"] {
            assert!(!dir.join(name).exists(), "{}", dir.join(name).display());
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.path().to_str().unwrap()), "{mounts}");
}

fn write(world: &World, plan: &str) {
    std::fs::create_dir_all(world.at("plans")).unwrap();
    std::fs::write(world.at("plans/p.toml"), plan.replace("DIR", world.path().to_str().unwrap())).unwrap();
}

fn files(world: &World) -> PathBuf {
    let root = world.at("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    for n in 0..40u8 {
        std::fs::write(root.join(format!("sub/file-{n}")), vec![n; 5000 + usize::from(n)]).unwrap();
    }
    std::fs::write(root.join("a"), "one").unwrap();
    std::os::unix::fs::symlink("a", root.join("link")).unwrap();
    root
}

#[test]
fn a_plan_of_the_package_is_rehearsed_and_everything_is_read_in_turn() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    let root = files(&world);
    let at = world.snapshot(&[]);
    std::fs::remove_dir_all(root.join("sub")).unwrap();
    world.snapshot(&[]);
    let to = world.at("to");
    let sets = [format!("path={}", root.display()), format!("to={}", to.display())];
    let plan = ready("directory");
    let mut read = 0;
    for part in 1..=4 {
        let args = [&plan, "--at", &at, "--set", &sets[0], "--set", &sets[1], "--parts", "4"];
        let report = drill(&world, 0, &args);
        assert_eq!((&report["verdict"], &report["part"]), (&"passed".into(), &part.into()), "{report}");
        assert_eq!(report["proved"]["files"], 41, "{report}");
        read += report["proved"]["read_files"].as_u64().unwrap();
        let steps: Vec<&str> =
            report["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
        assert_eq!(steps, ["files", "name", "same"]);
    }
    assert_eq!(read, 41, "each file was read once");
    assert!(!to.exists() && !root.join("sub").exists(), "nothing came to where others see it");
    is_gone(&world);
    let (out, _) = world.good(0, &["drill", "coverage"]);
    assert!(
        out.contains("100 % of its files read, 1 of 1, and 100 % of its bytes")
            && out.contains("1 of 1 source(s) proved"),
        "{out}"
    );
    let (out, _) = world.good(0, &["--json", "audit", "show", "--kind", "drill"]);
    assert_eq!(out.lines().count(), 4, "{out}");
    // Reports are as they were written, until somebody changes one.
    world.good(0, &["drill", "verify"]);
    let (list, _) = world.good(0, &["--json", "drill", "list"]);
    let first: Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    let file = world.at("state/drills").join(first["drill"].as_str().unwrap()).join("report.json");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"files\": 41", "\"files\": 42");
    std::fs::write(&file, text).unwrap();
    let (out, _) = world.good(3, &["drill", "verify"]);
    assert!(out.contains("not as it was written"), "{out}");
}

#[test]
fn coverage_is_a_share_of_bytes_of_sources_and_of_plans() {
    if !can_drill() {
        return;
    }
    let world = World::new(
        "[[source]]\npath = \"DIR/root\"\n[[source]]\npath = \"DIR/other\"\n[[drill]]\nplan = \"p\"\nschedule = \"daily\"\nwithin = \"1s\"\n",
    );
    let root = files(&world);
    std::fs::create_dir(world.at("other")).unwrap();
    std::fs::write(world.at("other/b"), vec![7; 100_000]).unwrap();
    world.snapshot(&[]);
    write(&world, "[[step]]\nname = \"back\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\n");
    let covered = || {
        let (out, _) = world.good(0, &["--json", "drill", "coverage"]);
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = lines.iter().find(|line| line["source"] == root.to_str().unwrap()).unwrap()["covered"].clone();
        (of, lines.last().unwrap()["whole"].clone())
    };
    let (of, whole) = covered();
    assert_eq!(
        (&of["read_bytes"], &of["share_read"], &of["proved_ns"]),
        (&0.into(), &0.0.into(), &Value::Null),
        "{of}"
    );
    assert_eq!((&whole["plans"], &whole["plans_passed"]), (&1.into(), &0.into()), "{whole}");
    let (mut read, mut most) = (0, 0.0);
    for part in 1..=4 {
        let report = drill(&world, 0, &["p", "--parts", "4"]);
        read += report["proved"]["read_bytes"].as_u64().unwrap();
        let (of, whole) = covered();
        let bytes = of["bytes"].as_u64().unwrap();
        assert_eq!(
            (of["read_bytes"].as_u64(), bytes),
            (Some(read), report["proved"]["bytes"].as_u64().unwrap()),
            "{of}"
        );
        let share = of["share_read"].as_f64().unwrap();
        assert!(
            (share - read as f64 / bytes as f64).abs() < 1e-9 && share > most && (share < 1.0) == (part < 4),
            "{of}"
        );
        most = share;
        assert_eq!(whole["bytes"].as_u64(), Some(bytes + 100_000), "{whole}");
        assert_eq!((&whole["sources"], &whole["sources_proved"]), (&2.into(), &1.into()), "{whole}");
        assert_eq!((&whole["plans"], &whole["plans_passed"]), (&1.into(), &1.into()), "{whole}");
    }
    // The settings say within which time one has to pass again.
    std::thread::sleep(Duration::from_millis(1100));
    let (_, out, _) = world.run(&["--json", "health"]);
    assert!(out.contains("drill p overdue") && out.contains("it is overdue since"), "{out}");
    let (_, out, _) = world.run(&["status"]);
    assert!(out.contains("overdue since"), "{out}");
}

#[test]
fn a_plan_for_a_part_of_a_source_proves_a_part() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    files(&world);
    world.snapshot(&[]);
    // The same directory twice, once within what lies above it: that is not more.
    let step = |name: &str, path: &str| {
        format!(
            "[[step]]\nname = \"{name}\"\nkind = \"restore\"\npaths = [\"DIR/root/{path}\"]\nto = \"DIR/to-{name}\"\n"
        )
    };
    write(&world, &(step("one", "sub/file-1") + &step("two", "sub/file-1") + &step("three", "a")));
    let report = drill(&world, 0, &["p", "--parts", "1"]);
    assert_eq!(report["verdict"], "passed", "{report}");
    let (out, _) = world.good(0, &["drill", "coverage"]);
    assert!(out.contains("proved only in part, ") && out.contains("which brings back 2 of 41 file(s)"), "{out}");
    assert!(out.contains("4 % of its files read, 2 of 41, and 2 % of its bytes"), "{out}");
    assert!(out.contains("all: 0 of 1 source(s) proved, 1 more in part"), "{out}");
    let (out, _) = world.good(0, &["--json", "drill", "coverage"]);
    let of: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let of = &of["covered"];
    assert_eq!((&of["whole"], &of["back_files"], &of["files"]), (&false.into(), &2.into(), &41.into()), "{of}");
}

#[test]
fn in_place_and_nobody_sees_it_and_programs_reach_nothing_outside() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n[[notify]]\nname = \"n\"\ncommand = \"touch DIR/told\"\n");
    let root = files(&world);
    let at = world.snapshot(&[]);
    std::fs::write(root.join("a"), "damaged").unwrap();
    std::fs::write(root.join("extra"), "new").unwrap();
    world.snapshot(&[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = std::os::unix::net::UnixListener::bind(world.at("socket")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = r#"
[[step]]
name = "back"
kind = "restore"
paths = ["DIR/root"]
in-place = true
delete = true
[[step]]
name = "use"
kind = "command"
needs = ["back"]
shell = '''
set -e
test "$(cat DIR/root/a)" = one
test ! -e DIR/root/extra
echo changed >DIR/root/a
chown 12345 DIR/root/sub/file-1
echo mine >DIR/beside
echo mine >/etc/bygone-drill-was-here
ip=$(ls /proc/sys/net/ipv4/conf | tr '\n' ' ')
case "$ip" in *eth*|*ens*) exit 9 ;; esac
if touch DIR/state/mine 2>/dev/null; then exit 11; fi
if touch DIR/repo/mine 2>/dev/null; then exit 12; fi
if kill -0 OUTSIDE 2>/dev/null; then exit 13; fi
'''
[[step]]
name = "service"
kind = "command"
needs = ["use"]
run = ["python3", "-c", "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ntry:\n  s.connect('DIR/socket')\nexcept OSError: sys.exit(0)\nsys.exit(7)"]
[[step]]
name = "network"
kind = "command"
needs = ["use"]
run = ["python3", "-c", "import socket,sys\ntry:\n  socket.create_connection(('127.0.0.1', PORT), 3)\nexcept OSError: sys.exit(0)\nsys.exit(8)"]
[[step]]
name = "outside"
kind = "command"
needs = ["use"]
drill = "skip"
shell = "touch DIR/outside"
[[step]]
name = "tell"
kind = "notify"
needs = ["outside"]
message = "recovered"
[[step]]
name = "look"
kind = "manual"
needs = ["outside"]
ask = "Is it well?"
"#;
    let plan = plan.replace("PORT", &port.to_string()).replace("OUTSIDE", &std::process::id().to_string());
    write(&world, &plan);
    let report = drill(&world, 0, &["p", "--at", &at, "--parts", "1"]);
    let ended = |step: &str| {
        let all = report["steps"].as_array().unwrap();
        all.iter().find(|s| s["step"] == step).unwrap()["ended"].as_str().unwrap().to_owned()
    };
    assert_eq!(["back", "use", "service", "network"].map(ended), ["done"; 4], "{report}");
    // Outside, both can be connected to: it is the drill that keeps programs from it.
    std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    std::os::unix::net::UnixStream::connect(world.at("socket")).unwrap();
    assert!(!world.at("state/mine").exists() && !world.at("repo/mine").exists());
    assert_eq!(["outside", "tell", "look"].map(ended), ["skipped"; 3], "{report}");
    assert_eq!(report["proved"]["read_files"], 41, "{report}");
    // One file was written in the drill, and one changed hands.
    assert!(report["scratch_bytes"].as_u64().unwrap() < 200_000, "{report}");
    assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "damaged");
    assert!(root.join("extra").exists());
    for path in [world.at("beside"), world.at("outside"), world.at("told"), "/etc/bygone-drill-was-here".into()] {
        assert!(!path.exists(), "{}", path.display());
    }
    is_gone(&world);
    drop((listener, socket));
}

#[test]
fn what_fails_is_told_and_a_drill_that_cannot_run_is_a_failure() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    files(&world);
    world.snapshot(&[]);
    let restore =
        "[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\nundo = \"remove\"\n";
    write(
        &world,
        &format!(
            "{restore}[[step]]\nname = \"look\"\nkind = \"check\"\nneeds = [\"files\"]\nexists = [\"DIR/to/root/nothing\"]\n"
        ),
    );
    let (out, told) = world.good(1, &["drill", "run", "p", "--worst"]);
    assert!(told.contains("the step look failed") && out.contains("failed: "), "{out}{told}");
    // Objectives that can't be met are failures.
    write(&world, restore);
    std::thread::sleep(Duration::from_millis(20));
    let (_, told) = world.good(1, &["drill", "run", "p", "--recovery-point", "1ms"]);
    assert!(told.contains("the recovery point is "), "{told}");
    world.good(0, &["drill", "run", "p", "--random", "--recovery-point", "1h", "--recovery-time", "1h"]);
    // A plan that brings nothing back proves nothing.
    write(&world, "[[step]]\nname = \"x\"\nkind = \"command\"\nrun = [\"true\"]\n");
    let (_, told) = world.good(1, &["drill", "run", "p"]);
    assert!(told.contains("nothing came back"), "{told}");
    write(&world, &restore.replace("undo = \"remove\"", "drill = \"skip\""));
    let (_, told) = world.good(2, &["drill", "run", "p"]);
    assert!(told.contains("a drill without this step would prove nothing"), "{told}");
    let (out, _) = world.good(0, &["--json", "audit", "show", "--kind", "drill"]);
    // Also the one whose plan has a mistake: what could not be run is no drill that was left out.
    assert_eq!(out.matches("\"outcome\":\"failed\"").count(), 4, "{out}");
    let (out, _) = world.good(1, &["health"]);
    assert!(out.contains("failing: drill p: the last drill of the plan failed"), "{out}");
    let (out, _) = world.good(0, &["metrics"]);
    assert!(out.contains("bygone_drill_failing{plan=\"p\"} 1"), "{out}");
    is_gone(&world);
}

#[test]
fn damage_is_found() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    files(&world);
    world.snapshot(&[]);
    let mut packs = Vec::new();
    let mut dirs = vec![world.at("repo/packs")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { packs.push(path) }
        }
    }
    for pack in packs {
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
    }
    write(&world, "[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\n");
    let (out, _) = world.good(1, &["drill", "run", "p", "--parts", "1"]);
    assert!(out.contains("cannot be read from byte 0 on"), "{out}");
    is_gone(&world);
}

#[test]
fn nothing_stays_of_a_drill_that_was_killed() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    files(&world);
    world.snapshot(&[]);
    let restore = "[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\n";
    let mark = format!("{}.5", 100_000 + std::process::id());
    write(
        &world,
        &format!(
            "{restore}[[step]]\nname = \"long\"\nkind = \"command\"\nneeds = [\"files\"]\nrun = [\"sleep\", \"{mark}\"]\n"
        ),
    );
    let mut child = world.command(&["drill", "run", "p"]).stdout(Stdio::null()).spawn().unwrap();
    let sleeps = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.starts_with(format!("sleep\0{mark}").as_bytes()))
        })
    };
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !is() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("the step runs", &sleeps);
    child.kill().unwrap();
    child.wait().unwrap();
    until("the step has ended too", &|| !sleeps());
    // The next one takes away what it has left, and records that it was cut off.
    write(&world, restore);
    let (_, told) = world.good(0, &["drill", "run", "p"]);
    assert!(told.contains("was cut off"), "{told}");
    is_gone(&world);
    let (out, _) = world.good(0, &["drill", "list"]);
    assert!(out.contains("failed: it was cut off") && out.lines().count() == 2, "{out}");
    world.good(0, &["drill", "verify"]);
}

/// A service that ends with the test.
struct Service(std::process::Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_runs_drills_by_schedule() {
    if !can_drill() {
        return;
    }
    let drill = "[[drill]]\nplan = \"p\"\nschedule = \"* * * * *\"\nat = \"worst\"\nset = { to = \"DIR/to\" }\nrecovery-time = \"1h\"\n";
    let source = "[[source]]\npath = \"DIR/root\"\n";
    let world = World::new(source);
    files(&world);
    world.snapshot(&[]);
    let to = "[input.to]\ntype = \"path\"\n";
    write(
        &world,
        &format!("{to}[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"${{to}}\"\n"),
    );
    world.settings(&format!("{source}{drill}[daemon]\nsocket = \"DIR/service\"\n"));
    world.good(0, &["config", "check"]);
    let _service = Service(world.command(&["daemon"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(180);
    while !world.at("service").exists() {
        assert!(Instant::now() < end, "the service runs");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (out, _) = world.good(0, &["jobs"]);
    assert!(out.contains("drill p"), "{out}");
    let list = || world.good(0, &["--json", "drill", "list"]).0;
    while list().is_empty() {
        assert!(Instant::now() < end, "the drill is over");
        std::thread::sleep(Duration::from_millis(100));
    }
    let record: Value = serde_json::from_str(list().lines().next().unwrap()).unwrap();
    assert_eq!((&record["verdict"], &record["chosen"]), (&"passed".into(), &"the worst case".into()), "{record}");
    assert!(record["recovery_time"]["objective_ms"] == 3_600_000, "{record}");
    is_gone(&world);
}

#[test]
fn a_step_that_may_fail_and_does_is_named_and_the_drill_has_not_just_passed() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    files(&world);
    world.snapshot(&[]);
    write(
        &world,
        "[[step]]\nname = \"back\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\n\
         [[step]]\nname = \"odd\"\nkind = \"command\"\nrun = [\"false\"]\nmay-fail = true\n",
    );
    let (out, _) = world.good(3, &["drill", "run", "p"]);
    assert!(out.contains("failed, which the plan lets it: the step odd: it ended with status 1"), "{out}");
    assert!(out.ends_with("passed, but for steps that failed and may\n"), "{out}");
    let (out, _) = world.good(0, &["--json", "audit", "show", "--kind", "drill"]);
    assert!(out.contains("\"outcome\":\"partial\""), "{out}");
    world.good(0, &["drill", "verify"]);
}

#[test]
fn reports_that_are_gone_moved_or_have_another_page_are_named_and_a_failure_stays() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    files(&world);
    world.snapshot(&[]);
    let restore = "[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\n";
    write(&world, restore);
    let good = drill(&world, 0, &["p"])["drill"].as_str().unwrap().to_owned();
    let failing =
        "[[step]]\nname = \"look\"\nkind = \"check\"\nneeds = [\"files\"]\nexists = [\"DIR/to/root/nothing\"]\n";
    write(&world, &format!("{restore}{failing}"));
    let bad = drill(&world, 1, &["p"])["drill"].as_str().unwrap().to_owned();
    world.good(0, &["drill", "verify"]);
    let drills = world.at("state/drills");
    // The page says something else.
    let page = drills.join(&good).join("report.html");
    let text = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&page, text.replace("41 files", "42 files")).unwrap();
    let (out, _) = world.good(3, &["drill", "verify"]);
    assert!(out.contains(&format!("{good}: its page ")), "{out}");
    std::fs::write(&page, &text).unwrap();
    // A member more, or twice, is none that was written.
    let report = drills.join(&good).join("report.json");
    let json = std::fs::read_to_string(&report).unwrap();
    for more in ["{\n  \"note\": \"all well\",", "{\n  \"verdict\": \"failed\","] {
        std::fs::write(&report, json.replacen('{', more, 1)).unwrap();
        let (out, _) = world.good(3, &["drill", "verify", &good]);
        assert!(out.contains("it does not read"), "{out}");
    }
    std::fs::write(&report, &json).unwrap();
    world.good(0, &["drill", "verify"]);
    // A copy under another name is not a drill.
    let copy = drills.join(format!("{good}0"));
    std::fs::create_dir(&copy).unwrap();
    for name in ["report.json", "report.html"] {
        std::fs::copy(drills.join(&good).join(name), copy.join(name)).unwrap();
    }
    let (out, _) = world.good(3, &["drill", "verify"]);
    assert!(out.contains(&format!("{good}0: it is the report of the drill {good}, under another name")), "{out}");
    std::fs::remove_dir_all(&copy).unwrap();
    // One that is taken away is named, and its failure stays.
    std::fs::remove_dir_all(drills.join(&bad)).unwrap();
    let (out, _) = world.good(3, &["drill", "verify"]);
    assert!(out.contains(&format!("{bad}: it is missing")), "{out}");
    let (out, _) = world.good(1, &["health"]);
    assert!(out.contains("failing: drill p: ") && out.contains(&format!("its report {bad} is gone")), "{out}");
}
