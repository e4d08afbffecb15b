//! `plan check` and `plan show`: every mistake at once, each with its place and its cure; and nothing is run.

use crate::world::World;

fn world(plan: &str) -> World {
    let world = World::new("[[source]]\npath = \"DIR/root\"\n");
    std::fs::create_dir(world.at("plans")).unwrap();
    std::fs::write(world.at("plans/p.toml"), plan.replace("DIR", world.path().to_str().unwrap())).unwrap();
    world
}

#[test]
fn every_mistake_is_found_in_one_go() {
    let plan = r#"about = "x"
colour = "red"
[input.Bad]
type = "path"
[input.place]
type = "path"
default = "relative"
[input.free]
type = "colour"
[[step]]
name = "one"
kind = "restore"
to = "${nowhere}"
[[step]]
name = "two"
kind = "command"
shell = "touch DIR/ran"
run = ["true"]
needs = ["three", "none"]
[[step]]
name = "three"
kind = "check"
needs = ["two"]
exists = ["relative"]
timeout = "soon"
[[step]]
name = "three"
kind = "notify"
message = "hello"
retries = 1000
[[step]]
name = "four"
kind = "wait"
when = ["step one is wonderful", "input place is relative", "step three is done"]
paths = ["/x"]
[[step]]
name = "five"
kind = "postgres"
source = "main"
data = "/x"
undo = "remove"
[[step]]
name = "six"
kind = "command"
run = ["/no/such/program"]
user = "nobody-of-that-name"
undo = "remove"
"#;
    let world = world(plan);
    let (told, _) = world.good(2, &["plan", "check", "p"]);
    for (line, what) in [
        (2, "unknown field `colour`"),
        (3, "\"Bad\" can't name an input"),
        (7, "the default of place: \"relative\" is no absolute path"),
        (9, "unknown variant `colour`"),
        (10, "a restore says what by `paths` or by `source`"),
        (14, "the step does not say which one program runs"),
        (15, "step two: what it needs leads back to it"),
        (21, "step three: the path \"relative\" is not absolute"),
        (25, "\"soon\" is no duration"),
        (27, "there are two steps of the name \"three\""),
        (27, "the settings have no channel of notifications"),
        (30, "retries is from 0 to 100"),
        (31, "the setting `paths` does not belong to a step of the kind \"wait\""),
        (31, "the step does not say what one thing is waited for"),
        (34, "\"step one is wonderful\" is no condition"),
        (32, "the condition \"input place is relative\" can never hold"),
        (32, "\"step three is done\" is about a step that it does not need"),
        (37, "the settings have no source \"main\""),
        (43, "the program /no/such/program is not there"),
        (43, "this system knows no user \"nobody-of-that-name\""),
        (47, "undo = \"remove\" is for what a step has made"),
    ] {
        let found = told.lines().any(|l| l.contains(what));
        let place = told.lines().any(|l| l.contains(what) && l.contains(&format!("/plans/p.toml:{line}:")));
        assert!(place, "{line}: {what}: {}\n{told}", if found { "elsewhere" } else { "not told" });
    }
    assert_eq!(told.matches("to do: ").count() * 2, told.lines().count(), "{told}");
    // A run refuses too, and nothing was run.
    let (_, told) = world.good(2, &["plan", "run", "p", "--at", "latest"]);
    assert!(
        told.contains("unknown field `colour`") && told.contains("the program /no/such/program is not there"),
        "{told}"
    );
    let (_, told) = world.good(2, &["plan", "run", "nosuch", "--at", "latest"]);
    assert!(told.contains("there is no plan "), "{told}");
    assert!(!world.at("ran").exists());
}

#[test]
fn a_step_of_no_kind_hides_nothing() {
    let plan = r#"[input.to]
type = "path"
[input.tries]
type = "number"
default = 3
[input.careful]
type = "yes-no"
default = true
[input.words]
default = 7
[[step]]
name = "first"
kind = "wayt"
colour = "red"
run = "x"
for = "6 bananas"
needs = ["dbx"]
[[step]]
name = "second"
kind = "restore"
paths = ["${tu}"]
to = "${to}"
needs = ["first"]
[[step]]
kind = "manual"
ask = "Is it well?"
[[step]]
name = "third"
"#;
    let world = world(plan);
    let (told, _) = world.good(2, &["plan", "check", "p"]);
    let wanted = [
        (10, "the default of words: the number 7 is no value of the type \"text\""),
        (13, "there is no kind \"wayt\" of steps"),
        (14, "unknown field `colour`"),
        (15, "invalid type: string \"x\", expected a sequence"),
        (16, "\"6 bananas\" is no duration"),
        (12, "step first: it needs \"dbx\", and there is no such step"),
        (19, "step second: ${tu} names no input"),
        (24, "the step lacks `name`"),
        (27, "the step lacks `kind`"),
    ];
    for (line, what) in wanted {
        let found = told.lines().any(|l| l.contains(what) && l.contains(&format!("/plans/p.toml:{line}:")));
        assert!(found, "{line}: {what}\n{told}");
    }
    assert_eq!(told.matches("to do: ").count(), wanted.len(), "{told}");
}

#[test]
fn what_is_named_and_not_there_is_told_where_all_could_be_read() {
    let plan = "[[step]]\nname = \"a\"\nkind = \"command\"\nrun = [\"true\", \"${x}\"]\nneeds = [\"b\"]\n\
                [[step]]\nname = \"c\"\nkind = \"check\"\nquery = \"select 1\"\nserver = \"a\"\n";
    let world = world(plan);
    let (told, _) = world.good(2, &["--json", "plan", "check"]);
    let told: serde_json::Value = serde_json::from_str(told.trim()).unwrap();
    let what: Vec<&str> = told["problems"].as_array().unwrap().iter().map(|p| p["what"].as_str().unwrap()).collect();
    assert_eq!(
        what,
        [
            "step a: it needs \"b\", and there is no such step",
            "step a: ${x} names no input",
            "step c: it asks the server of \"a\", which recovers no server that runs on"
        ]
    );
    assert_eq!((&told["problems"][0]["line"], &told["problems"][0]["column"]), (&2.into(), &8.into()));
}

#[test]
fn a_plan_is_a_runbook() {
    let plan = "about = \"The shop comes back.\"\n[input.to]\ntype = \"path\"\nabout = \"Where to\"\ndefault = \"/srv/back\"\n\
                [[step]]\nname = \"look\"\nkind = \"check\"\nneeds = [\"files\"]\nexists = [\"${to}/root\"]\nmay-fail = true\n\
                [[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"DIR/root\"]\nto = \"${to}\"\ntimeout = \"1h\"\nretries = 2\nundo = \"remove\"\n\
                [[step]]\nname = \"ask\"\nkind = \"manual\"\nneeds = [\"look\"]\nask = \"Set $${HOME}.\"\n";
    let world = world(plan);
    let (told, _) = world.good(0, &["plan", "show", "p"]);
    let told = told.replace(world.path().to_str().unwrap(), "DIR");
    assert_eq!(
        told,
        "PLAN p\nThe shop comes back.\n\nWhere a step fails, what was made is taken back, the last step first.\n\n\
         BEFORE YOU BEGIN, KNOW\n  ${at}: the instant that is recovered to, given by --at\n  \
         ${to}: Where to (a path; \"/srv/back\" if nothing is said)\n\nSTEPS\n\n1. files\n   \
         Run: bygone restore DIR/root --at '${at}' --to ${to}\n   It is done within 1h. It is tried again up to 2 time(s), after 5s.\n   To take it back: remove what it made.\n\n\
         2. look\n   After: files.\n   Look whether these are there: ${to}/root\n   If it fails, go on.\n\n\
         3. ask\n   After: look.\n   A person: Set ${HOME}.\n   Then confirm it.\n"
    );
    let (told, _) = world.good(0, &["plan", "list"]);
    assert_eq!(told, "p  The shop comes back.\n");
    let (told, _) = world.good(0, &["plan", "check"]);
    assert!(told.ends_with("p.toml: no mistakes, 3 step(s)\n"), "{told}");
}
