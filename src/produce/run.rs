//! Producing the data of a source.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::config::kinds::{CommandOutput, Kind, PostgresMode};
use crate::config::model::Source;
use crate::produce::error::{ProduceError, Produced};
use crate::produce::{base, command, hooks, logical, system};
use crate::sys::{child::Order, durable, make};
use crate::types::snapshot::Tier;

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
/// Each part is whole, or as it was before, and then in the failures.
pub fn produce(source: &Source, ground: &Ground<'_>) -> Result<Produced, ProduceError> {
    if !source.kind.is_produced() {
        return Ok(Produced::default());
    }
    tracing::info!("producing {}", hooks::label(source));
    durable::create_dirs(&source.path, 0o700)?;
    match &source.kind {
        Kind::Directory => Ok(Produced::default()),
        Kind::Command(outputs) => commands(source, outputs, ground),
        Kind::System => system::produce(&source.path, ground.stop),
        Kind::Postgres(server) if server.mode == PostgresMode::Logical => logical::produce(source, server, ground),
        Kind::Postgres(server) => base::produce(source, server, ground),
    }
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
        produced.add(&output.name, result);
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
