//! The plans of the package, each on real data.

use crate::world::World;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A plan of the package.
pub(crate) fn ready(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("packaging/plans/{name}.toml"));
    path.to_str().unwrap().to_owned()
}

/// Runs a plan of the package with these inputs; what it printed and said.
fn run(world: &World, status: i32, name: &str, at: &str, sets: &[(&str, &str)], more: &[&str]) -> String {
    let plan = ready(name);
    let sets: Vec<String> = sets.iter().map(|(n, v)| format!("--set={n}={v}")).collect();
    let mut args = vec!["plan", "run", &plan, "--at", at];
    args.extend(sets.iter().map(String::as_str).chain(more.iter().copied()));
    let (out, err) = world.good(status, &args);
    out + &err
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    std::iter::repeat_with(next).take(len.div_ceil(8)).flatten().collect()
}

#[test]
fn all_of_them_have_no_mistakes_beside_settings_that_have_what_they_name() {
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/plans");
    let all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(all.len(), 6, "{all:?}");
    for plan in all {
        world.good(0, &["plan", "check", text(&plan)]);
        let (book, _) = world.good(0, &["plan", "show", text(&plan)]);
        assert!(book.contains("\nSTEPS\n"), "{book}");
    }
}

#[test]
fn a_directory() {
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    let root = world.at("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/b/large"), noise(3_000_000, 1)).unwrap();
    std::os::unix::fs::symlink("a/b", root.join("link")).unwrap();
    let at = world.snapshot(&[]);
    std::fs::remove_dir_all(root.join("a")).unwrap();
    world.snapshot(&[]);
    let to = world.at("to");
    let told = run(&world, 0, "directory", &at, &[("path", text(&root)), ("to", text(&to))], &[]);
    assert!(told.contains("same: done") && told.contains("1 file(s) are the same"), "{told}");
    assert!(std::fs::read(to.join("root/a/b/large")).unwrap() == noise(3_000_000, 1));
    // A restore that is not byte for byte the same is found.
    let second = world.at("second");
    run(&world, 0, "directory", &at, &[("path", text(&root)), ("to", text(&second))], &["--dry-run"]);
    assert!(!second.exists());
}

#[test]
fn the_settings_of_the_system() {
    let world = World::new("[[source]]\npath = \"/etc\"\n");
    let (status, out, told) = world.run(&["--json", "snapshot"]);
    // What this user may not read is told.
    assert!(status == 0 || status == 3, "{told}");
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let at = first["snapshot"]["time"].as_str().unwrap().to_owned();
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root reads all of /etc");
        return;
    }
    let to = world.at("to");
    let told = run(&world, 0, "etc", &at, &[("to", text(&to))], &[]);
    assert!(told.contains("users: done") && told.contains("changes: done"), "{told}");
    assert_eq!(std::fs::read(to.join("etc/passwd")).unwrap(), std::fs::read("/etc/passwd").unwrap());
}

#[test]
fn a_host_onto_a_bare_tree() {
    let world = World::new("[[source]]\npath = \"DIR/root\"\n[[source]]\npath = \"DIR/host/etc\"\n");
    let host = world.at("host");
    std::fs::create_dir_all(host.join("etc/ssl")).unwrap();
    for name in ["passwd", "group"] {
        std::fs::copy(Path::new("/etc").join(name), host.join("etc").join(name)).unwrap();
    }
    std::fs::set_permissions(host.join("etc/ssl"), std::fs::Permissions::from_mode(0o710)).unwrap();
    std::fs::write(world.at("root/data"), noise(100_000, 2)).unwrap();
    world.snapshot(&[]);
    let bare = world.at("bare");
    std::fs::create_dir(&bare).unwrap();
    // The sources of this test are not at the root of a system: that it lacks its settings is found, and all is taken back.
    let told = run(&world, 1, "host", "latest", &[("root", text(&bare))], &[]);
    assert!(told.contains("settings: failed") && told.contains("failed, rolled back"), "{told}");
    assert_eq!(std::fs::read_dir(&bare).unwrap().count(), 0, "only what was made is gone");
}

#[test]
fn a_real_host_onto_a_bare_tree() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root reads all of /etc");
        return;
    }
    let world = World::new("[[source]]\npath = \"/etc\"\n[[source]]\npath = \"DIR/root\"\n");
    std::fs::write(world.at("root/data"), noise(100_000, 3)).unwrap();
    world.good(0, &["snapshot"]);
    let bare = world.at("bare");
    std::fs::create_dir_all(bare.join("lost+found")).unwrap();
    let told = run(&world, 0, "host", "latest", &[("root", text(&bare))], &[]);
    assert!(told.contains("settings: done") && told.contains("databases: done"), "{told}");
    let inside = bare.join(text(&world.at("root")).trim_start_matches('/')).join("data");
    assert!(std::fs::read(inside).unwrap() == noise(100_000, 3));
    let same = Command::new("diff").args(["-rq", "--no-dereference", "/etc"]).arg(bare.join("etc")).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

#[test]
fn a_host_that_was_attacked() {
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    let root = world.at("root");
    std::fs::create_dir(root.join("orders")).unwrap();
    let names: Vec<PathBuf> =
        (0..20).map(|n| root.join(if n < 10 { format!("{n}.txt") } else { format!("orders/{n}.txt") })).collect();
    let healthy = |n: usize, generation: u32| format!("order {n}, generation {generation}\n").repeat(50);
    let mut instants = Vec::new();
    for generation in 0..4 {
        for (n, name) in names.iter().enumerate() {
            std::fs::write(name, healthy(n, generation)).unwrap();
        }
        instants.push(world.snapshot(&[]));
    }
    // Somebody encrypts, a few files at a time, and leaves a note; nobody notices for some snapshots.
    for (n, name) in names.iter().enumerate() {
        std::fs::write(name, noise(1500, n as u64 + 7)).unwrap();
        if n % 5 == 4 {
            world.snapshot(&[]);
        }
    }
    std::fs::write(root.join("PAY-US"), "pay us").unwrap();
    let noticed = world.snapshot(&[]);
    let (room, first) = (world.at("room"), root.join("orders"));
    let test = r"! grep -LrE '^order [0-9]+, generation' . | grep -q ."; // Every file has what an order has.
    let sets =
        [("path", text(&root)), ("first", text(&first)), ("probe", text(&root)), ("test", test), ("room", text(&room))];
    // Nobody is there to look: it stands still before anything goes back, with the room as it is.
    let told = run(&world, 1, "attacked", &noticed, &sets, &[]);
    assert!(told.contains("nobody is here to confirm it") && told.contains("--resume"), "{told}");
    assert!(std::fs::read(&names[0]).unwrap() == noise(1500, 7), "nothing has gone back");
    assert_eq!(std::fs::read_to_string(room.join("root/orders/15.txt")).unwrap(), healthy(15, 3));
    let (out, _) = world.good(0, &["--json", "plan", "runs"]);
    let stands: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(stands["inputs"]["clean"].as_str(), Some(instants[3].as_str()), "the last instant before the damage");
    let id = stands["run"].as_str().unwrap();
    world.good(0, &["plan", "run", "--resume", id, "--yes-manual"]);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(std::fs::read_to_string(name).unwrap(), healthy(n, 3));
    }
    assert!(!root.join("PAY-US").exists());
    // The damage can be examined.
    assert_eq!(world.cat(&root.join("PAY-US"), &noticed), b"pay us");
}
