//! A source that is held still by a snapshot of btrfs while it is captured.

use crate::loopfs::LoopFs;
use crate::world::World;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn synced(path: &Path, text: &str) {
    let mut file = File::create(path.with_extension("new")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

#[test]
fn two_files_that_are_kept_in_step_are_in_step_in_every_snapshot() {
    let Some(fs) = LoopFs::make("btrfs", 512) else { return };
    let root = fs.path().join("sub/tree");
    crate::loopfs::run(
        std::process::Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(fs.path().join("sub")),
    )
    .unwrap();
    std::fs::create_dir(&root).unwrap();
    let world = World::new(&format!("[[source]]\npath = {root:?}\natomic = \"btrfs\"\n"));
    // Many files between the two, so that a scan which sees the live tree is far from one to the other.
    let (first, last) = (root.join("a/first"), root.join("z/last"));
    for dir in ["a", "m", "z"] {
        std::fs::create_dir(root.join(dir)).unwrap();
    }
    for n in 0..2000 {
        std::fs::write(root.join(format!("m/{n}")), format!("{n}")).unwrap();
    }
    synced(&first, "0");
    synced(&last, "0");
    let stop = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                synced(&first, &n.to_string());
                synced(&last, &n.to_string());
                std::fs::write(root.join(format!("m/{}", n % 2000)), format!("new {n}")).unwrap();
            }
        });
        let times: Vec<String> = (0..5).map(|_| world.snapshot(&["--tier", "full"])).collect();
        stop.store(true, Ordering::Relaxed);
        times
    });
    let number = |path: &Path, time: &str| String::from_utf8(world.cat(path, time)).unwrap().parse::<u64>().unwrap();
    let mut seen = Vec::new();
    for time in &times {
        let (a, z) = (number(&first, time), number(&last, time));
        assert!(a == z || a == z + 1, "{a} and {z} never stood beside one another ({time})");
        seen.push(a);
    }
    assert!(seen.is_sorted() && seen[0] < seen[4], "{seen:?}");
    // What is not written to is the same node as in the live tree: another kind of capture finds nothing new.
    world.settings(&format!("[[source]]\npath = {root:?}\n"));
    world.snapshot(&[]);
    let (out, _) = world.good(0, &["--json", "snapshot"]);
    let report: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&report["snapshot"]["new"], &report["snapshot"]["removed"]), (&0.into(), &0.into()), "{out}");
    world.settings(&format!("[[source]]\npath = {root:?}\natomic = \"btrfs\"\n"));
    std::thread::sleep(std::time::Duration::from_millis(50));
    world.snapshot(&[]);
    let (out, _) = world.good(0, &["--json", "snapshot"]);
    let report: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&report["snapshot"]["new"], &report["snapshot"]["changed"]), (&0.into(), &0.into()), "{out}");
    assert_eq!(report["snapshot"]["bytes_read"], 0, "{out}");
    let kept = std::fs::read_dir(fs.path().join("sub/.bygone-atomic")).unwrap().count();
    assert_eq!(kept, 0, "snapshots are removed");
}

#[test]
fn a_snapshot_that_a_killed_process_has_left_is_removed_and_another_file_system_refused() {
    let Some(fs) = LoopFs::make("btrfs", 256) else { return };
    let root = fs.path().to_owned();
    let world = World::new(&format!("[[source]]\npath = {root:?}\natomic = \"btrfs\"\n"));
    std::fs::write(root.join("f"), "x").unwrap();
    world.snapshot(&[]);
    let made = root.join(".bygone-atomic");
    assert_ne!(world.run(&["cat", made.to_str().unwrap(), "--at", "latest"]).0, 0, "it is no part of the source");
    // A kill at the end of a capture: the snapshot is there still.
    let mut traced = std::process::Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", "inject=ioctl:signal=SIGKILL:when=3"]);
    traced.arg(env!("CARGO_BIN_EXE_bygone")).arg("--config").arg(world.at("bygone.toml")).args(["snapshot"]);
    let left = || std::fs::read_dir(&made).unwrap().count();
    let mut tried = 0;
    std::fs::write(root.join("g"), "x").unwrap();
    while left() == 0 && tried < 20 {
        tried += 1;
        let mut traced = std::process::Command::new("strace");
        let inject = format!("inject=ioctl:signal=SIGKILL:when={tried}");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", &inject]);
        traced.arg(env!("CARGO_BIN_EXE_bygone")).arg("--config").arg(world.at("bygone.toml")).arg("snapshot");
        traced.output().unwrap();
    }
    drop(traced);
    assert!(left() > 0, "one was left");
    world.snapshot(&[]);
    assert_eq!(left(), 0, "and removed by the next");
    world.settings("[[source]]\npath = \"DIR/root\"\natomic = \"btrfs\"\n");
    let (_, told) = world.good(1, &["snapshot"]);
    assert!(told.contains("cannot hold") && told.contains("not on btrfs"), "{told}");
}
