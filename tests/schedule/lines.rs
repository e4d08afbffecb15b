//! `bygone schedule next`, and what is wrong with schedules in the settings.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const SETTINGS: &str = r#"
[schedule]
zone = "Europe/Berlin"

[[source]]
path = "/srv"
full = "sun 02:00"
differential = "mon..sat 02:30"
blackout = ["02:15-04:00"]

[[job]]
name = "check"
run = "verify"
schedule = "30 2 * * *"

[[job]]
name = "maintain"
run = "maintain"
schedule = "last sun monthly 20:00"
zone = "America/New_York"
jitter = "10m"
"#;

fn run(settings: &str, args: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    bygone::sys::durable::replace(&dir.path().join("bygone.toml"), settings.as_bytes(), 0o600).unwrap();
    run_in(dir.path(), args)
}

fn run_in(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("--config").arg(dir.join("bygone.toml")).args(args);
    let Output { status, stdout, stderr } = command.env_clear().env("HOME", dir).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(dir.to_str().unwrap(), "DIR");
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn the_coming_runs_are_printed_in_their_order() {
    let args = ["schedule", "next", "--count", "9", "--after", "2027-03-25 12:00"];
    let wanted = "\
2027-03-26 02:30 +01:00  check  verify  30 2 * * *
2027-03-26 04:00 +01:00  differential  /srv  mon..sat 02:30; postponed from 2027-03-26 02:30 +01:00 by the blackout 02:15-04:00
2027-03-27 02:30 +01:00  check  verify  30 2 * * *
2027-03-27 04:00 +01:00  differential  /srv  mon..sat 02:30; postponed from 2027-03-27 02:30 +01:00 by the blackout 02:15-04:00
2027-03-28 03:00 +02:00  check  verify  30 2 * * *
2027-03-28 04:00 +02:00  full  /srv  sun 02:00; postponed from 2027-03-28 03:00 +02:00 by the blackout 02:15-04:00
2027-03-28 20:04:57 -04:00  maintain  last sun monthly 20:00; 4m 57s later by jitter
2027-03-29 02:30 +02:00  check  verify  30 2 * * *
2027-03-29 04:00 +02:00  differential  /srv  mon..sat 02:30; postponed from 2027-03-29 02:30 +02:00 by the blackout 02:15-04:00
";
    assert_eq!(run(SETTINGS, &args), (0, wanted.into(), String::new()));
}

#[test]
fn in_json_too() {
    let (status, out, _) =
        run(SETTINGS, &["--json", "schedule", "next", "--count", "2", "--after", "2027-03-25 12:00"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((status, lines.len()), (0, 2));
    let wanted = serde_json::json!({
        "start": "2027-03-26T03:00:00.000000000Z", "local": "2027-03-26 04:00 +01:00",
        "scheduled": "2027-03-26T01:30:00.000000000Z", "job": "differential /srv", "run": "differential", "source": "/srv",
        "schedule": "mon..sat 02:30", "zone": "Europe/Berlin", "why": "postponed", "blackout": "02:15-04:00",
    });
    assert_eq!(lines[1], wanted);
    assert_eq!(
        (&lines[0]["job"], &lines[0]["source"], &lines[0]["why"]),
        (&"check".into(), &None::<String>.into(), &"scheduled".into())
    );
}

#[test]
fn without_a_count_there_are_ten_and_without_a_schedule_none() {
    let (status, out, _) = run(SETTINGS, &["schedule", "next"]);
    assert_eq!((status, out.lines().count()), (0, 10));
    let (status, out, told) = run("[[source]]\npath = \"/srv\"\n", &["schedule", "next"]);
    assert!(
        (status, out.as_str()) == (0, "") && told.contains("nothing has a schedule: give a source `full`"),
        "{told}"
    );
    assert_eq!(run(SETTINGS, &["schedule", "next", "--count", "0"]).0, 2);
    let (status, _, told) = run(SETTINGS, &["schedule", "next", "--after", "soon"]);
    assert!(status == 2 && told.contains("cannot take \"soon\" as a time"), "{told}");
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    for (text, wanted) in [
        (
            "[[source]]\npath = \"/srv\"\nfull = \"sun 25:00\"",
            "DIR/bygone.toml:3:8: \"sun 25:00\" is no schedule: \"25:00\" is no time of day (00:00 to 23:59); write one like \"daily 02:30\"",
        ),
        (
            "[[source]]\npath = \"/srv\"\nblackout = [\"22:00\"]",
            "DIR/bygone.toml:3:12: \"22:00\" is no blackout window: \"22:00\" is no range of times of day; write one like",
        ),
        (
            "[[source]]\npath = \"/srv\"\nblackout = [\"00:00-12:00\", \"12:00-24:00\"]",
            "DIR/bygone.toml:3:12: the blackout windows leave no minute of the week",
        ),
        ("[schedule]\nzone = \"Mars/Base\"", "DIR/bygone.toml:2:8: cannot use time zone \"Mars/Base\""),
        ("[schedule]\nretries = 21", "DIR/bygone.toml:2:11: 21 is no number of retries: write one from 0 to 20"),
        ("[[job]]\nname = \"a b\"", "DIR/bygone.toml:2:8: \"a b\" can't name a job"),
        (
            "[[job]]\nname = \"a\"\nrun = \"full\"",
            "DIR/bygone.toml:3:7: unknown variant `full`, expected one of `verify`, `maintain`, `snapshot`",
        ),
        (
            "[[job]]\nname = \"a\"\nrun = \"verify\"\nschedule = \"0 0 31 2 *\"",
            "DIR/bygone.toml:4:12: \"0 0 31 2 *\" is no schedule: there is no such day in any year",
        ),
        (
            "[[job]]\nname = \"a\"\nrun = \"verify\"\nschedule = \"daily\"\n[[job]]\nname = \"a\"\nrun = \"verify\"\nschedule = \"daily\"",
            "DIR/bygone.toml:5:1: there are two jobs of the name \"a\"",
        ),
    ] {
        let (status, out, told) = run(text, &["schedule", "next"]);
        assert_eq!((status, out.as_str()), (1, ""), "{text}");
        assert!(told.starts_with(&format!("error: {wanted}")), "{told}\nbut not\n{wanted}");
    }
}
