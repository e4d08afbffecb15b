//! A PostgreSQL server: base, WAL, recovery to a time, and dumps.

use crate::cluster::{Cluster, free_port, give_to_postgres, ran};
use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::Command;

fn source(cluster: &Cluster, more: &str) -> String {
    format!(
        "[[source]]\nname = \"main\"\nkind = \"postgres\"\nconnection = {:?}\nbin = {:?}\n{more}",
        cluster.connection(),
        cluster.bin
    )
}

/// Restores the newest base into a new directory, lets a server recover from it to `target`, and gives what it then has.
fn recovered(world: &World, of: &Cluster, produced: &Path, at: &str, target: &str, name: &str) -> String {
    let to = world.at(name);
    let base = produced.join("base");
    world.good(0, &["restore", base.to_str().unwrap(), "--at", at, "--to", to.to_str().unwrap()]);
    let data = find(&to, "PG_VERSION").parent().unwrap().to_owned();
    ran(Command::new(of.bin.join("pg_verifybackup")).arg("-n").arg(&data));
    give_to_postgres(&to);
    let dir = world.at(&format!("{name}-run"));
    std::fs::create_dir(&dir).unwrap();
    give_to_postgres(&dir);
    let restored = Cluster { bin: of.bin.clone(), data, sock: dir, port: free_port() };
    // The server runs as another user than the one who has the key: the files of WAL are fetched for it.
    let program = env!("CARGO_BIN_EXE_bygone");
    let config = world.at("bygone.toml");
    let fetch = match rustix::process::geteuid().is_root() {
        // As root, the key and the state are given to the user for the time of the test.
        true => {
            for part in ["key", "state", "repo", "bygone.toml"] {
                give_to_postgres(&world.at(part));
            }
            format!("{program} --config {} wal fetch %f %p", config.display())
        }
        false => format!("{program} --config {} wal fetch %f %p", config.display()),
    };
    restored.configure(&format!("restore_command = '{fetch}'\n{target}\nrecovery_target_action = 'promote'"));
    std::fs::write(restored.data.join("recovery.signal"), "").unwrap();
    give_to_postgres(&restored.data);
    restored.start();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while restored.sql("select pg_is_in_recovery()") == "t" {
        assert!(std::time::Instant::now() < until, "recovery does not end");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let rows = restored.sql("select count(*) || ' ' || coalesce(sum(n), 0) from t");
    let sock = restored.sock.to_str().unwrap();
    let port = restored.port.to_string();
    ran(Command::new(restored.bin.join("pg_amcheck")).args([
        "-h",
        sock,
        "-p",
        &port,
        "-U",
        "postgres",
        "--install-missing",
        "postgres",
    ]));
    rows
}

fn find(dir: &Path, name: &str) -> PathBuf {
    let mut dirs = vec![dir.to_owned()];
    let mut best: Option<PathBuf> = None;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().unwrap() == name
                && best.as_ref().is_none_or(|b| path.components().count() < b.components().count())
            {
                best = Some(path);
            }
        }
    }
    best.unwrap()
}

/// Rows, and the time after them on the server.
fn rows(cluster: &Cluster, from: u32, to: u32) -> String {
    cluster.sql(&format!("insert into t select generate_series({from}, {to})"));
    std::thread::sleep(std::time::Duration::from_millis(20));
    let time = cluster.sql("select clock_timestamp()");
    std::thread::sleep(std::time::Duration::from_millis(20));
    time
}

#[test]
fn a_server_is_recovered_to_any_time_from_a_base_and_received_wal() {
    let world = World::new("");
    let cluster = Cluster::create(&world, "");
    world.settings(&source(&cluster, ""));
    let produced = world.at("state/produced/main");
    cluster.sql("create table t (n integer primary key)");
    rows(&cluster, 1, 1000);
    world.good(0, &["snapshot", "main", "--tier", "full"]);
    let first = rows(&cluster, 1001, 1500);
    cluster.sql("select pg_switch_wal()");
    rows(&cluster, 1501, 1600);
    world.good(0, &["snapshot", "main"]);
    let after_two = world.snapshot(&["main"]);
    let wal: Vec<_> = std::fs::read_dir(produced.join("wal")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(wal.len() >= 2, "{wal:?}");
    // To a time in the middle of it, and to the end of what was captured.
    let target = format!("recovery_target_time = '{first}'");
    assert_eq!(recovered(&world, &cluster, &produced, &after_two, &target, "one"), "1500 1125750");
    assert_eq!(recovered(&world, &cluster, &produced, &after_two, "", "two"), "1600 1280800");
    // A new base, once captured, takes what it does not need out of the directory; history keeps it.
    let old = wal.iter().map(|n| n.to_str().unwrap()).filter(|n| n.len() == 24).min().unwrap().to_owned();
    cluster.sql("select pg_switch_wal()");
    rows(&cluster, 1601, 1602);
    world.good(0, &["snapshot", "main", "--tier", "differential"]);
    assert!(!produced.join("wal").join(&old).exists());
    assert_eq!(world.cat(&produced.join("wal").join(&old), &after_two).len(), 16 << 20);
}

#[test]
fn a_server_is_recovered_from_wal_that_it_pushed() {
    let world = World::new("");
    let cluster = Cluster::create(&world, "archive_mode = on\narchive_command = 'false'");
    let produced = world.at("archived");
    std::fs::create_dir(&produced).unwrap();
    give_to_postgres(&produced);
    let user = if rustix::process::geteuid().is_root() { "user = \"postgres\"\n" } else { "" };
    world.settings(&source(&cluster, &format!("wal = \"archive\"\npath = \"DIR/archived\"\n{user}")));
    let push =
        format!("{} --config {} wal push %p %f", env!("CARGO_BIN_EXE_bygone"), world.at("bygone.toml").display());
    cluster.sql(&format!("alter system set archive_command = '{push}'"));
    cluster.sql("select pg_reload_conf()");
    cluster.sql("create table t (n integer primary key)");
    rows(&cluster, 1, 100);
    world.good(0, &["snapshot", "main", "--tier", "full"]);
    let first = rows(&cluster, 101, 150);
    rows(&cluster, 151, 160);
    let segment = cluster.sql("select pg_walfile_name(pg_switch_wal())");
    let pushed = produced.join("wal").join(&segment);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !pushed.exists() {
        assert!(std::time::Instant::now() < until, "{}", std::fs::read_to_string(cluster.sock.join("log")).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let after = world.snapshot(&["main"]);
    let target = format!("recovery_target_time = '{first}'");
    assert_eq!(recovered(&world, &cluster, &produced, &after, &target, "one"), "150 11325");
    // The same once more is fine, and another content under its name is refused.
    let (pushed, segment) = (pushed.to_str().unwrap().to_owned(), segment.as_str());
    world.good(0, &["wal", "push", &pushed, segment]);
    std::fs::write(world.at("other"), "another").unwrap();
    let (_, told) = world.good(1, &["wal", "push", world.at("other").to_str().unwrap(), segment]);
    assert!(told.contains("is there already with another content"), "{told}");
    let (out, told) = world.good(1, &["wal", "fetch", "0000000900000000000000FF", world.at("to").to_str().unwrap()]);
    assert_eq!((out, told), (String::new(), String::new()), "what is not there is no word worth");

    // What was captured and has been removed since is found too.
    let bytes = std::fs::read(&pushed).unwrap();
    std::fs::remove_file(&pushed).unwrap();
    world.snapshot(&["main"]);
    world.good(0, &["wal", "fetch", segment, world.at("back").to_str().unwrap()]);
    assert!(std::fs::read(world.at("back")).unwrap() == bytes);

    // A server that can't archive is told of.
    let (_, well, _) = world.run(&["health"]);
    assert!(!well.contains("can't archive"), "{well}");
    cluster.sql("alter system set archive_command = 'false'");
    cluster.sql("select pg_reload_conf()");
    rows(&cluster, 161, 170);
    let failed = cluster.sql("select pg_walfile_name(pg_switch_wal())");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let (status, told, _) = world.run(&["health"]);
        if told.contains("can't archive its WAL") {
            assert!(status == 1 && told.contains(&failed), "{status}: {told}");
            break;
        }
        assert!(std::time::Instant::now() < until, "{told}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn dumps_of_databases_are_files_and_what_is_gone_goes() {
    let world = World::new("");
    let cluster = Cluster::create(&world, "");
    world.settings(&source(&cluster, "mode = \"logical\"\n"));
    cluster.sql("create table t (n integer)");
    cluster.sql("insert into t values (4711)");
    cluster.sql("create database \"it's\"");
    cluster.sql("create role somebody");
    world.good(0, &["snapshot", "main"]);
    let produced = world.at("state/produced/main");
    let globals = String::from_utf8(world.cat(&produced.join("globals.sql"), "latest")).unwrap();
    assert!(globals.contains("CREATE ROLE somebody"), "{globals}");
    let dump = world.at("dump");
    std::fs::write(&dump, world.cat(&produced.join("postgres.dump"), "latest")).unwrap();
    let list = ran(Command::new(cluster.bin.join("pg_restore")).args(["--data-only", "-f", "-"]).arg(&dump));
    assert!(list.contains("4711"), "{list}");
    assert!(!world.cat(&produced.join("it's.dump"), "latest").is_empty());
    cluster.sql("drop database \"it's\"");
    world.good(0, &["snapshot", "main"]);
    assert!(!produced.join("it's.dump").exists());
    cluster.stop();
    let (_, told) = world.good(1, &["snapshot", "main"]);
    assert!(told.contains("cannot ask the PostgreSQL server"), "{told}");
}

#[test]
fn what_watches_receives_wal_all_the_time_and_ends_its_receiver() {
    let world = World::new("");
    let cluster = Cluster::create(&world, "");
    world.settings(&source(&cluster, ""));
    cluster.sql("create table t (n integer primary key)");
    let mut watch = world.command(&["watch", "main"]).spawn().unwrap();
    let wait_for = |what: &str, sql: &str, value: &str| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while cluster.sql(sql) != value {
            assert!(std::time::Instant::now() < until, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let receivers = "select count(*) from pg_stat_replication where application_name = 'pg_receivewal'";
    wait_for("it receives", receivers, "1");
    cluster.sql("insert into t select generate_series(1, 1000)");
    let segment = cluster.sql("select pg_walfile_name(pg_switch_wal())");
    let segment = world.at("state/produced/main/wal").join(segment);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while world.run(&["cat", segment.to_str().unwrap(), "--at", "latest"]).0 != 0 {
        assert!(std::time::Instant::now() < until, "the segment is captured by itself");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    ran(Command::new("kill").args(["-INT", &watch.id().to_string()]));
    assert!(watch.wait().unwrap().success());
    wait_for("the receiver ended", receivers, "0");
}
