//! Who may use whom: the floors in the documentation of the crate hold in every file, and each third-party crate that is a
//! wall is used behind it only.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Rooms on one floor that may use one another all the same, and why.
const BESIDE: &[(&str, &str, &str)] = &[
    ("config", "schedule", "a schedule is read where it is written, so that an error has its line"),
    ("daemon", "drill", "the service tells how drills went"),
    ("daemon", "recover", "the service tells how recoveries stand, and goes on with them"),
    ("dr", "drill", "how long recovery takes is what drills have measured"),
    ("dr", "plan", "or what runs of plans have"),
    ("drill", "plan", "a drill is a run of a plan, apart"),
    ("drill", "report", "its report is a page like the other one"),
    ("sys", "types", "what the system says is told in our values"),
];

/// Third-party crates and the places that may name them.
const WALLS: &[(&str, &[&str])] = &[
    ("aes_gcm", &["crypto/"]),
    ("argon2", &["crypto/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("croner", &["schedule/cron.rs"]),
    ("fuser", &["mount/fuse.rs"]),
    ("futures_util", &["store/s3.rs"]),
    ("getrandom", &["crypto/"]),
    ("globset", &["view/glob.rs"]),
    ("hpke", &["crypto/content.rs"]),
    ("ignore", &["config/patterns.rs"]),
    ("indicatif", &["cli/bar.rs"]),
    ("jiff", &["types/when/"]),
    ("lettre", &["daemon/notices/smtp.rs"]),
    ("notify", &["capture/watch/inotify.rs"]),
    ("object_store", &["store/s3.rs", "store/s3_lock.rs"]),
    ("reqwest", &["daemon/notices/webhook.rs"]),
    ("rpassword", &["cli/secret.rs"]),
    ("rusqlite", &["index/"]),
    ("rustls", &["daemon/notices/webhook.rs", "store/s3.rs"]),
    ("sha2", &["crypto/"]),
    ("signal_hook", &["sys/"]),
    ("tokio", &["daemon/", "store/s3.rs"]),
    ("toml_edit", &["config/"]),
    ("tracing_subscriber", &["cli/"]),
    ("zstd", &["chunk/"]),
];

/// Names of the standard library that only some places may use: the text, and the places.
const OWN: &[(&str, &[&str])] = &[
    ("SystemTime::now", &["sys/clock.rs"]),
    ("println!", &["cli/"]),
    ("eprintln!", &["cli/", "sys/testfs.rs"]),
    ("env::var", &["cli/"]),
    ("process::exit", &["cli/", "main.rs"]),
];

/// A file of the crate: its path below `src`, and its lines without comments.
struct Source {
    path: String,
    text: String,
    lines: Vec<String>,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the text is there as a whole word, followed by `after`.
    fn names(&self, word: &str, after: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let wanted = format!("{word}{after}");
        self.lines.iter().any(|line| {
            line.match_indices(&wanted).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| is_word(c) || c == '.' || c == ':')
            })
        })
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut dirs = vec![root.clone()];
    let mut out = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = |line: &str| line.split("//").next().unwrap_or_default().trim_end().to_owned();
                let lines = text.lines().map(code).collect();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                out.push(Source { path, text, lines });
            }
        }
    }
    assert!(out.len() > 100, "the files were found");
    out
}

/// The floors, from the table in the documentation of the crate.
fn floors() -> BTreeMap<String, u8> {
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let mut floors = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let Some((floor, rooms)) = line.split_once(" | ") else { continue };
        let Ok(floor) = floor.trim().parse() else { continue };
        for room in rooms.split('`').filter(|part| part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.')) {
            let room = room.strip_suffix(".rs").unwrap_or(room);
            if !room.is_empty() {
                floors.insert(room.to_owned(), floor);
            }
        }
    }
    assert!(floors["main"] == 8 && floors["types"] == 1, "{floors:?}");
    floors
}

/// The rooms that a file names: `crate::room`, also inside `use crate::{...}`.
fn rooms_of(text: &str) -> BTreeSet<String> {
    let ident = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(rooms.insert(ident(rest))),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (n, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && (c.is_alphanumeric() || c == '_') => {
                            rooms.insert(ident(&list[n..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

#[test]
fn every_room_uses_only_the_floors_below() {
    let floors = floors();
    let mut wrong = Vec::new();
    let mut needed = BTreeSet::new();
    for source in sources() {
        let room = source.room();
        let Some(floor) = floors.get(room).copied().or((room == "lib").then_some(9)) else {
            wrong.push(format!("{}: the room {room} stands on no floor of src/lib.rs", source.path));
            continue;
        };
        for used in rooms_of(&source.lines.join("\n")) {
            let Some(below) = floors.get(&used) else {
                wrong.push(format!("{}: crate::{used} is no room", source.path));
                continue;
            };
            let beside = BESIDE.iter().find(|(a, b, _)| (*a, *b) == (room, used.as_str()));
            if let Some((a, b, _)) = beside {
                needed.insert((*a, *b));
            } else if used != room && *below >= floor {
                wrong.push(format!("{}: {room} (floor {floor}) uses {used} (floor {below})", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (a, b, why) in BESIDE {
        assert!(needed.contains(&(*a, *b)), "the exception {a} > {b} ({why}) is not needed any more");
        assert!(!needed.contains(&(*b, *a)), "{a} and {b} go in a circle");
    }
}

#[test]
fn every_room_is_on_the_map() {
    let floors = floors();
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let there: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let told: BTreeSet<&str> = floors.keys().map(String::as_str).filter(|room| *room != "main").collect();
    assert_eq!(there, told);
}

#[test]
fn third_party_crates_stay_behind_their_walls() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources() {
        for (name, places) in WALLS {
            if !source.names(name, "::") && !source.names(&format!("use {name}"), ";") {
                continue;
            }
            used.insert(*name);
            if !places.iter().any(|place| source.path.starts_with(place)) {
                wrong.push(format!("{} uses {name}, which belongs into {}", source.path, places.join(", ")));
            }
        }
        for (text, places) in OWN {
            let is_there = source.lines.iter().any(|line| line.contains(text));
            // Tests may print and look around.
            let is_test = source.path.contains("test") || source.text.contains("#[cfg(test)]");
            if is_there
                && !places.iter().any(|place| source.path.starts_with(place))
                && !(is_test && *text != "SystemTime::now")
            {
                wrong.push(format!("{} uses {text}, which belongs into {}", source.path, places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused: Vec<_> = WALLS.iter().map(|(name, _)| *name).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "nothing uses {unused:?}: the table or the way of looking is wrong");
}

#[test]
fn a_mod_file_is_a_door() {
    for source in sources().iter().filter(|s| s.path.ends_with("mod.rs")) {
        assert!(source.text.starts_with("//! "), "{}: says what the room is", source.path);
        for line in source.lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()) {
            let is_door = line.starts_with("#[cfg(")
                || line.starts_with("#![allow(")
                || ((line.starts_with("mod ") || line.contains("pub")) && line.ends_with(';') && line.contains("mod "));
            assert!(is_door, "{}: {line}", source.path);
        }
    }
}

#[test]
fn a_room_is_found_in_every_form_of_import() {
    let rooms = |text| rooms_of(text).into_iter().collect::<Vec<_>>();
    assert_eq!(rooms("use crate::types::ids::Id;"), ["types"]);
    assert_eq!(rooms("use crate::{\n    repo::{write, read::X},\n    sys,\n};"), ["repo", "sys"]);
    assert_eq!(rooms("fn f() -> crate::index::Row { pub(in crate::sys) }"), ["index", "sys"]);
}
