//! A PostgreSQL server as its files: a base backup, and the WAL since.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::kinds::{NEW_BASE, Postgres, WalFrom};
use crate::config::model::Source;
use crate::produce::error::{Failure, ProduceError, Produced};
use crate::produce::run::Ground;
use crate::produce::tools::{ask, own_dir, run, tool};
use crate::produce::{receiver, wal};
use crate::sys::durable;
use crate::types::snapshot::Tier;

const BASE: &str = "base";
const OLD: &str = "base.old";

/// Where the WAL of a source is kept.
pub fn wal_dir(source: &Source) -> PathBuf {
    source.path.join("wal")
}

/// Makes a base backup where there is none, or where a full or differential snapshot is to be taken, and brings the WAL up to
/// what the server has written by now. WAL segments that are missing are failures.
pub(super) fn produce(source: &Source, server: &Postgres, ground: &Ground<'_>) -> Result<Produced, ProduceError> {
    own_dir(server, &source.path)?;
    own_dir(server, &wal_dir(source))?;
    let mut produced = Produced::default();
    mend(&source.path)?;
    if server.wal == WalFrom::Receive {
        receiver::make_slot(server, ground.stop)?;
        // Before a base is begun: so the WAL that it begins with is here too.
        receiver::catch_up(source, server, ground.stop)?;
    }
    let wanted = ground.tier != Tier::Incremental || !source.path.join(BASE).exists();
    if wanted {
        let made = make(source, server, ground);
        let had = source.path.join(BASE).exists();
        match made {
            Err(e) if had => produced.failures.push(Failure { what: BASE.into(), why: e.to_string(), is_kept: true }),
            other => {
                other?;
                produced.written.push(BASE.into());
            }
        }
    }
    let fed = match server.wal {
        WalFrom::Receive => receiver::catch_up(source, server, ground.stop),
        WalFrom::Archive => switch(server, ground),
    };
    if let Err(e) = fed {
        produced.failures.push(Failure { what: "wal".into(), why: e.to_string(), is_kept: false });
    }
    for gap in gaps(source)? {
        produced.failures.push(Failure { what: "wal".into(), why: gap, is_kept: false });
    }
    Ok(produced)
}

/// The gaps in the WAL since the base.
fn gaps(source: &Source) -> Result<Vec<String>, ProduceError> {
    let failed = |source_: io::Error| ProduceError::Directory { path: wal_dir(source), source: source_ };
    let first = first_segment(&source.path.join(BASE)).map_err(failed)?;
    let mut gaps = wal::gaps(&wal_dir(source), first.as_deref()).map_err(failed)?;
    if let Some(first) = first
        && !wal::has(&wal_dir(source), &first)
    {
        gaps.insert(0, format!("the segment {first}, with which recovery from the base begins, is missing"));
    }
    Ok(gaps)
}

/// Ends the present segment, so that the server archives it, and waits for it.
fn switch(server: &Postgres, ground: &Ground<'_>) -> Result<(), ProduceError> {
    let before = ask(server, "select pg_walfile_name(pg_switch_wal())", ground.stop)?;
    tracing::debug!("the server was asked to archive up to {before}");
    Ok(())
}

fn make(source: &Source, server: &Postgres, ground: &Ground<'_>) -> Result<(), ProduceError> {
    let (new, base, old) = (source.path.join(NEW_BASE), source.path.join(BASE), source.path.join(OLD));
    remove_dir(&new)?;
    own_dir(server, &new)?;
    let order = tool(server, "pg_basebackup").timeout(server.timeout).arg_path("-D", &new);
    let order = order.args(["-Fp", "-X", "none", "--checkpoint=fast", "-d", &server.connection]);
    run(order, "pg_basebackup", "cannot make a base backup", ground.stop)?;
    if base.exists() {
        durable::rename(&base, &old)?;
    }
    durable::rename(&new, &base)?;
    remove_dir(&old)
}

/// What a crash in the middle has left: the old base is put back, where there is no new one.
fn mend(path: &Path) -> Result<(), ProduceError> {
    if path.join(OLD).exists() && !path.join(BASE).exists() {
        durable::rename(&path.join(OLD), &path.join(BASE))?;
    }
    remove_dir(&path.join(OLD))?;
    remove_dir(&path.join(NEW_BASE))
}

fn remove_dir(path: &Path) -> Result<(), ProduceError> {
    Ok(durable::remove_tree(path).map(drop)?)
}

/// The segment with which recovery from a base begins, as its `backup_label` says.
fn first_segment(base: &Path) -> io::Result<Option<String>> {
    let text = match std::fs::read_to_string(base.join("backup_label")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    // START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
    let line = text.lines().find(|line| line.starts_with("START WAL LOCATION:"));
    let name = line.and_then(|line| line.split("(file ").nth(1)?.strip_suffix(')')).map(str::to_owned);
    Ok(name.filter(|name| wal::is_segment(name)))
}

/// The WAL segments that the base here does not need: they can go when history has this base.
pub(super) fn spent_wal(source: &Source) -> Result<Vec<PathBuf>, ProduceError> {
    let dir = wal_dir(source);
    let failed = |source| ProduceError::Directory { path: dir.clone(), source };
    let Some(first) = first_segment(&source.path.join(BASE)).map_err(failed)? else { return Ok(Vec::new()) };
    let names = wal::names(&dir).map_err(failed)?;
    // Of all timelines: what lies before the base on an older one is as far behind it.
    let is_spent = |name: &&String| wal::is_segment(name) && name[8..] < first[8..];
    Ok(names.iter().filter(is_spent).map(|name| dir.join(name)).collect())
}

/// Removes files that are not needed any more.
pub(super) fn remove(paths: &[PathBuf]) -> Result<(), ProduceError> {
    for path in paths {
        durable::remove(path)?;
    }
    Ok(())
}
