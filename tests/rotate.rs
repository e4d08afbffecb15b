//! Rotation of keys: what a key that was removed before can read and what it can't, with nothing but that key and the bytes of the
//! store; hosts that go on; crashes; copies; and mounts across generations.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/keyring.rs"]
mod keyring;

use bygone::crypto::{keys::Sealing, seal::ObjectKind};
use bygone::mount::{
    fs::Shown,
    inodes::Split,
    session::{self, MountOptions},
};
use bygone::progress::Quiet;
use bygone::repo::{generations, header, names, open::Repository, opener, replay, write::SourceWriter};
use bygone::store::{api::Store as _, local::LocalStore};
use bygone::types::{ids::Generation, role::Role, when::zone::Zone};
use keyring::{Lab, noise};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// The slot with this role.
fn slot(lab: &Lab, role: Role) -> String {
    let listed = lab.ok("admin", &["--json", "key", "list"]);
    let slots: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    slots.iter().find(|s| s["role"] == role.word()).unwrap()["id"].as_str().unwrap().to_owned()
}

/// The generation of each sealed object, by its header.
fn generations(repo: &Path) -> BTreeMap<String, Generation> {
    let store = LocalStore::open(repo);
    let sealed = |name: &str| !name.starts_with(names::KEYS) && name != names::REPOSITORY;
    let names = store.list("").unwrap().into_iter().map(|o| o.name).filter(|name| sealed(name));
    names.map(|name| (name.clone(), of_header(&fs::read(repo.join(&name)).unwrap()))).collect()
}

fn of_header(bytes: &[u8]) -> Generation {
    Generation(bytes[9..14].try_into().unwrap())
}

fn note(lab: &Lab, host: &str, what: &str) {
    fs::write(lab.source(host).join("note"), what).unwrap();
}

fn read_note(lab: &Lab, by: &str, of: &str) -> (i32, String, String) {
    lab.run(by, &["cat", "--host", of, text(&lab.source(of).join("note"))])
}

/// A thief has the key of a reader, its slot, and every byte of the store for ever. The slot is removed and the keys are rotated.
#[test]
fn a_stolen_key_reads_what_is_old_and_nothing_that_is_new() {
    let lab = Lab::new();
    note(&lab, "writer", "old secret");
    lab.ok("writer", &["snapshot"]);
    let (stolen, old) = (slot(&lab, Role::Reader), generations(&lab.at("repo")));
    assert!(old.values().all(|generation| *generation == Generation::FIRST));
    let kept = fs::read(lab.at("repo/keys").join(&stolen)).unwrap();
    let removed = lab.ok("admin", &["key", "remove", &stolen]);
    assert!(removed.contains("run `bygone key rotate`"), "{removed}");
    let told = lab.ok("admin", &["key", "rotate"]);
    assert!(told.starts_with("rotated the keys: generation 1 (0001") && told.contains("3 key(s) open it"), "{told}");
    let names_of_new = noise(40_000, 7);
    note(&lab, "writer", "new secret");
    fs::write(lab.source("writer").join("new file"), &names_of_new).unwrap();
    lab.ok("writer", &["snapshot"]);
    lab.ok("admin", &["snapshot"]);

    // He puts his slot back, into a copy of the bytes as they are now.
    let thief = lab.at("thief-repo");
    copy(&lab.at("repo"), &thief);
    fs::write(thief.join("keys").join(&stolen), &kept).unwrap();
    let repo = Repository::open(Arc::new(LocalStore::open(&thief)), &lab.secret("reader")).unwrap();
    assert_eq!(repo.role(), Role::Reader);
    let all = generations(&thief);
    let (mut opened, mut closed) = (0, 0);
    for (name, generation) in &all {
        let bytes = fs::read(thief.join(name)).unwrap();
        let head = header::read(&bytes, kind(&bytes), Sealing::Apart).unwrap();
        if *generation == Generation::FIRST {
            assert!(old.contains_key(name) || name.starts_with(names::AUDIT), "{name} is new");
            opened += u32::from(repo.keys().object(head.1, kind(&bytes), head.0, name).is_ok());
            continue;
        }
        closed += 1;
        let told = repo.keys().object(head.1, kind(&bytes), head.0, name).err().unwrap().to_string();
        assert!(told.contains(&format!("generation {generation} of the keys")), "{told}");
        // The keys that he has open no piece of it either, whatever the header is made to say.
        let forged = repo.keys().object(Generation::FIRST, kind(&bytes), head.0, name).unwrap();
        let begin = header::LEN + usize::from(bytes[14]) + usize::from(bytes[15]) * 256;
        for start in [begin, begin + 4, header::LEN, header::LEN + 4] {
            for end in [bytes.len(), bytes.len() - 8].into_iter().chain(start + 16..(start + 600).min(bytes.len())) {
                assert!(forged.open(0, &mut bytes[start..end].to_vec()).is_err(), "{name}");
            }
        }
        if let Some(pack) = names::parse_pack(name) {
            assert!(opener::read_table(&repo, pack).is_err());
            for of in [Generation::FIRST, *generation] {
                assert!(repo.keys().frames(of, pack, name, &bytes[header::LEN..][..48]).is_err());
            }
        }
    }
    assert!(opened >= 2 && closed >= 4, "{opened} {closed}");
    // What was stored before he still reads: rotation takes nothing back.
    lab.host("thief", "reader");
    let settings = fs::read_to_string(lab.at("thief/bygone.toml")).unwrap();
    fs::write(lab.at("thief/bygone.toml"), settings.replace(text(&lab.at("repo")), text(&thief))).unwrap();
    let (_, out, told) = read_note(&lab, "thief", "writer");
    assert!(out == "old secret" && told.contains("which this key does not open"), "{out} {told}");

    // All others read both.
    for host in ["admin", "writer", "auditor"] {
        lab.ok(host, &["verify"]);
    }
    lab.ok("admin", &["verify", "--read-data"]);
    assert_eq!(read_note(&lab, "admin", "writer").1, "new secret");
}

fn kind(bytes: &[u8]) -> ObjectKind {
    let kinds = [ObjectKind::Pack, ObjectKind::Journal, ObjectKind::Hold, ObjectKind::Audit, ObjectKind::Collection];
    kinds.into_iter().find(|kind| *kind as u8 == bytes[6]).unwrap()
}

/// A writer whose key was removed has a slot and a store that takes what he stores: the program does not seal under what is old.
#[test]
fn a_removed_writer_is_refused_and_says_why() {
    let lab = Lab::new();
    lab.ok("writer", &["snapshot"]);
    let stolen = slot(&lab, Role::Writer);
    let path = lab.at("repo/keys").join(&stolen);
    let kept = fs::read(&path).unwrap();
    lab.ok("admin", &["key", "remove", &stolen]);
    lab.ok("admin", &["key", "rotate"]);
    fs::write(&path, kept).unwrap();
    note(&lab, "writer", "later");
    let (status, _, told) = lab.run("writer", &["snapshot"]);
    assert!(status == 1 && told.contains("nothing is written under an old generation of the keys"), "{told}");
    // An admin sees it, and the next generation leaves it out too, and says so.
    let listed = lab.ok("admin", &["key", "list"]);
    assert!(
        listed.lines().any(|l| l.starts_with(&stolen[..8]) && l.contains("does not open the generation")),
        "{listed}"
    );
    let (status, _, told) = lab.run("admin", &["key", "rotate"]);
    assert!(
        status == 3 && told.contains(&stolen) && told.contains("no admin who knew the generation in force"),
        "{told}"
    );
}

/// Hosts learn of a generation by themselves, those that go on too; deduplication goes across generations.
#[test]
fn other_hosts_go_on_under_the_new_generation() {
    let lab = Lab::new();
    let shared = noise(2 << 20, 1);
    fs::write(lab.source("writer").join("shared"), &shared).unwrap();
    lab.ok("writer", &["snapshot"]);
    // Opened before the rotation, and not again.
    let (writer, reader) = (lab.attached(Role::Writer), lab.attached(Role::Reader));
    lab.ok("admin", &["key", "rotate"]);
    let before = lab.bytes_in_packs();
    fs::write(lab.source("admin").join("shared"), &shared).unwrap();
    note(&lab, "admin", "of the new generation");
    lab.ok("admin", &["snapshot"]);
    assert!(lab.bytes_in_packs() - before < 10_000, "known chunks are known in all generations");
    assert_eq!(writer.repo().keys().in_force(), Ok(Generation::FIRST), "it has not looked yet");
    assert!(replay::catch_up(&reader, &Quiet).unwrap().problems.is_empty());
    let root = lab.source("writer");
    drop(SourceWriter::open(writer.clone(), "writer", root.as_os_str().as_bytes()).unwrap());
    assert_eq!(writer.repo().keys().in_force().unwrap().number(), 1);
    note(&lab, "writer", "also new");
    lab.ok("writer", &["snapshot"]);
    let segments = generations(&lab.at("repo"));
    assert!(segments.iter().filter(|(n, g)| n.starts_with(names::JOURNAL) && g.number() == 1).count() >= 2);
    for (host, what) in [("admin", "of the new generation"), ("writer", "also new")] {
        assert_eq!(read_note(&lab, "reader", host).1, what);
    }
    // What is packed anew is sealed under the new generation, and keys added since read all of it.
    lab.ok("admin", &["maintain", "--thorough"]);
    lab.ok("admin", &["key", "add", "--role", "reader", "--key-file", text(&lab.at("keys/late"))]);
    lab.host("late", "late");
    lab.ok("late", &["verify", "--read-data"]);
    lab.ok("late", &["index", "rebuild"]);
    assert_eq!(read_note(&lab, "late", "writer").1, "also new");
    let page = lab.ok("admin", &["key", "export"]);
    fs::write(lab.at("keys/paper"), page).unwrap();
    lab.host("paper", "paper");
    lab.ok("paper", &["key", "rotate"]);
    lab.ok("late", &["verify", "--read-data"]);
}

/// What is said of it, before and after.
#[test]
fn lists_and_the_audit_trail_tell_of_it() {
    let lab = Lab::new();
    let settings = fs::read_to_string(lab.at("admin/bygone.toml")).unwrap();
    let site = format!("{settings}[[site]]\nname = \"far\"\nrepository = {:?}\n", lab.at("copy"));
    fs::write(lab.at("admin/bygone.toml"), site).unwrap();
    let told = lab.ok("admin", &["key", "add", "--key-file", text(&lab.at("keys/spare"))]);
    assert!(
        told.contains("the copies at far don't have this key until the next replicate: run `bygone replicate`"),
        "{told}"
    );
    let rotated = lab.json("admin", &["key", "rotate"]);
    assert_eq!((rotated["number"].as_u64(), rotated["keys"].as_array().unwrap().len()), (Some(1), 5));
    assert_eq!(rotated["copies_without_it"], serde_json::json!(["far"]));
    let generation = rotated["generation"].as_str().unwrap();
    let by = slot(&lab, Role::Admin);
    let listed = lab.ok("auditor", &["key", "list"]);
    let line = listed.lines().last().unwrap();
    assert!(line.starts_with(&format!("generation 1 ({generation}), in force: rotated ")), "{line}");
    assert!(line.contains(" with the key ") && line.ends_with("keys that open it: 5"), "{line}");
    assert!(!by.is_empty());
    let shown = lab.ok("auditor", &["audit", "show", "--kind", "key-rotate"]);
    assert!(shown.contains(generation), "{shown}");
    lab.ok("auditor", &["audit", "verify"]);
    for role in [Role::Reader, Role::Writer, Role::Auditor] {
        let (status, _, told) = lab.run(role.word(), &["key", "rotate"]);
        assert!(status == 1 && told.contains("it cannot add, remove or rotate keys"), "{told}");
    }
}

#[test]
fn a_copy_has_all_generations_and_can_be_opened_without_the_origin() {
    let lab = Lab::new();
    let settings = fs::read_to_string(lab.at("admin/bygone.toml")).unwrap();
    let site = format!("{settings}[[site]]\nname = \"far\"\nrepository = {:?}\n", lab.at("copy"));
    fs::write(lab.at("admin/bygone.toml"), site).unwrap();
    lab.ok("admin", &["snapshot"]);
    lab.ok("admin", &["replicate"]);
    lab.ok("admin", &["key", "remove", &slot(&lab, Role::Reader)]);
    lab.ok("admin", &["key", "rotate"]);
    lab.ok("admin", &["key", "add", "--role", "reader", "--key-file", text(&lab.at("keys/late"))]);
    note(&lab, "admin", "after the rotation");
    lab.ok("admin", &["snapshot"]);
    lab.ok("admin", &["replicate"]);
    lab.ok("admin", &["verify", "--against", "far"]);
    fs::rename(lab.at("repo"), lab.at("lost")).unwrap();
    fs::rename(lab.at("copy"), lab.at("repo")).unwrap();
    lab.host("late", "late");
    lab.ok("late", &["verify", "--read-data"]);
    assert_eq!(read_note(&lab, "late", "admin").1, "after the rotation");
    let (status, _, told) = lab.run("reader", &["verify"]);
    assert!(status == 1 && told.contains("no key slot of the repository"), "{told}");
}

/// A mount that was there before the rotation shows what is captured after it, beside what was before.
#[test]
fn a_mount_shows_all_generations() {
    let lab = Lab::new();
    note(&lab, "admin", "old");
    lab.ok("admin", &["snapshot"]);
    let at = lab.attached(Role::Reader);
    fs::create_dir(lab.at("mnt")).unwrap();
    let shown = Shown {
        host: "admin".into(),
        exact: false,
        this_host: "reader".into(),
        zone: Zone::utc(),
        at: None,
        split: Split::Shared,
    };
    let options = MountOptions { shown, allow_other: false };
    let mounted = session::mount(at.clone(), &options, &lab.at("mnt")).unwrap();
    let note_at = |view: &str| {
        let source = lab.source("admin");
        fs::read_to_string(lab.at("mnt").join(view).join(source.strip_prefix("/").unwrap()).join("note")).unwrap()
    };
    assert_eq!(note_at("@latest"), "old");
    let old = fs::read_link(lab.at("mnt/@latest")).unwrap();
    lab.ok("admin", &["key", "rotate"]);
    note(&lab, "admin", "new");
    lab.ok("admin", &["snapshot"]);
    // A mount follows the index of its host.
    replay::catch_up(&at, &Quiet).unwrap();
    for _ in 0..300 {
        if note_at("@latest") == "new" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((note_at("@latest").as_str(), note_at(text(&old)).as_str()), ("new", "old"));
    mounted.unmount().unwrap();
}

/// Two admins at the same time, and a key that goes while they do: no generation is lost, and what was removed opens the last one in no case.
#[test]
fn two_admins_at_the_same_time_lose_nothing() {
    let lab = Lab::new();
    lab.ok("admin", &["key", "add", "--key-file", text(&lab.at("keys/second"))]);
    lab.host("second", "second");
    let start = |host: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(lab.at(host).join("bygone.toml")).args(["key", "rotate"]);
        command.env_clear().env("HOME", lab.at(host)).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    };
    let both = [start("admin"), start("second"), start("admin")];
    for mut child in both {
        assert!(child.wait().unwrap().success());
    }
    let stated = generations::list(&LocalStore::open(&lab.at("repo"))).unwrap();
    assert!(stated.len() >= 3 && stated.iter().all(|(_, stated)| stated.as_ref().unwrap().slots.len() == 5));
    lab.ok("writer", &["snapshot"]);
    for host in ["second", "reader"] {
        lab.ok(host, &["verify", "--read-data"]);
    }
    let repo = lab.open(Role::Auditor);
    assert!(stated.iter().all(|(generation, _)| repo.keys().knows(*generation)));
}

/// Killed at every call that makes something durable: the old generation is in force or the new one, and the command run again ends well.
#[test]
fn a_rotation_that_is_killed_leaves_one_generation_or_the_other() {
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success()) {
        eprintln!("not tested: strace is not here, or may not trace");
        return;
    }
    let lab = Lab::new();
    lab.ok("writer", &["snapshot"]);
    lab.ok("admin", &["verify"]);
    let (repo, kept) = (lab.at("repo"), lab.at("kept"));
    copy(&repo, &kept);
    let (mut killed, mut in_force) = (0, [0, 0]);
    for call in ["fsync,fdatasync", "/^rename"] {
        for at in 1.. {
            fs::remove_dir_all(&repo).unwrap();
            copy(&kept, &repo);
            let _ = fs::remove_dir_all(lab.at("admin/state"));
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
            command.arg(format!("inject={call}:signal=SIGKILL:when={at}")).arg(env!("CARGO_BIN_EXE_bygone"));
            command.arg("--config").arg(lab.at("admin/bygone.toml")).args(["key", "rotate"]);
            command.env_clear().env("HOME", lab.at("admin")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
            if command.stdin(Stdio::null()).output().unwrap().status.success() {
                break;
            }
            killed += 1;
            let number = lab.open(Role::Writer).keys().in_force().unwrap().number();
            in_force[usize::from(number)] += 1;
            note(&lab, "writer", &format!("{call} {at}"));
            let _ = fs::remove_dir_all(lab.at("writer/state"));
            lab.ok("writer", &["snapshot"]);
            let again = lab.json("admin", &["key", "rotate"]);
            assert_eq!(again["number"].as_u64(), Some(u64::from(number) + 1));
            assert_eq!(read_note(&lab, "reader", "writer").1, format!("{call} {at}"));
            let _ = fs::remove_dir_all(lab.at("reader/state"));
        }
    }
    assert!(killed >= 6 && in_force[0] > 0 && in_force[1] > 0, "{killed} {in_force:?}");
}

/// What stands in the open is authenticated: a generation that is not there, another number, an object that is damaged or gone.
#[test]
fn a_generation_that_is_unknown_swapped_or_gone_is_told_with_its_object() {
    let lab = Lab::new();
    note(&lab, "writer", "old");
    lab.ok("writer", &["snapshot"]);
    let rotated = lab.json("admin", &["key", "rotate"]);
    let object = format!("keys/generation-{}", rotated["generation"].as_str().unwrap());
    note(&lab, "writer", "new");
    lab.ok("writer", &["snapshot"]);
    let all = generations(&lab.at("repo"));
    let path = |name: &str| lab.at("repo").join(name);
    let newest = |prefix: &str| all.iter().rfind(|(n, g)| n.starts_with(prefix) && g.number() == 1).unwrap().0.clone();
    for name in [newest(names::JOURNAL), newest(names::PACKS), newest(names::AUDIT)] {
        let whole = fs::read(path(&name)).unwrap();
        for (generation, told) in
            [(Generation::FIRST, ""), (Generation::new(9, [1, 2, 3]), "keys/generation-0009010203 is missing")]
        {
            let mut bytes = whole.clone();
            bytes[9..14].copy_from_slice(&generation.0);
            fs::remove_file(path(&name)).unwrap();
            fs::write(path(&name), &bytes).unwrap();
            let _ = fs::remove_dir_all(lab.at("reader/state"));
            let (status, out, err) = lab.run("reader", &["verify", "--read-data"]);
            let found = format!("{out}{err}");
            assert!(status == 3 && found.contains(&name) && found.contains(told), "{name} {generation}: {found}");
        }
        fs::remove_file(path(&name)).unwrap();
        fs::write(path(&name), &whole).unwrap();
    }
    let _ = fs::remove_dir_all(lab.at("reader/state"));
    lab.ok("reader", &["verify", "--read-data"]);
    // Damaged: it is named, what is old is read, and nothing is written under what is old.
    let whole = fs::read(path(&object)).unwrap();
    let mut bytes = whole.clone();
    bytes[70] ^= 1;
    fs::remove_file(path(&object)).unwrap();
    fs::write(path(&object), &bytes).unwrap();
    let (status, out, _) = lab.run("admin", &["verify"]);
    assert!(status == 3 && out.contains(&object) && out.contains("it is damaged"), "{out}");
    let (status, _, told) = lab.run("writer", &["snapshot"]);
    assert!(status == 1 && told.contains("nothing is written under an old generation"), "{told}");
    assert_eq!(lab.run("admin", &["key", "list"]).0, 3);
    // Gone: a host that has written under it does not go on under the one before.
    fs::remove_file(path(&object)).unwrap();
    let (status, _, told) = lab.run("writer", &["snapshot"]);
    assert!(status == 1 && told.contains("is not there any more"), "{told}");
    fs::write(path(&object), &whole).unwrap();
    lab.ok("writer", &["snapshot"]);
    lab.ok("reader", &["verify", "--read-data"]);
}

/// A repository from before roles has one key for all.
#[test]
fn a_repository_from_before_roles_is_not_rotated() {
    let lab = Lab { temp: tempfile::tempdir().unwrap() };
    lab.host("old", "old");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1");
    copy(&from.join("repo"), &lab.at("repo"));
    fs::copy(from.join("key"), lab.at("keys/old")).unwrap();
    let (status, _, told) = lab.run("old", &["key", "rotate"]);
    assert!(status == 1 && told.contains("can't be rotated: it was made before keys had roles"), "{told}");
    lab.ok("old", &["snapshot"]);
    lab.ok("old", &["verify", "--read-data"]);
}
