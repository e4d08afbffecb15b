//! Invariants: recorded with a snapshot, measured again of what a drill or a run brings back, and told where they are broken.

use crate::cluster::Cluster;
use crate::rehearsed::{can_drill, drill, is_gone};
use crate::world::World;
use serde_json::Value;
use std::path::Path;

const SQLITE: &str =
    "[[source.invariant]]\nname = \"orders\"\nsqlite = \"shop/app.db\"\nquery = \"select count(*) from orders\"\n";

fn database(world: &World, rows: u32) {
    std::fs::create_dir_all(world.at("root/shop")).unwrap();
    let db = rusqlite::Connection::open(world.at("root/shop/app.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS orders (n INTEGER)").unwrap();
    for n in 0..rows {
        db.execute("INSERT INTO orders VALUES (?1)", [n]).unwrap();
    }
}

fn plan(world: &World, text: &str) {
    std::fs::create_dir_all(world.at("plans")).unwrap();
    let restore = "[[step]]\nname = \"back\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"DIR/to\"\n";
    let text = format!("{restore}{text}").replace("DIR", world.path().to_str().unwrap());
    std::fs::write(world.at("plans/p.toml"), text).unwrap();
}

fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["invariants"].as_array().unwrap_or_else(|| panic!("{report}"));
    all.iter().find(|of| of["name"] == name).unwrap_or_else(|| panic!("{report}"))
}

/// What health has to say of invariants.
fn told_by_health(world: &World) -> String {
    let (_, out, told) = world.run(&["health"]);
    format!("{out}{told}")
}

#[test]
fn what_was_recorded_is_found_again_and_what_is_lacking_is_named() {
    if !can_drill() {
        return;
    }
    let command = "[[source.invariant]]\nname = \"sum\"\ncommand = \"cat $BYGONE_PATH/a $BYGONE_PATH/b | cksum\"\ncompare = \"exact\"\n";
    let files = "[[source.invariant]]\nname = \"all\"\nfiles = \".\"\n";
    let world = World::new(&format!("[[source]]\npath = \"DIR/root\"\n{SQLITE}{command}{files}"));
    database(&world, 30);
    std::fs::write(world.at("root/a"), "one").unwrap();
    std::fs::write(world.at("root/b"), "two").unwrap();
    let at = world.snapshot(&[]);
    // Of the source as it is now nothing is taken.
    database(&world, 5);
    std::fs::write(world.at("root/a"), "three").unwrap();
    plan(&world, "");
    let report = drill(&world, 0, &["p", "--at", &at, "--parts", "1"]);
    let orders = of(&report, "orders");
    assert_eq!(
        (&orders["expected"], &orders["found"], &orders["verdict"]),
        (&"30".into(), &"30".into(), &"held".into())
    );
    assert_eq!(of(&report, "sum")["verdict"], "held", "{report}");
    assert_eq!(of(&report, "all")["verdict"], "held", "{report}");
    assert!(of(&report, "all")["found"].as_str().unwrap().starts_with("3 files, "), "{report}");
    let page = world.at("state/drills").join(report["drill"].as_str().unwrap()).join("report.html");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<h2>Invariants</h2>") && page.contains("orders"), "{page}");
    world.good(0, &["drill", "verify"]);
    // A plan by which rows are lost.
    let lossy = "[[step]]\nname = \"lose\"\nkind = \"command\"\nneeds = [\"back\"]\nshell = \"cp DIR/fewer.db DIR/to/root/shop/app.db; rm DIR/to/root/b\"\n";
    let db = rusqlite::Connection::open(world.at("fewer.db")).unwrap();
    db.execute_batch("CREATE TABLE orders (n INTEGER); INSERT INTO orders VALUES (1)").unwrap();
    drop(db);
    plan(&world, lossy);
    let report = drill(&world, 1, &["p", "--at", &at, "--parts", "1"]);
    let orders = of(&report, "orders");
    assert_eq!(
        (&orders["expected"], &orders["found"], &orders["verdict"]),
        (&"30".into(), &"1".into(), &"broken".into())
    );
    let told = report["failures"].to_string();
    assert!(told.contains("the invariant orders of") && told.contains("with snapshot 1 it was"), "{told}");
    assert!(told.contains("the invariant sum of") && told.contains("the invariant all of"), "{told}");
    is_gone(&world);
    // The same by a step of a run, which is no drill.
    let look = "[[step]]\nname = \"look\"\nkind = \"check\"\nneeds = [\"back\"]\ninvariants = true\n";
    plan(&world, look);
    let (out, told) = world.good(0, &["plan", "run", "p", "--at", &at]);
    assert!(format!("{out}{told}").contains("3 invariant(s) held"), "{out}{told}");
    assert!(world.at("to/root/shop/app.db").exists());
    std::fs::remove_dir_all(world.at("to")).unwrap();
    plan(&world, &format!("{lossy}{}", look.replace("\"back\"]", "\"lose\"]")));
    let (out, told) = world.good(1, &["plan", "run", "p", "--at", &at]);
    assert!(format!("{out}{told}").contains("the invariant orders of"), "{out}{told}");
    // Names are for every role, and values for those who read content.
    let (out, _) = world.good(0, &["--json", "audit", "show", "--kind", "snapshot"]);
    assert!(out.contains("\"orders\"") && !out.contains("select count"), "{out}");
}

#[test]
fn what_has_changed_since_is_not_compared() {
    if !can_drill() {
        return;
    }
    let at_least =
        "[[source.invariant]]\nname = \"many\"\ncommand = \"ls $BYGONE_PATH | wc -l\"\ncompare = \"at-least\"\n";
    let invariants = format!("{SQLITE}{at_least}");
    let world = World::new(&format!("[[source]]\npath = \"DIR/root\"\n{invariants}"));
    database(&world, 3);
    world.snapshot(&[]);
    // Captured without being measured, as by whoever watches.
    world.settings("[[source]]\npath = \"DIR/root\"\n");
    std::fs::write(world.at("root/more"), "x").unwrap();
    let beside = world.snapshot(&[]);
    database(&world, 3);
    let changed = world.snapshot(&[]);
    world.settings(&format!("[[source]]\npath = \"DIR/root\"\n{invariants}"));
    plan(&world, "");
    // The database is still the one that was asked.
    let report = drill(&world, 0, &["p", "--at", &beside]);
    assert_eq!((&of(&report, "orders")["verdict"], &of(&report, "orders")["snapshot"]), (&"held".into(), &1.into()));
    assert_eq!(of(&report, "many")["verdict"], "held", "{report}");
    let report = drill(&world, 0, &["p", "--at", &changed]);
    assert_eq!(of(&report, "orders")["verdict"], "not-compared", "{report}");
    assert!(of(&report, "orders")["why"].as_str().unwrap().contains("snapshot 1"), "{report}");
    // A question that is another one has another answer.
    world.settings(&format!("[[source]]\npath = \"DIR/root\"\n{}", SQLITE.replace("count", "max").replace('*', "n")));
    let report = drill(&world, 0, &["p", "--at", &beside]);
    assert!(of(&report, "orders")["why"].as_str().unwrap().contains("settings have changed"), "{report}");
}

#[test]
fn what_cannot_be_measured_is_told_and_the_snapshot_is_taken() {
    let one = |name: &str, line: &str| {
        format!(
            "[[source.invariant]]\nname = {name:?}\ncommand = {line:?}\ncompare = \"at-least\"\ntimeout = \"300ms\"\n"
        )
    };
    let all = [
        one("fails", "echo no such ledger >&2; exit 7"),
        one("hangs", "sleep 600"),
        one("silent", "true"),
        one("long", "yes | head -c 10000"),
        one("good", "echo 4"),
        SQLITE.to_owned(),
    ];
    let world = World::new(&format!("[[source]]\npath = \"DIR/root\"\n{}", all.concat()));
    std::fs::write(world.at("root/a"), "one").unwrap();
    let (out, told) = world.good(3, &["--json", "snapshot"]);
    let report: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(report["snapshot"]["number"], 1, "{out}");
    for (name, why) in [
        ("fails", "no such ledger"),
        ("hangs", "time-out"),
        ("silent", "no value"),
        ("long", "more than 4096 bytes"),
        ("orders", "the snapshot has no "),
    ] {
        let failures = report["failures"].as_array().unwrap();
        let found =
            failures.iter().find(|f| f["what"] == format!("the invariant {name}")).unwrap_or_else(|| panic!("{out}"));
        assert!(found["why"].as_str().unwrap().contains(why), "{found}");
        assert!(told.contains(&format!("the invariant {name}")), "{told}");
    }
    assert!(!told.contains("the invariant good"), "{told}");
    assert_eq!(world.cat(&world.at("root/a"), "latest"), b"one");
    assert!(told_by_health(&world).contains("an invariant of it could not be measured"));
    // What was mended is told no more.
    world.settings(&format!("[[source]]\npath = \"DIR/root\"\n{}", one("good", "echo 5")));
    world.good(0, &["snapshot"]);
    assert!(!told_by_health(&world).contains("an invariant of it"));
    // No file of a measurement stays.
    let left = std::fs::read_dir(world.at("state")).unwrap();
    assert!(left.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with("invariant-")));
}

#[test]
fn a_postgres_server_that_came_back_is_asked() {
    if !can_drill() {
        return;
    }
    let world = World::new("");
    let cluster = Cluster::create(&world, "");
    world.settings(&format!(
        "[[source]]\nname = \"main\"\nkind = \"postgres\"\nconnection = {:?}\nbin = {:?}\n[[source.invariant]]\nname = \"balance\"\n\
         query = \"select sum(n) from accounts\"\ncompare = \"exact\"\n",
        cluster.connection(),
        cluster.bin
    ));
    cluster.sql("create table accounts (n integer)");
    cluster.sql("insert into accounts select generate_series(1, 100)");
    world.good(0, &["snapshot", "main", "--tier", "full"]);
    let text = |name: &str| Path::to_str(&world.at(name)).unwrap().to_owned();
    std::fs::create_dir_all(world.at("plans")).unwrap();
    let server = format!(
        "[[step]]\nname = \"server\"\nkind = \"postgres\"\nsource = \"main\"\ndata = {:?}\nuser = \"postgres\"\nthen = \"run\"\n",
        text("new")
    );
    std::fs::write(world.at("plans/p.toml"), &server).unwrap();
    let report = drill(&world, 0, &["p"]);
    let balance = of(&report, "balance");
    assert_eq!((&balance["expected"], &balance["verdict"]), (&"5050".into(), &"held".into()), "{report}");
    let spoil = "[[step]]\nname = \"spoil\"\nkind = \"check\"\nneeds = [\"server\"]\nserver = \"server\"\n\
                 query = \"delete from accounts where n = 50 returning n\"\n";
    std::fs::write(world.at("plans/p.toml"), server + spoil).unwrap();
    let report = drill(&world, 1, &["p"]);
    assert_eq!(of(&report, "balance")["found"], "5000", "{report}");
    is_gone(&world);
}
