//! `recover --instant` by the program: a directory can be used at once, what is written into it is never lost, and in the end it is
//! a plain directory: the view with the changes. As root; elsewhere only the refusals are tested.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod killed;
#[allow(unreachable_pub, reason = "other test binaries use it too")]
#[path = "../common/tree.rs"]
mod tree;
mod world;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use world::{World, change, text};

#[test]
fn it_is_given_back_at_once_and_becomes_a_plain_directory() {
    let Some(world) = World::new() else { return };
    fs::remove_dir_all(world.data().join("dir")).unwrap();
    fs::write(world.data().join("damaged"), "d").unwrap();
    let told = world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "manual"]);
    assert!(told.contains(" can be used, as of ") && told.contains(" after "), "{told}");
    assert!(!world.data().join("damaged").exists());
    assert_eq!(fs::read(world.data().join("dir/large")).unwrap(), fs::read(world.model().join("dir/large")).unwrap());
    change(&world.data());
    change(&world.model());
    let status = world.run(&["recover", "--status"]);
    assert!(text(&status).contains(world.name()), "{}", text(&status));
    let again = world.run(&["recover", "--instant", world.name(), "--at", "latest"]);
    assert!(again.status.code() == Some(1) && text(&again).contains("is being given back already"), "{}", text(&again));
    let finished = world.ok(&["recover", "--finish", world.name()]);
    assert!(
        finished.contains("is a plain directory now") && finished.contains("what stood there before is kept"),
        "{finished}"
    );
    world.is_plain();
    world.equals_the_model();
    let before = world.beside(".bygone-before-").expect("what was there is kept");
    assert_eq!(fs::read_to_string(before.join("damaged")).unwrap(), "d");
    let listed = world.ok(&["aside", "list"]);
    assert!(listed.contains(before.to_str().unwrap()), "{listed}");
    world.ok(&["aside", "drop", "--all"]);
    assert!(!before.exists());
    let trail = world.ok(&["audit", "show"]);
    assert!(trail.contains("recover begun") && trail.contains("recover-swap done"), "{trail}");
    assert!(text(&world.run(&["recover", "--status"])).contains("nothing is being given back"));
    world.ok(&["snapshot"]);
}

#[test]
fn one_that_is_missing_comes_back_by_itself() {
    let Some(world) = World::new() else { return };
    fs::remove_dir_all(world.data()).unwrap();
    world.ok(&["recover", "--instant", world.name(), "--at", "latest"]);
    world.wait_until_plain();
    world.equals_the_model();
    assert!(world.beside(".bygone-before-").is_none(), "there was nothing");
}

#[test]
fn what_can_not_be_read_of_one_keeps_no_other_from_being() {
    let Some(world) = World::new() else { return };
    let notes = world.notes();
    fs::create_dir_all(&notes).unwrap();
    let lost = world.data().join("small/lost");
    let note = serde_json::json!(format!("{}.bygone-recover-0badbad0", lost.display()));
    fs::write(notes.join("0badbad0"), note.to_string()).unwrap();
    // Names of any length have room beside them.
    let long = world.source().join("n".repeat(240));
    fs::create_dir(&long).unwrap();
    fs::write(long.join("x"), "x").unwrap();
    world.ok(&["snapshot"]);
    world.ok(&["recover", "--instant", long.to_str().unwrap(), "--at", "latest", "--swap", "manual"]);
    assert_eq!(fs::read_to_string(long.join("x")).unwrap(), "x");
    let status = world.run(&["recover", "--status"]);
    let told = text(&status);
    assert_eq!(status.status.code(), Some(3), "{told}");
    assert!(told.contains(&format!("{}: ", lost.display())) && told.contains("recover --abandon"), "{told}");
    assert!(told.contains(long.to_str().unwrap()), "{told}");
    world.ok(&["recover", "--finish", long.to_str().unwrap()]);
    let resumed = world.run(&["recover", "--resume", lost.to_str().unwrap()]);
    assert!(resumed.status.code() == Some(1) && text(&resumed).contains("can't be read"), "{}", text(&resumed));
    let told = world.ok(&["recover", "--abandon", lost.to_str().unwrap()]);
    assert!(told.contains("is forgotten"), "{told}");
    assert!(text(&world.run(&["recover", "--status"])).contains("nothing is being given back"));
}

#[test]
fn a_mount_of_a_part_of_it_is_use() {
    let Some(world) = World::new() else { return };
    let other = world.source().with_file_name("other");
    fs::create_dir(&other).unwrap();
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "manual"]);
    let mount = |args: &[&str]| assert!(Command::new(args[0]).args(&args[1..]).status().unwrap().success());
    mount(&["mount", "--bind", world.data().join("dir").to_str().unwrap(), other.to_str().unwrap()]);
    let told = text(&world.run(&["recover", "--status"]));
    mount(&["umount", other.to_str().unwrap()]);
    assert!(told.contains(&format!("the mount {}", other.display())), "{told}");
    world.ok(&["recover", "--finish", world.name()]);
    // The same where it swaps by itself: not as long as it is bound.
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "idle"]);
    mount(&["mount", "--bind", world.data().join("dir").to_str().unwrap(), other.to_str().unwrap()]);
    while !text(&world.run(&["recover", "--status"])).contains("the plain directory is filled") && world.is_overlay() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let waits = world.is_overlay();
    mount(&["umount", other.to_str().unwrap()]);
    assert!(waits, "it was swapped under a mount");
    world.wait_until_plain();
    world.equals_the_model();
}

#[test]
fn a_writer_is_waited_for_and_named() {
    let Some(world) = World::new() else { return };
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "now"]);
    let script = format!("cd {} && exec 3>>small && cd / && echo begun >&3 && read line; echo ended >&3", world.name());
    let mut child = Command::new("sh").args(["-c", &script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    while !fs::read_to_string(world.data().join("small")).unwrap().contains("begun") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    loop {
        let status = world.run(&["recover", "--status"]);
        if text(&status).contains("the plain directory is filled") {
            assert!(text(&status).contains(&pid), "{}", text(&status));
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(world.is_overlay(), "it is not swapped under a writer");
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\n").unwrap();
    child.wait().unwrap();
    world.wait_until_plain();
    assert_eq!(fs::read_to_string(world.data().join("small")).unwrap(), "small\nbegun\nended\n");
}

#[test]
fn what_was_written_is_kept_when_it_is_given_up() {
    let Some(world) = World::new() else { return };
    fs::write(world.data().join("now"), "n").unwrap();
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--no-fill"]);
    fs::write(world.data().join("written"), "w").unwrap();
    let told = world.ok(&["recover", "--abandon", world.name()]);
    assert!(told.contains("what was written into it is kept: "), "{told}");
    assert_eq!(fs::read_to_string(world.data().join("now")).unwrap(), "n");
    let kept = world.beside(".bygone-recover-").unwrap().join("upper/written");
    assert_eq!(fs::read_to_string(kept).unwrap(), "w");
    world.nothing_is_mounted();
    assert!(world.ok(&["audit", "show"]).contains("recover-abandon done"));
    // Nothing was written: nothing is left.
    let listed = world.ok(&["aside", "list"]);
    assert!(listed.contains(".bygone-recover-"), "{listed}");
    world.ok(&["aside", "drop", "--all"]);
    assert!(world.beside(".bygone-recover-").is_none());
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--no-fill"]);
    world.ok(&["recover", "--abandon", world.name()]);
    assert!(world.beside(".bygone-recover-").is_none());
}

#[test]
fn history_goes_on_as_it_is_known_until_the_swap() {
    let Some(world) = World::new() else { return };
    // The source is the directory above.
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "manual"]);
    fs::write(world.data().join("written"), "w").unwrap();
    fs::write(world.source().join("beside"), "b").unwrap();
    world.ok(&["snapshot"]);
    let cat = |name: &str| world.run(&["cat", world.data().join(name).to_str().unwrap(), "--at", "latest"]);
    assert_eq!(cat("small").stdout, b"small\n", "it is not emptied");
    assert_eq!(cat("written").status.code(), Some(1), "what is written meanwhile is captured later");
    let find = world.run(&["find", "*bygone-recover*"]);
    assert!(!text(&find).contains(".bygone-recover-"), "the work directory is never captured: {}", text(&find));
    world.ok(&["recover", "--finish", world.name()]);
    world.ok(&["snapshot"]);
    assert_eq!(cat("written").stdout, b"w");
    assert_eq!(cat("small").stdout, b"small\n");
}

#[test]
fn a_source_itself_can_be_given_back_and_is_captured_through_the_overlay() {
    let Some(world) = World::new() else { return };
    let source = world.source();
    let name = source.to_str().unwrap();
    fs::remove_dir_all(world.data()).unwrap();
    world.ok(&["recover", "--instant", name, "--at", "latest", "--swap", "manual"]);
    fs::write(source.join("data/small"), "changed\n").unwrap();
    world.ok(&["snapshot"]);
    let cat = |name: &str| world.run(&["cat", world.data().join(name).to_str().unwrap(), "--at", "latest"]);
    assert_eq!(cat("small").stdout, b"changed\n");
    assert_eq!(cat("dir/large").stdout, fs::read(world.model().join("dir/large")).unwrap());
    world.ok(&["recover", "--finish", name]);
    world.nothing_is_mounted();
    assert_eq!(fs::read_to_string(source.join("data/small")).unwrap(), "changed\n");
    world.ok(&["snapshot"]);
    assert_eq!(cat("small").stdout, b"changed\n");
}

#[test]
fn what_can_not_be_is_refused_before_anything_is_done() {
    let Some(world) = World::new() else { return };
    let refused = |path: &std::path::Path, why: &str| {
        let out = world.run(&["recover", "--instant", path.to_str().unwrap(), "--at", "latest"]);
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        assert!(text(&out).contains(why), "{}", text(&out));
    };
    refused(&world.data().join("none"), "was not there at ");
    refused(&world.data().join("small"), "it is no directory now");
    refused(world.source().parent().unwrap(), "it contains the repository");
    let link = world.source().join("link-to-data");
    std::os::unix::fs::symlink("data", &link).unwrap();
    refused(&link, "it is a symbolic link");
    let mount = |args: &[&str]| assert!(Command::new(args[0]).args(&args[1..]).status().unwrap().success());
    mount(&["mount", "-t", "tmpfs", "tmpfs", world.name()]);
    let out = world.run(&["recover", "--instant", world.name(), "--at", "latest"]);
    mount(&["umount", world.name()]);
    assert!(out.status.code() == Some(1) && text(&out).contains("it is a mount point"), "{}", text(&out));
    for what in ["--resume", "--finish", "--abandon"] {
        let out = world.run(&["recover", what, world.name()]);
        assert!(out.status.code() == Some(1) && text(&out).contains("is not being given back"), "{}", text(&out));
    }
    assert_eq!(world.run(&["recover"]).status.code(), Some(2));
    assert!(world.beside(".bygone-").is_none());
    let mode = fs::metadata(world.data()).unwrap();
    assert!(mode.is_dir() && mode.permissions().mode() & 0o7777 == 0o750 && mode.uid() == 1234);
}

#[test]
fn what_it_reads_is_kept_from_retention_until_it_is_over() {
    let Some(world) = World::new() else { return };
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--no-fill"]);
    world.add("[retention]\nyearly = \"1y\"\n");
    for n in 0..2 {
        fs::write(world.source().join("beside"), format!("{n}")).unwrap();
        world.ok(&["snapshot"]);
    }
    let shown = || {
        let list = world.ok(&["--json", "list"]);
        let numbers = list.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        numbers.filter_map(|line| line["number"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(shown(), [1, 2, 3]);
    let held = world.ok(&["hold", "list"]);
    assert!(held.contains("recover-") && held.contains("an unfinished instant recovery of"), "{held}");
    world.ok(&["maintain", "--thorough"]);
    assert_eq!(shown(), [1, 3], "what the recovery reads stays, and what nothing needs goes");
    assert_eq!(fs::read(world.data().join("dir/large")).unwrap(), fs::read(world.model().join("dir/large")).unwrap());
    // Nobody works on it any more: that is told, with until when it is kept.
    let worker = world.worker().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(worker as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    while world.worker().is_some() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let health = text(&world.run(&["health"]));
    assert!(health.contains("no process works on it; what it reads is kept until 2"), "{health}");
    world.ok(&["recover", "--resume", world.name()]);
    world.equals_the_model();
    world.ok(&["recover", "--finish", world.name()]);
    world.is_plain();
    assert!(!world.ok(&["hold", "list"]).contains("recover-"));
    let trail = world.ok(&["audit", "show"]);
    assert!(trail.contains("hold-place done") && trail.contains("hold-release done"), "{trail}");
    world.ok(&["maintain", "--thorough"]);
    assert_eq!(shown(), [3]);
    assert!(!text(&world.run(&["health"])).contains("recover "));
    // One that is given up lets it go too.
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--no-fill"]);
    assert!(world.ok(&["hold", "list"]).contains("recover-"));
    world.ok(&["recover", "--abandon", world.name()]);
    assert!(!world.ok(&["hold", "list"]).contains("recover-"));
}

#[test]
fn after_a_restart_of_the_machine_the_service_brings_it_back() {
    let Some(world) = World::new() else { return };
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "manual"]);
    change(&world.data());
    change(&world.model());
    let pid = rustix::process::Pid::from_raw(world.worker().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while world.worker().is_some() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    world.unmount_all();
    assert!(!world.is_overlay());
    let back = || {
        for _ in 0..1200 {
            if world.is_overlay() && world.worker().is_some() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("it does not come back: {}", text(&world.run(&["recover", "--status"])));
    };
    let service = world.start(&["daemon"]);
    back();
    world.equals_the_model();
    fs::write(world.data().join("after"), "a").unwrap();
    fs::write(world.model().join("after"), "a").unwrap();
    // A service that ends takes it along, and the next one goes on.
    service.end();
    world.nothing_is_mounted();
    let service = world.start(&["daemon"]);
    back();
    assert_eq!(fs::read_to_string(world.data().join("after")).unwrap(), "a");
    world.ok(&["recover", "--finish", world.name()]);
    world.wait_until_plain();
    service.kill();
    for dir in [world.data(), world.model()] {
        world::settle(&dir, "2021-01-01");
    }
    world.equals_the_model();
}
