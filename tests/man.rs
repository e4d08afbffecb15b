//! The committed manual pages are those of the command line. `BYGONE_BLESS=1 cargo test --test man` writes them anew.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bygone::cli::man;
use bygone::sys::durable;

fn dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// The pages of section 1 that are there.
fn committed() -> BTreeSet<String> {
    let names = std::fs::read_dir(dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.ends_with(".1")).collect()
}

#[test]
fn pages_are_current() {
    let pages = man::pages().unwrap();
    let names: BTreeSet<String> = pages.iter().map(|p| p.name.clone()).collect();
    if std::env::var_os("BYGONE_BLESS").is_some() {
        committed().difference(&names).for_each(|old| std::fs::remove_file(dir().join(old)).unwrap());
        pages.iter().for_each(|p| durable::replace(&dir().join(&p.name), &p.roff, 0o644).unwrap());
    }
    assert_eq!(committed(), names, "pages that are missing or left over: bless them");
    for page in pages {
        let there = std::fs::read(dir().join(&page.name)).unwrap();
        assert!(there == page.roff, "man/{} is not current: run BYGONE_BLESS=1 cargo test --test man", page.name);
    }
}

#[test]
fn a_synopsis_says_what_is_needed_and_what_it_is_called() {
    let synopsis = |name: &str| {
        let pages = man::pages().unwrap();
        let roff = &pages.iter().find(|page| page.name == name).unwrap().roff;
        let text = String::from_utf8(roff.clone()).unwrap();
        let line = text.lines().skip_while(|line| *line != ".SH SYNOPSIS").nth(1).unwrap().to_owned();
        [("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\-", "-"), ("\\~", " ")]
            .iter()
            .fold(line, |line, (a, b)| line.replace(a, b))
    };
    let restore = synopsis("bygone-restore.1");
    assert!(
        restore.starts_with(
            "bygone restore {--to DIR | --in-place} {--at TIME | --before-change PATH} [--source SOURCE]... "
        ),
        "{restore}"
    );
    assert!(restore.ends_with(" [-n|--dry-run] [--host HOST] [options of every command] [PATH]..."), "{restore}");
    assert_eq!(synopsis("bygone-snapshot.1"), "bygone snapshot [--tier TIER] [options of every command] [SOURCE]...");
    assert!(
        synopsis("bygone-source-add.1").contains(" [--exclude PATTERN]... "),
        "{}",
        synopsis("bygone-source-add.1")
    );
    assert_eq!(synopsis("bygone-hold.1"), "bygone hold [options of every command] command ...");
    assert!(
        synopsis("bygone.1").starts_with("bygone [--config FILE] ")
            && synopsis("bygone.1").contains(" [-v|--verbose]... ")
    );
}

#[test]
fn pages_please_mandoc() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        eprintln!("mandoc is not installed: not checked");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    for page in man::pages().unwrap() {
        let path = temp.path().join(&page.name);
        durable::replace(&path, &page.roff, 0o644).unwrap();
        let out = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
}
