//! The manual pages that are written by hand: that they read well, and that the one of the settings names all of them, with
//! the defaults that they have.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bygone::config::{
    load,
    model::Config,
    places::{Places, Surroundings},
};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn written_by_hand() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    pages.filter(|p| p.extension().is_none_or(|e| e != "1")).collect()
}

#[test]
fn they_please_mandoc() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        eprintln!("mandoc is not installed: not checked");
        return;
    }
    let pages = written_by_hand();
    assert_eq!(pages.len(), 4, "{pages:?}");
    let out = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn they_fit_a_terminal() {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("groff is not installed: not checked");
        return;
    }
    for page in written_by_hand() {
        let out = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-rLL=80n"]).arg(&page).output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && !told.contains("break line"), "{}: {told}", page.display());
    }
}

#[test]
fn they_refer_to_pages_that_are_there() {
    for path in written_by_hand() {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let mut words = line.split(' ');
            if let (Some(".Xr"), Some(name), Some(section)) = (words.next(), words.next(), words.next())
                && name.starts_with("bygone")
            {
                let there = path.with_file_name(format!("{name}.{section}"));
                assert!(there.exists(), "{}: {line}", path.display());
            }
        }
    }
}

fn places() -> Places {
    Places::of(&Surroundings { root: true, host: "pluto".into(), ..Surroundings::default() }).unwrap()
}

fn read(text: &str) -> Result<Config, String> {
    let places = places();
    load::parse(text, &places.config, &places).map_err(|e| e.to_string())
}

/// The settings that a table can have, as the error about one that it cannot have lists them.
fn known(table: &str) -> BTreeSet<String> {
    let told = read(&format!("{table}\nno-such-setting = 1\n")).unwrap_err();
    let (_, list) = told.split_once(", expected ").unwrap_or_else(|| panic!("{told}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn all_settings_are_described() {
    let mut described: Vec<(String, BTreeSet<String>)> = Vec::new();
    let page = page("bygone.toml.5");
    let (settings, _) = page.split_once("\n.Sh SCHEDULES\n").unwrap();
    for line in settings.lines() {
        if let Some(heading) = line.strip_prefix(".Ss ") {
            described.push((heading.to_owned(), BTreeSet::new()));
        } else if let (Some(setting), Some(last)) = (line.strip_prefix(".It Li "), described.last_mut()) {
            last.1.insert(setting.to_owned());
        }
    }
    let mut tables = BTreeSet::new();
    for (heading, settings) in &described {
        let table = if heading == "Outside of tables" { "" } else { heading };
        let mut known = known(table);
        if table.is_empty() {
            // The tables are settings of the top too.
            tables = known.iter().filter(|k| !settings.contains(*k)).cloned().collect();
            known.retain(|k| settings.contains(k));
        }
        assert_eq!(*settings, known, "in {heading}");
    }
    let headings = described.iter().skip(1).map(|(h, _)| h.trim_matches(['[', ']']).to_owned()).collect();
    assert_eq!(tables, headings);
}

#[test]
fn the_example_is_the_defaults() {
    let text = page("bygone.toml.5");
    let mut blocks = text.split(".Bd -literal -offset indent\n").skip(1).map(|b| b.split("\n.Ed").next().unwrap());
    let (all, second) = (blocks.next().unwrap(), blocks.next().unwrap());
    let (example, default) = (read(all).unwrap(), read("").unwrap());
    assert_eq!(format!("{:?}", example.capture), format!("{:?}", default.capture));
    assert_eq!(example.mount, default.mount);
    assert_eq!(example.limits, default.limits);
    assert_eq!(example.key, default.key);
    assert_eq!((example.repository, example.state, example.host), (default.repository, default.state, default.host));
    let plain = read("[[source]]\npath = \"/srv\"\n").unwrap();
    let shown = |c: &Config| {
        c.sources.iter().map(|s| format!("{s:?}").split(", at:").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&read(all).unwrap()), shown(&plain));
    assert_eq!(read(second).unwrap().sources.len(), 1);

    // What has a default of its own is in the example, and is what the description says.
    for line in all.lines().filter_map(|l| l.split_once(" = ")) {
        let (setting, value) = (line.0, line.1.trim_matches('"'));
        let item = text.split(&format!(".It Li {setting}\n")).nth(1).unwrap().split("\n.It").next().unwrap();
        let says = item.split("Default:").nth(1).map(|d| d.lines().next().unwrap().trim().trim_end_matches('.'));
        if let Some(says) = says.filter(|s| !s.is_empty() && !s.starts_with("the ")) {
            assert_eq!(says, value, "{setting}");
        }
    }
}

#[test]
fn the_example_of_the_package_can_be_used() {
    let text = include_str!("../packaging/bygone.toml");
    let config = read(text).unwrap();
    assert_eq!((config.sources.len(), config.jobs.len()), (2, 1));
    // What is only suggested can be used too.
    let all: String = text.lines().map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line))).collect();
    let limits = &all[all.find("[limits]").unwrap()..all.find("[retention]").unwrap()];
    let limits: String = limits.lines().filter(|line| !line.starts_with(' ')).map(|line| format!("{line}\n")).collect();
    let limits = read(&limits).unwrap().limits;
    assert!(limits.read.is_some() && limits.upload.is_some() && limits.download.is_some());
}
