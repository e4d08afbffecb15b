//! How soon a mount is ready with much history: 1,000,000 files and 10,000 snapshots, cold. `cargo bench --bench instants [FILES
//! [SNAPSHOTS]]`; as root, some 6 GB in the temporary directory.

use bygone::capture::{
    engine::{Plan, Settings, capture},
    scope::Scope,
};
use bygone::config::{
    model::{Capture, Source},
    patterns::Patterns,
};
use bygone::crypto::slots::{Secret, SlotKind};
use bygone::mount::{
    fs::Shown,
    inodes::Split,
    session::{self, MountOptions},
};
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, open::Repository, replay, write::SourceWriter};
use bygone::store::local::LocalStore;
use bygone::sys::clock::SystemClock;
use bygone::types::{snapshot::Tier, time::Instant, when::zone::Zone};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Instant as Clock,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let mut number = |default: usize| args.next().map_or(Ok(default), |a| a.parse());
    let (files, snapshots) = (number(1_000_000)?, number(10_000)?);
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    for name in ["src", "repo", "state", "mnt"] {
        fs::create_dir(at(name))?;
    }
    for n in 0..files {
        let parent = at(&format!("src/{}", n / 1000));
        if n % 1000 == 0 {
            fs::create_dir(&parent)?;
        }
        fs::File::create(parent.join(format!("{}", n % 1000)))?.set_len(0)?;
    }
    let secret = Secret::generate_key()?;
    let repo = Repository::create(
        Arc::new(LocalStore::open(&at("repo"))),
        &secret,
        SlotKind::KeyFile,
        "bench",
        Instant(0),
        Repository::new_id()?,
    )?;
    let attached = Arc::new(Attached::open(Arc::new(repo), &at("state"), Arc::new(SystemClock))?);
    let root = at("src");
    let source = Source::new(root.clone());
    let scope = Scope::new(&source, Patterns::compile(&[], &[])?, &[])?;
    let mut writer = SourceWriter::open(attached.clone(), "host", root.as_os_str().as_bytes())?;
    let (options, stop) = (Capture::default(), AtomicBool::new(false));
    let settings = Settings { capture: &options, tier: Tier::Incremental, always: true, progress: &Quiet, stop: &stop };
    let start = Clock::now();
    capture(&mut writer, &scope, &Plan::everything(), &settings)?;
    println!("{files} files captured in {:?}", start.elapsed());
    let start = Clock::now();
    for n in 1..snapshots {
        let (parent, name) = (format!("{}", n % (files / 1000)), "7");
        use std::io::Write as _;
        writeln!(fs::File::options().append(true).open(at("src").join(&parent).join(name))?, "{n}")?;
        let names = BTreeSet::from([name.as_bytes().to_vec()]);
        let plan = Plan { entries: [(parent.into_bytes(), names)].into(), ..Plan::default() };
        capture(&mut writer, &scope, &plan, &settings)?;
    }
    println!("a snapshot of one changed file: {:?}", start.elapsed() / (snapshots.max(2) - 1) as u32);
    drop(writer);
    drop(attached);
    for warmth in ["cold", "warm"] {
        rustix::fs::sync();
        if warmth == "cold" {
            let mut knob = fs::File::options().write(true).open("/proc/sys/vm/drop_caches")?;
            std::io::Write::write_all(&mut knob, b"3")?;
        }
        let start = Clock::now();
        let repo = Arc::new(Repository::open(Arc::new(LocalStore::open(&at("repo"))), &secret)?);
        let attached = Arc::new(Attached::open(repo, &at("state"), Arc::new(SystemClock))?);
        let shown = Shown {
            host: "host".into(),
            exact: false,
            this_host: "host".into(),
            zone: Zone::utc(),
            at: None,
            split: Split::Shared,
        };
        let mounted = session::mount(attached.clone(), &MountOptions { shown, allow_other: false }, &at("mnt"))?;
        let ready = start.elapsed();
        let entries = fs::read_dir(at("mnt"))?.count();
        println!("mount, {warmth}: made in {ready:?}, first ls of {entries} names in {:?}", start.elapsed());
        let latest = at("mnt").join("@latest").join(root.strip_prefix("/")?);
        let count = |dir: &Path| fs::read_dir(dir).map(Iterator::count);
        println!("  ls of the newest view: {} entries in {:?}", count(&latest)?, start.elapsed());
        // As the command does it: beside, while the mount answers already.
        let caught = Clock::now();
        replay::catch_up(&attached, &Quiet)?;
        println!("  the journal looked through in {:?}", caught.elapsed());
        mounted.unmount()?;
    }
    Ok(())
}
