//! Power and space: real file systems that lose what was not synced, and that fill.

use crate::{
    change, describe,
    loopfs::{LoopFs, run},
    noise, plant,
    program::{Program, Reported, number_in},
};
use std::{path::Path, process::Command, time::Duration};

/// A program whose repository and state are on `disk`, and whose settings and source are elsewhere.
fn on(disk: &Path, elsewhere: &Path) -> Program {
    let mut program = Program::in_dir(elsewhere);
    (program.repo, program.state) = (disk.join("repo"), disk.join("state"));
    program
}

#[test]
fn the_power_is_cut_after_each_report() {
    for kind in ["ext4", "xfs"] {
        let Some(fs) = LoopFs::make(kind, 512) else { continue };
        let elsewhere = tempfile::tempdir().unwrap();
        let program = on(fs.path(), elsewhere.path());
        program.init();
        plant(&program.root);
        let mut reported = Reported::new();
        for n in 1..6 {
            program.snapshot(&mut reported);
            fs.cut_power();
            fs.restore_power();
            program.check(&reported, &format!("{kind}: the power was cut after snapshot {n}"));
            change(&program.root, n);
        }
    }
}

#[test]
fn the_power_is_cut_in_the_middle() {
    for kind in ["ext4", "xfs"] {
        let Some(fs) = LoopFs::make(kind, 512) else { continue };
        let elsewhere = tempfile::tempdir().unwrap();
        let program = on(fs.path(), elsewhere.path());
        program.init();
        plant(&program.root);
        let mut reported = Reported::new();
        program.snapshot(&mut reported);
        for n in 1..9 {
            change(&program.root, n);
            let mut running = program.command(&["--json", "snapshot"]);
            let child =
                running.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(u64::from(n) * 23 % 160));
            fs.cut_power();
            let out = child.wait_with_output().unwrap();
            if let Some(number) = number_in(&out.stdout) {
                reported.insert(number, describe::of_disk(&program.root));
            }
            fs.restore_power();
            program.check(&reported, &format!("{kind}: the power was cut during capture {n}"));
        }
        program.snapshot(&mut reported);
        program.check(&reported, &format!("{kind}: the capture after it"));
    }
}

/// An image on a file system that can clone: a clone while it is in use is the disk as a power cut at that moment leaves it.
#[test]
fn any_moment_is_a_power_cut() {
    let Some(outer) = LoopFs::make("xfs", 2048) else { return };
    for kind in ["ext4", "xfs"] {
        let (image, point) = (outer.path().join(kind), outer.path().join(format!("{kind}-mnt")));
        std::fs::create_dir(&point).unwrap();
        std::fs::File::create_new(&image).unwrap().set_len(320 << 20).unwrap();
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image)).unwrap();
        let fs = LoopFs::mount(kind, &image, &point).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let program = on(fs.path(), elsewhere.path());
        program.init();
        plant(&program.root);
        let mut reported = Reported::new();
        let clone_point = outer.path().join(format!("{kind}-clone"));
        std::fs::create_dir(&clone_point).unwrap();
        for n in 1..5 {
            program.snapshot(&mut reported);
            change(&program.root, n);
            let child = program.command(&["-q", "snapshot"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(u64::from(n) * 31 % 120));
            let clone = outer.path().join("clone");
            run(Command::new("cp").arg("--reflink=always").arg(&image).arg(&clone)).unwrap();
            let mut child = child;
            assert!(child.wait().unwrap().success());
            // A clone taken while a capture ran may have its snapshot or not: what was reported before it counts.
            {
                let cloned = LoopFs::mount(kind, &clone, &clone_point).unwrap();
                let other =
                    Program { repo: cloned.path().join("repo"), state: cloned.path().join("state"), ..program.clone() };
                other.check(&reported, &format!("{kind}: cloned during capture {n}"));
            }
            std::fs::remove_file(&clone).unwrap();
            let head = describe::of_disk(&program.root);
            reported.insert(reported.keys().max().unwrap() + 1, head);
        }
        program.check(&reported, &format!("{kind}: the image itself"));
    }
}

/// Leaves `left` bytes free on the file system of `dir`.
fn fill(dir: &Path, left: u64) -> std::path::PathBuf {
    let stat = rustix::fs::statvfs(dir).unwrap();
    // Root may use what is kept back from others.
    let free = stat.f_bfree * stat.f_frsize;
    let filler = dir.join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free.saturating_sub(left)).unwrap();
    filler
}

#[test]
fn the_repository_is_full() {
    let Some(fs) = LoopFs::make("ext4", 96) else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let mut program = on(fs.path(), elsewhere.path());
    program.state = elsewhere.path().join("state");
    full(&program, fs.path());
}

#[test]
fn the_state_directory_is_full() {
    let Some(fs) = LoopFs::make("ext4", 96) else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let mut program = on(fs.path(), elsewhere.path());
    program.repo = elsewhere.path().join("repo");
    full(&program, fs.path());
}

fn full(program: &Program, disk: &Path) {
    program.init();
    plant(&program.root);
    let mut reported = Reported::new();
    program.snapshot(&mut reported);
    let filler = fill(disk, 600 << 10);
    change(&program.root, 1);
    std::fs::create_dir(program.root.join("many")).unwrap();
    for n in 0..12_000 {
        std::fs::write(program.root.join(format!("many/a-rather-long-name-of-a-file-{n:06}")), noise(100, n)).unwrap();
    }
    let out = program.run(&["--json", "snapshot"]);
    let told = String::from_utf8_lossy(&out.stderr);
    assert_eq!((out.status.code(), number_in(&out.stdout)), (Some(1), None), "{told}");
    assert!(told.contains("full") || told.contains("No space left"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    std::fs::remove_file(filler).unwrap();
    program.check(&reported, "when there is space again");
    program.snapshot(&mut reported);
    program.check(&reported, "the capture that follows");
}
