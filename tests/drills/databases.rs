//! The plans of the package for databases, rehearsed: SQLite, and a PostgreSQL server that is started on the recovered cluster.

use crate::cluster::Cluster;
use crate::rehearsed::{can_drill, drill, is_gone, ready};
use crate::world::World;
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_application_with_sqlite() {
    if !can_drill() {
        return;
    }
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    let path = world.at("root/shop.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)").unwrap();
    for n in 0..300 {
        db.execute("INSERT INTO t VALUES (?1, hex(randomblob(100)))", [n]).unwrap();
    }
    drop(db);
    let at = world.snapshot(&[]);
    std::fs::write(&path, "no database any more").unwrap();
    let (app, room) = (format!("app={}", text(&world.at("root"))), format!("room={}", text(&world.at("room"))));
    let stop = format!("stop=echo stop >>{}", text(&world.at("log")));
    let args = ["--at", &at, "--set", &app, "--set", &room, "--set", &stop, "--set", "start=true", "--parts", "1"];
    let report = drill(&world, 0, &[&[ready("sqlite").as_str()], args.as_slice()].concat());
    assert_eq!(report["proved"]["databases"], 2, "in the room apart, and in place: {report}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "no database any more");
    assert!(!world.at("log").exists() && !world.at("room").exists());
    // What was damaged when it was captured is found, whatever the plan looks at.
    std::fs::write(&path, [b"SQLite format 3\0".as_slice(), &[0xab; 8192]].concat()).unwrap();
    let (status, told, _) = world.run(&["--json", "snapshot"]);
    assert!(status == 0 || status == 3, "{told}");
    std::fs::create_dir_all(world.at("plans")).unwrap();
    let plan = format!(
        "[[step]]\nname = \"x\"\nkind = \"restore\"\npaths = [{:?}]\nto = {:?}\n",
        world.at("root"),
        world.at("to")
    );
    std::fs::write(world.at("plans/p.toml"), plan).unwrap();
    let (out, _) = world.good(1, &["drill", "run", "p"]);
    assert!(out.contains("shop.db: "), "{out}");
    is_gone(&world);
}

#[test]
fn a_postgres_server_is_started_on_the_cluster_and_asked() {
    if !can_drill() {
        return;
    }
    let world = World::new("");
    let cluster = Cluster::create(&world, "");
    world.settings(&format!(
        "[[source]]\nname = \"main\"\nkind = \"postgres\"\nconnection = {:?}\nbin = {:?}\n",
        cluster.connection(),
        cluster.bin
    ));
    cluster.sql("create table marks (n integer primary key)");
    world.good(0, &["snapshot", "main", "--tier", "full"]);
    cluster.sql("insert into marks select generate_series(1, 1000)");
    cluster.sql("select pg_switch_wal()");
    std::thread::sleep(std::time::Duration::from_millis(300));
    world.good(0, &["snapshot", "main"]);
    let data = format!("data={}", text(&world.at("new")));
    let args =
        ["--set", "source=main", "--set", &data, "--set", "query=select count(*) from marks", "--set", "expect=1000"];
    let report = drill(&world, 0, &[&[ready("postgres").as_str()], args.as_slice()].concat());
    let server = &report["steps"][0];
    assert!(server["told"].as_str().unwrap().contains("recovered and promoted"), "{report}");
    let (scratch, bytes) = (report["scratch_bytes"].as_u64().unwrap(), server["bytes"].as_u64().unwrap());
    eprintln!("{bytes} bytes came back, {scratch} were written");
    // What changes is written, and WAL in files of 16 MiB: nothing of the rest is copied.
    assert!(scratch < bytes, "{report}");
    assert!(!world.at("new").exists() && !world.at("new.run").exists());
    let wrong = ["--set", "source=main", "--set", &data, "--set", "query=select 1", "--set", "expect=2"];
    let plan = ready("postgres");
    let args = [&["drill", "run", plan.as_str()], wrong.as_slice()].concat();
    let (_, told) = world.good(1, &args);
    assert!(told.contains("the step answer failed"), "{told}");
    is_gone(&world);
    assert_eq!(cluster.sql("select count(*) from marks"), "1000", "the first server goes on");
}
