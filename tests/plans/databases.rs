//! The plans of the package for databases: SQLite, and PostgreSQL to a second while it is worked with.

use crate::cluster::{Cluster, give_to_postgres, ran};
use crate::ready::ready;
use crate::world::World;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_application_with_sqlite() {
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    let path = world.at("root/shop.db");
    let fill = |from: u32| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)")
            .unwrap();
        for n in from..from + 500 {
            db.execute("INSERT INTO t VALUES (?1, hex(randomblob(100)))", [n]).unwrap();
        }
    };
    fill(0);
    let at = world.snapshot(&[]);
    fill(500);
    world.snapshot(&[]);
    std::fs::write(&path, b"SQLite format 3\0 and nothing more").unwrap();
    let (plan, log) = (ready("sqlite"), world.at("log"));
    let line = |what: &str| format!("--set={what}=echo {what} >>{}", log.display());
    let (app, room) =
        (format!("--set=app={}", text(&world.at("root"))), format!("--set=room={}", text(&world.at("room"))));
    let (out, _) = world.good(0, &["plan", "run", &plan, "--at", &at, &app, &room, &line("stop"), &line("start")]);
    assert!(out.contains("whole-again: done") && out.contains("1 database(s) are whole"), "{out}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "stop\nstart\n");
    let rows = || {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(rows(), 500);

    // What is not whole is noticed before anything is stopped.
    std::fs::write(&path, [b"SQLite format 3\0".as_slice(), &[0xab; 8192]].concat()).unwrap();
    let (status, told, _) = world.run(&["--json", "snapshot"]);
    assert!(status == 0 || status == 3, "{told}");
    let room = format!("--set=room={}", text(&world.at("second")));
    let (out, err) =
        world.good(1, &["plan", "run", &plan, "--at", "latest", &app, &room, &line("stop"), &line("start")]);
    assert!(out.contains("whole: failed") && err.contains("failed, rolled back"), "{out}{err}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "stop\nstart\n");
    assert!(!world.at("second").exists());
}

/// Something that works with the server, until it is dropped.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The servers that a plan has left, stopped when the test ends, also by a panic.
struct Servers {
    bin: PathBuf,
    data: Vec<PathBuf>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for data in &self.data {
            let mut stop = crate::cluster::as_postgres(&self.bin.join("pg_ctl"));
            let _unheard = stop.arg("-D").arg(data).args(["-w", "-m", "immediate", "stop"]).output();
        }
    }
}

const CONSISTENT: &str = "select (select count(*) from marks) || ' ' || ((select sum(abalance) from pgbench_accounts) = \
     (select sum(delta) from pgbench_history) and (select sum(bbalance) from pgbench_branches) = \
     (select sum(delta) from pgbench_history)) || ' ' || (select count(*) > 0 from pgbench_history)";

#[test]
fn a_postgres_cluster_under_load_to_a_second() {
    let world = World::new("");
    let cluster = Cluster::create(&world, "");
    let servers = Servers { bin: cluster.bin.clone(), data: vec![world.at("pg/new"), world.at("pg/late")] };
    world.settings(&format!(
        "[[source]]\nname = \"main\"\nkind = \"postgres\"\nconnection = {:?}\nbin = {:?}\n",
        cluster.connection(),
        cluster.bin
    ));
    let pgbench = || {
        let mut command = Command::new(cluster.bin.join("pgbench"));
        command.args(["-h", text(&cluster.sock), "-p", &cluster.port.to_string(), "-U", "postgres"]);
        command
    };
    ran(pgbench().args(["-i", "-q", "-s", "1", "postgres"]));
    cluster.sql("create table marks (n integer primary key)");
    world.good(0, &["snapshot", "main", "--tier", "full"]);
    let load = pgbench().args(["-c", "2", "-T", "600", "postgres"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let load = Load(load.unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    while cluster.sql("select count(*) >= 100 from pgbench_history") != "t" {
        assert!(Instant::now() < until, "pgbench does not work");
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.sql("insert into marks values (1)");
    std::thread::sleep(Duration::from_millis(1100));
    // A second that is over: its end lies between the two marks.
    let at = cluster.sql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    std::thread::sleep(Duration::from_millis(1100));
    cluster.sql("insert into marks values (2)");
    cluster.sql("select pg_switch_wal()");
    std::thread::sleep(Duration::from_millis(300));
    drop(load);
    world.good(0, &["snapshot", "main"]);

    give_to_postgres(&world.at("pg"));
    let plan = ready("postgres");
    let inputs = |data: &str| {
        let data = format!("--set=data={}", text(&world.at(data)));
        let user = std::env::var("USER").unwrap_or_else(|_| "postgres".into());
        let user = if rustix::process::geteuid().is_root() { "postgres".to_owned() } else { user };
        [
            "--set=source=main".to_owned(),
            data,
            format!("--set=user={user}"),
            format!("--set=query={CONSISTENT}"),
            "--set=expect=1 true true".to_owned(),
        ]
    };
    let with = |data: &str, more: &[&str]| -> Vec<String> {
        let fixed = ["plan", "run", &plan, "--at", &at].map(str::to_owned).to_vec();
        [fixed, inputs(data).to_vec(), more.iter().map(|m| (*m).to_owned()).collect()].concat()
    };
    let go = |status: i32, args: Vec<String>| world.good(status, &args.iter().map(String::as_str).collect::<Vec<_>>());
    let (out, _) = go(0, with("pg/new", &["--dry-run"]));
    assert!(out.contains("server: postgres, ") && out.contains(" file(s)"), "{out}");
    let (out, _) = go(0, with("pg/new", &["--json"]));
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let timed = last["steps"].as_array().unwrap();
    assert!(timed.len() == 3 && timed.iter().all(|s| s["ended"] == "done" && s["took_ms"].is_u64()), "{out}");
    eprintln!("{}", serde_json::to_string(&last["steps"]).unwrap());
    assert!(timed[0]["told"].as_str().unwrap().contains("recovered and promoted in"), "{out}");

    // Where the answer is not what is expected, the server is ended and its directory goes.
    let wrong = with("pg/late", &["--set=expect=something else"]);
    let (out, err) = go(1, wrong);
    assert!(out.contains("answer: failed") && err.contains("failed, rolled back"), "{out}{err}");
    assert!(!world.at("pg/late").exists() && !world.at("pg/late.run").exists());
    // What is there is not touched.
    let (out, _) = go(1, with("pg/new", &[]));
    assert!(out.contains("is there and not empty"), "{out}");
    // Behind the end of all WAL there is no instant to recover to.
    let mut beyond = with("pg/late", &[]);
    beyond[4] = "2200-01-01".into();
    let (out, _) = go(1, beyond);
    assert!(out.contains("recovery ended before configured recovery target was reached"), "{out}");
    drop(servers);
}
