//! Keys with roles: with only one key, on a host of its own, what a role can do works, and what it can't is refused and says so.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/keyring.rs"]
mod keyring;

use bygone::crypto::{
    keys::KeyError,
    seal::ObjectKind,
    slots::{Secret, SlotKind},
};
use bygone::progress::Quiet;
use bygone::repo::{
    collect::locks, error::RepoError, frames::Frames, header, holds::write as holds, names, opener, write::SourceWriter,
};
use bygone::sys::clock;
use bygone::types::{
    ids::{Generation, Id},
    role::{Need, Role},
    when::window::Window,
};
use bygone::verify::check::{self, Options, VerifyError};
use keyring::{Lab, noise};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
};

#[test]
fn a_writer_captures_and_deduplicates_and_reads_nothing() {
    let lab = Lab::new();
    let shared = noise(3 << 20, 1);
    fs::write(lab.source("admin").join("shared"), &shared).unwrap();
    lab.ok("admin", &["snapshot"]);
    let before = lab.bytes_in_packs();
    // What another host has stored is not stored again, though the writer can't read it.
    fs::write(lab.source("writer").join("shared"), &shared).unwrap();
    lab.ok("writer", &["snapshot"]);
    let after = lab.bytes_in_packs();
    assert!(after - before < 10_000, "{before} {after}");
    // It goes on, after a change, with a state directory of its own and with a new one.
    fs::write(lab.source("writer").join("own"), noise(100_000, 2)).unwrap();
    lab.ok("writer", &["snapshot", "--tier", "differential"]);
    fs::remove_dir_all(lab.at("writer/state")).unwrap();
    fs::write(lab.source("writer").join("note"), "changed").unwrap();
    lab.ok("writer", &["snapshot"]);
    lab.ok("writer", &["snapshot", "--tier", "full"]);
    assert!(lab.bytes_in_packs() - after < 150_000);
    lab.ok("writer", &["verify"]);

    // Of its own files too, it reads nothing back.
    let own = lab.source("writer").join("own");
    let (status, out, told) = lab.run("writer", &["cat", own.to_str().unwrap()]);
    let refused = "this key has the role writer: it cannot read content; use a key with the role reader or admin";
    assert!(status == 1 && out.is_empty() && told.contains(refused), "{told}");
    // Whoever has a reader's key does.
    let found = lab.ok("reader", &["cat", "--host", "writer", lab.source("writer").join("note").to_str().unwrap()]);
    assert_eq!(found, "changed");
    let to = lab.at("back");
    lab.ok(
        "reader",
        &[
            "restore",
            lab.source("writer").to_str().unwrap(),
            "--host",
            "writer",
            "--at",
            "latest",
            "--to",
            to.to_str().unwrap(),
        ],
    );
    let files: Vec<Vec<u8>> = walk(&to).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(files.contains(&shared) && files.contains(&noise(100_000, 2)));
    lab.ok("reader", &["verify", "--read-data"]);
    lab.ok("admin", &["maintain"]);
    lab.ok("admin", &["verify", "--read-data"]);
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// What is packed with others still opens for those who may, and for nobody else.
#[test]
fn packs_of_a_writer_are_made_into_others_by_an_admin() {
    let lab = Lab::new();
    for n in 0..4 {
        fs::write(lab.source("writer").join("file"), noise(50_000, n)).unwrap();
        lab.ok("writer", &["snapshot"]);
    }
    let before = lab.packs();
    lab.ok("admin", &["maintain", "--thorough"]);
    lab.ok("writer", &["snapshot"]);
    lab.ok("admin", &["maintain", "--thorough"]);
    assert!(lab.packs().len() < before.len(), "{before:?} {:?}", lab.packs());
    let file = lab.source("writer").join("file");
    let out = lab.run("reader", &["cat", "--host", "writer", file.to_str().unwrap()]);
    assert_eq!(out.0, 0, "{}", out.2);
    for host in ["reader", "admin"] {
        lab.ok(host, &["verify", "--read-data"]);
    }
    for host in ["writer", "auditor"] {
        lab.ok(host, &["verify"]);
    }
}

/// Every command, and the exit status that each role gets. Refusals name the role, and what to use.
#[test]
fn every_command_allows_each_role_what_it_says() {
    let lab = Lab::new();
    for host in ["admin", "writer"] {
        lab.ok(host, &["snapshot"]);
    }
    let note = lab.source("admin").join("note").to_str().unwrap().to_owned();
    let (note, to) = (note.as_str(), lab.at("to"));
    let tree = lab.source("admin").to_str().unwrap().to_owned();
    let tree = tree.as_str();
    let slot = lab.json("admin", &["key", "add", "--key-file", lab.at("keys/spare").to_str().unwrap()]);
    let slot = slot["id"].as_str().unwrap();
    let hold = ["hold", "place", "c1", "--owner", "o", "--reason", "r"];
    let table: &[(Need, &[&str])] = &[
        (Need::Structure, &["list", "--host", "admin"]),
        (Need::Structure, &["log", "--host", "admin", note]),
        (Need::Structure, &["diff", "--host", "admin", "latest", "latest"]),
        (Need::Structure, &["find", "--host", "admin", "note"]),
        (Need::Structure, &["retention", "show"]),
        (Need::Structure, &["retention", "simulate"]),
        (Need::Structure, &["hold", "list"]),
        (Need::Structure, &["audit", "show"]),
        (Need::Structure, &["audit", "verify"]),
        (Need::Structure, &["report", "compliance", "--from", "2020-01-01"]),
        (Need::Structure, &["verify"]),
        (Need::Structure, &["index", "rebuild"]),
        (Need::Structure, &["status"]),
        (Need::Structure, &["key", "list"]),
        (Need::Structure, &["config", "check"]),
        (Need::Structure, &["kit", "--no-program", "--to"]),
        (Need::Known, &["verify-tree", tree, "--host", "admin", "--at", "latest"]),
        (Need::Content, &["cat", "--host", "admin", note]),
        (Need::Content, &["restore", note, "--host", "admin", "--at", "latest", "--to", to.to_str().unwrap()]),
        (Need::Content, &["verify", "--read-data"]),
        (Need::Content, &["verify", "--read-data", "--subset", "5%"]),
        (Need::Content, &["hold", "export", "c1", "--to"]),
        (Need::Content, &["mount", "--foreground"]),
        (Need::Capture, &["snapshot"]),
        (Need::Capture, &["snapshot", "--tier", "full"]),
        (Need::Holds, &hold),
        (Need::Holds, &["hold", "lengthen", "c1", "--until", "2100-01-01"]),
        (Need::Holds, &["hold", "release", "c1", "--reason", "r", "--confirm", "c1"]),
        (Need::Collect, &["maintain"]),
        (Need::Collect, &["maintain", "--dry-run"]),
        (Need::Collect, &["audit", "verify", "--accept"]),
        (Need::Keys, &["key", "add", "--key-file"]),
        (Need::Keys, &["key", "export", "--role", "writer"]),
        (Need::Keys, &["key", "remove", slot]),
        (Need::Keys, &["key", "rotate"]),
    ];
    for (need, args) in table {
        for role in Role::ALL {
            let new = lab.at(&format!("new-{}-{role}", args[0])).to_str().unwrap().to_owned();
            let mut args: Vec<&str> = args.to_vec();
            match args.last() {
                Some(&"--to" | &"--key-file") => args.push(&new),
                _ if args[0] == "mount" => args.insert(1, &new),
                _ => {}
            }
            let denied = role.check(*need).err().map(|denied| denied.to_string());
            // What is allowed and takes others, or a mount, is tested elsewhere.
            let verb = args.get(1).copied().unwrap_or_default();
            let elsewhere =
                args[0] == "mount" || (args[0] == "hold" && matches!(verb, "export" | "lengthen" | "release"));
            if denied.is_none() && elsewhere {
                continue;
            }
            let (status, _, told) = lab.run(role.word(), &args);
            match denied {
                // A host that captures nothing has findings and no snapshots of its own.
                None => assert!(
                    matches!(status, 0 | 3) && !told.contains("has the role"),
                    "{role} {args:?}: {status} {told}"
                ),
                Some(why) => assert!(status == 1 && told.contains(&why), "{role} {args:?}: {status} {told}"),
            }
            if args[0] == "restore" {
                let _ = fs::remove_dir_all(&to);
            }
            assert!(verb != "add" || role == Role::Admin || !Path::new(&new).exists(), "no key file is left behind");
        }
    }
}

/// Below the command line the same holds: who goes around it meets the library, and then the cipher.
#[test]
fn the_library_and_the_cipher_refuse_what_the_commands_do() {
    let lab = Lab::new();
    fs::write(lab.source("writer").join("secret"), b"what nobody but readers may see").unwrap();
    lab.ok("writer", &["snapshot"]);
    let denied =
        |e: &RepoError, role: Role, need: Need| matches!(e, RepoError::Denied(d) if d.role == role && d.need == need);
    let (pack, _) = lab.packs()[0];
    let name = names::pack(pack);
    for role in Role::ALL {
        let at = lab.attached(role);
        let (repo, reader) = (at.repo().clone(), at.reader().unwrap());
        let table = opener::read_table(&repo, pack).unwrap();
        let frame = &table.frames[0];
        // The key of the frames: from the header, and from the table.
        let head = repo.store().get(&name, 1 << 20).unwrap();
        let from_header = repo.keys().frames(Generation::FIRST, pack, &name, &head[header::LEN..][..48]);
        assert_eq!(Some(&head[header::LEN..][..48]), table.key_data.as_ref().map(|data| &data[..]));
        let sealed = || repo.store().get_range(&name, frame.offset, frame.sealed_len as usize).unwrap().to_vec();
        match role.may(Need::Content) {
            true => from_header.unwrap().open(0, &mut sealed()).unwrap(),
            false => {
                assert!(matches!(from_header.err(), Some(KeyError::Denied(d)) if d.role == role));
                for kind in
                    [ObjectKind::Pack, ObjectKind::Journal, ObjectKind::Hold, ObjectKind::Audit, ObjectKind::Collection]
                {
                    for position in [0, 1, u64::MAX] {
                        let key = repo.keys().object(Generation::FIRST, kind, pack, &name).unwrap();
                        assert!(key.open(position, &mut sealed()).is_err());
                    }
                }
                let source = reader.sources().unwrap()[0].num;
                let frames = Frames::new(repo.clone(), 1 << 20);
                let mut found = 0;
                reader
                    .each_frame(|row| {
                        let location = reader.frame_location(row.num).unwrap().unwrap();
                        assert!(denied(&frames.get(&location).err().unwrap(), role, Need::Content));
                        found += 1;
                    })
                    .unwrap();
                assert!(found > 0 && source.0 > 0);
            }
        }
        // Nothing that a role may not do is begun.
        let writer =
            SourceWriter::open(at.clone(), role.word(), lab.source(role.word()).as_os_str().as_encoded_bytes());
        assert_eq!(writer.is_ok(), role.may(Need::Capture), "{role}");
        if let Err(e) = writer {
            assert!(denied(&e, role, Need::Capture), "{e}");
        }
        let options = Options { read_data: true, ..Options::default() };
        let checked = check::verify(&at, &options, &Quiet, &AtomicBool::new(false));
        match checked {
            Ok(report) => assert!(role.may(Need::Content) && report.problems.is_empty(), "{:?}", report.problems),
            Err(VerifyError::Repo(e)) => assert!(denied(&e, role, Need::Content), "{e}"),
            Err(e) => panic!("{e}"),
        }
        if role != Role::Admin {
            let set = locks::set(&repo, Id([1; 16]), "1d".parse::<Window>().unwrap(), clock::now());
            assert!(denied(&set.err().unwrap(), role, Need::Collect));
            let added = repo.add_slot(&Secret::generate_key().unwrap(), (SlotKind::KeyFile, role), "", clock::now());
            assert!(denied(&added.err().unwrap(), role, Need::Keys));
            let released = holds::open_case(&repo, at.dir(), "none");
            assert!(released.is_err());
        }
    }
}

#[test]
fn keys_are_listed_with_their_roles_and_the_last_admin_stays() {
    let lab = Lab::new();
    let listed = lab.ok("auditor", &["key", "list"]);
    for role in Role::ALL {
        assert!(listed.lines().any(|line| line.contains(&format!("  key file      {role:<7}  "))), "{listed}");
    }
    let slots: Vec<Value> =
        lab.ok("admin", &["--json", "key", "list"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = |role: &str| slots.iter().find(|s| s["role"] == role).unwrap()["id"].as_str().unwrap().to_owned();
    let (status, _, told) = lab.run("admin", &["key", "remove", &id("admin")]);
    assert!(status == 1 && told.contains("is the last one with the role admin, and stays"), "{told}");
    // A page for paper has a role too, and opens.
    let page = lab.ok("admin", &["key", "export", "--role", "auditor"]);
    assert!(page.contains("\n    role         auditor\n") && page.contains("and\ncan't read their content"), "{page}");
    fs::write(lab.at("keys/paper"), page).unwrap();
    lab.host("paper", "paper");
    lab.ok("paper", &["verify"]);
    assert_eq!(lab.run("paper", &["snapshot"]).0, 1);
    // A removed key opens nothing, and the others go on.
    lab.ok("admin", &["key", "remove", &id("writer")]);
    let (status, _, told) = lab.run("writer", &["snapshot"]);
    assert!(status == 1 && told.contains("no key slot of the repository"), "{told}");
    lab.ok("reader", &["verify"]);
    let shown = lab.ok("admin", &["audit", "show", "--kind", "key-add"]);
    assert!(shown.contains("role=writer"), "{shown}");
    let (status, _, told) = lab.run("admin", &["key", "add", "--role", "owner", "--key-file", "/nowhere"]);
    assert!(status == 2 && told.contains("is no role: there are admin, reader, writer and auditor"), "{told}");
}

/// A repository from before roles has one key for everything in it: who can't be kept from reading content gets no key.
#[test]
fn a_repository_from_before_roles_is_read_and_grants_two_of_them() {
    let lab = Lab { temp: tempfile::tempdir().unwrap() };
    lab.host("old", "old");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1");
    assert!(Command::new("cp").arg("-r").arg(from.join("repo")).arg(lab.at("repo")).status().unwrap().success());
    fs::copy(from.join("key"), lab.at("keys/old")).unwrap();
    lab.ok("old", &["snapshot"]);
    lab.ok("old", &["verify", "--read-data"]);
    for role in ["writer", "auditor"] {
        let key = lab.at("keys").join(role);
        let (status, _, told) = lab.run("old", &["key", "add", "--role", role, "--key-file", key.to_str().unwrap()]);
        assert!(status == 1 && told.contains("it was made before keys had roles"), "{told}");
        assert!(!key.exists());
    }
    lab.ok("old", &["key", "add", "--role", "reader", "--key-file", lab.at("keys/reader").to_str().unwrap()]);
    lab.host("reader", "reader");
    lab.ok("reader", &["verify", "--read-data"]);
    let (status, _, told) = lab.run("reader", &["snapshot"]);
    assert!(status == 1 && told.contains("this key has the role reader: it cannot capture"), "{told}");
}

/// What leads to the key of a pack stands in it twice: damage of the one costs nothing and is told.
#[test]
fn a_damaged_header_of_a_pack_is_told_and_its_frames_still_open() {
    let lab = Lab::new();
    fs::write(lab.source("writer").join("file"), noise(50_000, 1)).unwrap();
    lab.ok("writer", &["snapshot"]);
    let (pack, _) = lab.packs()[0];
    let path = lab.at("repo").join(names::pack(pack));
    let whole = fs::read(&path).unwrap();
    for at in [6, 9, 20, header::LEN, header::LEN + 40] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        let (status, out, _) = lab.run("auditor", &["verify"]);
        assert!(status == 3 && out.contains("header"), "byte {at}: {out}");
        let file = lab.source("writer").join("file");
        let (status, out, told) = lab.run("reader", &["cat", "--host", "writer", file.to_str().unwrap()]);
        assert!(status == 0 && out.len() > 1000, "byte {at}: {told}");
    }
}

/// A store that gives back an earlier state of itself, whole in itself, is found out by every host that has seen the later one: a writer
/// captures nothing on top of it, and an auditor names it.
#[test]
fn a_store_that_was_set_back_is_refused() {
    let lab = Lab::new();
    lab.ok("writer", &["snapshot"]);
    let (repo, earlier) = (lab.at("repo"), lab.at("earlier"));
    assert!(Command::new("cp").arg("-a").arg(&repo).arg(&earlier).status().unwrap().success());
    fs::write(lab.source("writer").join("note"), "later").unwrap();
    lab.ok("writer", &["snapshot"]);
    lab.ok("auditor", &["verify"]);
    fs::remove_dir_all(&repo).unwrap();
    fs::rename(&earlier, &repo).unwrap();
    fs::write(lab.source("writer").join("note"), "later still").unwrap();
    let (status, _, told) = lab.run("writer", &["snapshot"]);
    assert!(status == 1 && told.contains("is older than what this host knows of it"), "{told}");
    let (status, out, told) = lab.run("auditor", &["verify"]);
    assert!(status == 3 && out.contains("shrunk"), "{out}{told}");
    assert_eq!(lab.run("auditor", &["audit", "verify"]).0, 3);
}
