//! Commands, the system, and hooks.

use crate::world::World;

const DUMPS: &str = "[[source]]\nname = \"dumps\"\nkind = \"command\"\n";

#[test]
fn what_commands_print_is_captured_and_what_fails_is_no_backup() {
    let world = World::new(&format!(
        "{DUMPS}[[source.command]]\nname = \"good.txt\"\nrun = \"cat DIR/in\"\n\
         [[source.command]]\nname = \"bad.txt\"\nrun = \"cat DIR/may-fail; echo why >&2; test ! -e DIR/fail\"\n\
         [[source.command]]\nname = \"slow.txt\"\nrun = \"if test -e DIR/fail; then echo part; sleep 1000; fi; echo x\"\ntimeout = \"2s\"\n\
         [[source.command]]\nname = \"empty.txt\"\nrun = \"true\"\nallow-empty = true\n"
    ));
    let produced = world.at("state/produced/dumps");
    std::fs::write(world.at("in"), "one\n").unwrap();
    std::fs::write(world.at("may-fail"), "first\n").unwrap();
    let one = world.snapshot(&["dumps"]);
    let stamp = || std::fs::metadata(produced.join("bad.txt")).unwrap().modified().unwrap();
    let before = stamp();

    std::fs::write(world.at("in"), "two\n").unwrap();
    std::fs::write(world.at("may-fail"), "half of the sec").unwrap();
    std::fs::write(world.at("fail"), "").unwrap();
    let (out, told) = world.good(3, &["--json", "snapshot", "dumps"]);
    assert!(told.contains("dumps: bad.txt: it ended with status 1; it said: why"), "{told}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let failed: Vec<_> = report["failures"].as_array().unwrap().iter().map(|f| (&f["what"], &f["kept"])).collect();
    assert_eq!(failed, [(&"bad.txt".into(), &true.into()), (&"slow.txt".into(), &true.into())], "{out}");
    assert_eq!(
        (&report["failures"][0]["why"], &report["unreadable"]),
        (&"it ended with status 1; it said: why".into(), &serde_json::json!([]))
    );
    assert!(told.contains("slow.txt: it was ended after 2 s"), "{told}");
    assert_eq!(stamp(), before);
    assert_eq!(world.cat(&produced.join("good.txt"), "latest"), b"two\n");
    assert_eq!(world.cat(&produced.join("good.txt"), &one), b"one\n");
    assert_eq!(world.cat(&produced.join("bad.txt"), "latest"), b"first\n");
    assert_eq!(world.cat(&produced.join("slow.txt"), "latest"), b"x\n");
    let left: Vec<_> = std::fs::read_dir(&produced).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");

    // What prints the same is not touched: nothing is new in the next snapshot.
    std::fs::remove_file(world.at("fail")).unwrap();
    std::fs::write(world.at("may-fail"), "first\n").unwrap();
    let (out, _) = world.good(0, &["--json", "snapshot", "dumps"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["snapshot"]["new"], &report["snapshot"]["bytes_read"]), (&0.into(), &0.into()), "{out}");
    assert_eq!(stamp(), before);
}

#[test]
fn what_could_not_be_produced_is_a_finding_until_it_is() {
    let commands = |more: &str| {
        format!("[health]\nfree = \"1 MiB\"\n{DUMPS}[[source.command]]\nname = \"good\"\nrun = \"echo x\"\n{more}")
    };
    let bad = "[[source.command]]\nname = \"bad\"\nrun = \"echo y; test ! -e DIR/fail\"\n";
    let world = World::new(&commands(bad));
    std::fs::write(world.at("fail"), "").unwrap();
    let (_, told) = world.good(3, &["snapshot"]);
    assert!(told.contains("dumps: bad: it ended with status 1") && !told.contains("what was there before"), "{told}");
    let (out, _) = world.good(1, &["health"]);
    assert!(out.contains("/dumps: its data could not be produced when that was tried last, "), "{out}");
    assert!(out.contains(": bad: it ended with status 1"), "{out}");
    std::fs::remove_file(world.at("fail")).unwrap();
    world.good(0, &["snapshot"]);
    world.good(0, &["health"]);
    std::fs::write(world.at("fail"), "").unwrap();
    let (_, told) = world.good(3, &["snapshot"]);
    assert!(told.contains("; what was there before of it still is"), "{told}");
    world.good(1, &["health"]);
    // A command that is taken out of the settings can fail no more.
    world.settings(&commands(""));
    world.good(0, &["health"]);
}

#[test]
fn the_state_directory_is_captured_in_no_other_way() {
    let world = World::new(&format!("{DUMPS}[[source.command]]\nname = \"x\"\nrun = \"echo x\"\n"));
    world.good(0, &["snapshot"]);
    world.good(0, &["config", "check"]);
    world.settings("[[source]]\npath = \"DIR/state/produced\"\n");
    let (_, told) = world.good(1, &["snapshot"]);
    assert!(told.contains("which is never captured"), "{told}");
}

#[test]
fn the_system_tells_of_itself_and_of_what_is_not_installed() {
    let world = World::new("[[source]]\nkind = \"system\"\n[[source]]\npath = \"/etc\"\nexclude = [\"*\"]\n");
    let (status, out, told) = world.run(&["snapshot", "system"]);
    assert!(matches!(status, 0 | 3), "{out}{told}");
    let produced = world.at("state/produced/system");
    let text = |name: &str| String::from_utf8(world.cat(&produced.join(name), "latest")).unwrap();
    let manifest = text("MANIFEST");
    assert!(text("users.txt").contains("root:x:0:0"), "{manifest}");
    assert!(text("packages.txt").contains("libc6"), "{manifest}");
    assert!(text("cmdline.txt") == std::fs::read_to_string("/proc/cmdline").unwrap());
    for line in manifest.lines().filter(|l| l.contains("not there, since")) {
        let name = line.split(':').next().unwrap();
        assert!(!produced.join(name).exists(), "{line}");
    }
    // A second look at a machine on which nothing happened writes nothing anew, apart from what happened meanwhile.
    world.run(&["snapshot", "system"]);
    let (_, log, _) = world.run(&["log", produced.join("packages.txt").to_str().unwrap()]);
    assert_eq!(log.lines().filter(|l| l.contains("20")).count(), 1, "{log}");
}

#[test]
fn hooks_run_around_a_snapshot_and_their_failure_is_told() {
    let hooked = |before: &str, policy: &str| {
        format!(
            "[[source]]\npath = \"DIR/root\"\nname = \"work\"\n[source.hooks]\nbefore = \"{before}\"\non-failure = \"{policy}\"\n\
             after = \"echo $BYGONE_SOURCE $BYGONE_PATH $BYGONE_TIER $BYGONE_STATUS >DIR/after\"\n"
        )
    };
    let world = World::new(&hooked("echo made >$BYGONE_PATH/by-hook; echo said", "abort"));
    let root = world.at("root");
    let after = || std::fs::read_to_string(world.at("after")).unwrap();
    world.good(0, &["snapshot", "work", "--tier", "full"]);
    assert_eq!(world.cat(&root.join("by-hook"), "latest"), b"made\n");
    assert_eq!(after(), format!("work {} full ok\n", root.display()));
    assert_eq!(std::fs::read_to_string(world.at("state/output/work-before.log")).unwrap(), "said\n");

    world.settings(&hooked("echo no room >&2; exit 9", "abort"));
    std::fs::write(root.join("new"), "x").unwrap();
    let (_, told) = world.good(1, &["snapshot", "work"]);
    assert!(told.contains("no snapshot was taken") && told.contains("status 9; it said: no room"), "{told}");
    assert!(after().ends_with("incremental failed\n"), "{}", after());
    assert_ne!(world.run(&["cat", root.join("new").to_str().unwrap(), "--at", "latest"]).0, 0);

    world.settings(&hooked("echo half; echo no room >&2; exit 9", "continue"));
    let (out, told) = world.good(3, &["--json", "snapshot", "work"]);
    let file = world.at("state/output/work-before.log");
    let why = format!(
        "it ended with status 9; it said: no room; it printed: half; the end of all it said is in {}",
        file.display()
    );
    assert!(told.contains(&format!("the hook before: {why}")), "{told}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "half\nno room\n");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let failures = serde_json::json!([{ "what": "the hook before", "why": why, "kept": false }]);
    assert_eq!((&report["failures"], &report["unreadable"]), (&failures, &serde_json::json!([])));
    assert!(after().ends_with("partial\n"), "{}", after());
    assert_eq!(world.cat(&root.join("new"), "latest"), b"x");
    // It is a finding until it works, or is gone from the settings.
    let is_found = || world.run(&["health"]).1.contains("/root: a hook of it failed when it ran last, ");
    assert!(is_found());
    let (metrics, _) = world.good(0, &["metrics"]);
    assert!(metrics.lines().any(|l| l.starts_with("bygone_source_failures{") && l.ends_with(" 1")), "{metrics}");
    world.settings(&hooked("true", "continue"));
    world.good(0, &["snapshot", "work"]);
    assert!(!is_found());
    world.settings(&hooked("exit 9", "continue"));
    world.good(3, &["snapshot", "work"]);
    assert!(is_found());
    world.settings("[[source]]\npath = \"DIR/root\"\nname = \"work\"\n");
    assert!(!is_found());
}
