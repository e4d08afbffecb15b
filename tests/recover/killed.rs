//! The process is killed at every step, and gone on with: what was written is there, and in the end the directory is plain.

use crate::world::{World, change, settle, text};
use std::fs;
use std::time::Duration;

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while rustix::process::test_kill_process(pid).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn killed_while_it_can_be_used_it_goes_on() {
    let Some(world) = World::new() else { return };
    fs::remove_dir_all(world.data().join("dir")).unwrap();
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "manual"]);
    change(&world.data());
    change(&world.model());
    kill(world.worker().unwrap());
    let again = world.run(&["recover", "--instant", world.name(), "--at", "latest"]);
    assert!(again.status.code() == Some(1) && text(&again).contains("--resume"), "{}", text(&again));
    world.ok(&["recover", "--resume", world.name()]);
    world.equals_the_model();
    fs::write(world.data().join("after"), "a").unwrap();
    fs::write(world.model().join("after"), "a").unwrap();
    kill(world.worker().unwrap());
    // A process that is gone is replaced by one that ends it.
    world.ok(&["recover", "--finish", world.name()]);
    world.is_plain();
    settle(&world.data(), "2021-01-01");
    settle(&world.model(), "2021-01-01");
    world.equals_the_model();
}

#[test]
fn killed_and_given_up_it_keeps_what_was_written() {
    let Some(world) = World::new() else { return };
    world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--no-fill"]);
    fs::write(world.data().join("written"), "w").unwrap();
    kill(world.worker().unwrap());
    world.ok(&["recover", "--abandon", world.name()]);
    world.nothing_is_mounted();
    assert_eq!(fs::read_to_string(world.beside(".bygone-recover-").unwrap().join("upper/written")).unwrap(), "w");
    world.equals_the_model();
}

/// Kills the process at the n-th call of this kind during the swap, until it is not reached any more; each time it is gone on with.
fn swap_killed_at(call: &str, at_least: u32) {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        eprintln!("not tested: strace is not installed");
        return;
    }
    let (mut reached, mut when) = (0, 0);
    loop {
        // The first ones each, and then a part, as long as they come in numbers.
        when += if when < 6 || std::env::var_os("BYGONE_CRASH").is_some() { 1 } else { 4 };
        let Some(world) = World::new() else { return };
        fs::remove_dir_all(world.data().join("dir")).unwrap();
        world.ok(&["recover", "--instant", world.name(), "--at", "latest", "--swap", "manual"]);
        change(&world.data());
        change(&world.model());
        // Filled, and ended: what follows is the swap alone.
        while !text(&world.run(&["recover", "--status"])).contains("the plain directory is filled") {
            std::thread::sleep(Duration::from_millis(100));
        }
        kill(world.worker().unwrap());
        let before = world.state();
        world.request("finish");
        let inject = format!("{call}:signal=SIGKILL:when={when}");
        let out = world.with_fault(&inject, &["recover", "--resume", world.name(), "--foreground"]);
        let is_done = out.status.success();
        if !is_done {
            reached = when;
            assert!(world.beside(".bygone-recover-").is_some() || !world.is_overlay(), "{before}");
            if world.beside(".bygone-recover-").is_some() {
                let ended = world.run(&["recover", "--finish", world.name()]);
                assert_eq!(ended.status.code(), Some(0), "{call} {when}: {}{}", text(&ended), world.log());
            }
        }
        world.nothing_is_mounted();
        world.equals_the_model();
        let kept = world.beside(".bygone-before-").expect("what was there before is kept");
        assert!(kept.join("small").exists() && !kept.join("dir").exists(), "{call} {when}");
        if is_done {
            break;
        }
    }
    assert!(reached >= at_least, "{call}: {reached} calls were reached");
}

#[test]
fn killed_at_every_rename_of_the_swap() {
    swap_killed_at("renameat2,renameat,rename", 5);
}

#[test]
fn killed_at_every_link_of_the_swap() {
    swap_killed_at("linkat,mkdirat", 5);
}

#[test]
fn killed_at_every_mount_and_sync_of_the_swap() {
    swap_killed_at("umount2,syncfs,mount", 3);
}
