//! Producing the data of a source.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::kinds::{CommandOutput, Kind, PostgresMode};
use crate::config::model::Source;
use crate::produce::error::{ProduceError, Produced};
use crate::produce::{base, command, hooks, logical, note, system};
use crate::sys::{
    child::Order,
    durable::{self, LockGuard},
    make,
};
use crate::types::snapshot::Tier;

/// How often it is looked whether a source is produced by nobody else any more.
const LOOK: Duration = Duration::from_millis(50);

/// How soon it is tried again to say that a source is being produced.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What producing goes by.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The state directory of this host.
    pub state: &'a Path,
    /// The tier of the snapshot that it is for: a full or differential one begins a new base.
    pub tier: Tier,
    /// Ends it when it is set.
    pub stop: &'a AtomicBool,
}

/// Produces the data of `source` into its directory, which is made if it is not there. For a source that is a directory
/// there is nothing to do.
///
/// Each part is whole, or as it was before, and then in the failures. What failed is noted in the state directory until it is produced,
/// unless it was ended: then it stands as it did.
pub fn produce(source: &Source, ground: &Ground<'_>) -> Result<Produced, ProduceError> {
    if !source.kind.is_produced() {
        return Ok(Produced::default());
    }
    let _alone = alone(source, ground)?;
    let _going = going(ground.state, source)?;
    tracing::info!("producing {}", hooks::label(source));
    let result = parts(source, ground);
    if !ground.stop.load(Ordering::Relaxed)
        && let Err(e) = note::note(ground.state, source, &result)
    {
        tracing::warn!("how producing {} ended is not known to `bygone health`: {e}", hooks::label(source));
    }
    result
}

fn parts(source: &Source, ground: &Ground<'_>) -> Result<Produced, ProduceError> {
    durable::create_dirs(&source.path, 0o700)?;
    match &source.kind {
        Kind::Directory => Ok(Produced::default()),
        Kind::Command(outputs) => commands(source, outputs, ground),
        Kind::System => system::produce(&source.path, ground.stop),
        Kind::Postgres(server) if server.mode == PostgresMode::Logical => logical::produce(source, server, ground),
        Kind::Postgres(server) => base::produce(source, server, ground),
    }
}

/// Waits until nobody else on this host produces the source: a job, whoever begins to watch it, and a snapshot each may.
fn alone(source: &Source, ground: &Ground<'_>) -> Result<LockGuard, ProduceError> {
    durable::create_dirs(ground.state, 0o700)?;
    let path = note::beside(ground.state, source, "lock");
    loop {
        if let Some(guard) = durable::lock_file(&path)? {
            return Ok(guard);
        }
        if ground.stop.load(Ordering::Relaxed) {
            let why = "it was to stop while something else produced it".to_owned();
            return Err(ProduceError::Failed { what: format!("cannot produce {}", hooks::label(source)), why });
        }
        std::thread::sleep(LOOK);
    }
}

/// Until the value is dropped [`is_going`] is true.
pub(super) fn going(state: &Path, source: &Source) -> Result<LockGuard, durable::Error> {
    let path = note::beside(state, source, "going");
    loop {
        // Who looks has it for a moment.
        if let Some(guard) = durable::lock_shared(&path)? {
            return Ok(guard);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether the data of a source is being produced, or about to be captured by who has produced it, anywhere on this host. Never
/// where a base backup is made, which takes long and is seen when it is whole: the WAL that comes meanwhile is captured.
pub fn is_going(state: &Path, source: &Source) -> bool {
    let has_base = matches!(&source.kind, Kind::Postgres(server) if server.mode == PostgresMode::Physical);
    source.kind.is_produced()
        && !has_base
        && matches!(durable::lock_file(&note::beside(state, source, "going")), Ok(None))
}

fn commands(source: &Source, outputs: &[CommandOutput], ground: &Ground<'_>) -> Result<Produced, ProduceError> {
    let mut produced = Produced::default();
    for output in outputs {
        let order = Order::shell(&output.run)
            .timeout(output.timeout)
            .env("BYGONE_SOURCE", hooks::label(source))
            .env("BYGONE_PATH", &source.path)
            .env("BYGONE_TIER", ground.tier.word());
        let result = command::into_file(order, &source.path, &output.name, output.allow_empty, ground.stop);
        if let Err(why) = &result {
            let name = format!("{}-{}", hooks::label_of_file(source), output.name);
            hooks::keep(ground.state, &name, why.as_bytes())?;
        }
        produced.add(&source.path, &output.name, result);
    }
    forget(&source.path, |name| outputs.iter().any(|o| o.name == name))?;
    Ok(produced)
}

/// Removes the files of commands that are not in the settings any more, and what a crash has left over; history has them.
pub(super) fn forget(dir: &Path, is_kept: impl Fn(&str) -> bool) -> Result<(), ProduceError> {
    let failed = |source| ProduceError::Directory { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_temp = name.as_encoded_bytes().starts_with(make::TEMP_PREFIX.as_bytes());
        if entry.file_type().map_err(failed)?.is_file() && (is_temp || !name.to_str().is_some_and(&is_kept)) {
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_produced_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let output = CommandOutput {
            name: "out".into(),
            run: format!("echo begun >>{at}/log; sleep 0.1; echo ended >>{at}/log; echo x"),
            timeout: Duration::from_secs(60),
            allow_empty: false,
        };
        let source = Source { kind: Kind::Command(vec![output]), ..Source::new(dir.path().join("produced")) };
        let stop = AtomicBool::new(false);
        let ground = Ground { state: dir.path(), tier: Tier::Incremental, stop: &stop };
        std::thread::scope(|threads| {
            let all: Vec<_> = (0..3).map(|_| threads.spawn(|| produce(&source, &ground))).collect();
            assert!(all.into_iter().all(|one| one.join().unwrap().unwrap().failures.is_empty()));
        });
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "begun\nended\n".repeat(3));
    }
}
