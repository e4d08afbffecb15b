//! `bygone recover --repo URL`: a machine that has nothing but the program and a key gets settings, an index, and a way to go on.

use std::time::Instant as Monotonic;

use serde_json::{Value, json};

use super::index;
use crate::cli::args::recovery::Recover;
use crate::cli::config_file;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::json_time;
use crate::cli::secret;
use crate::config::{edit, model::KeyFrom};
use crate::index::tree::Reader;
use crate::repo::{
    error::RepoError,
    open::{fingerprint, repository_id},
};
use crate::types::{path, snapshot::Snapshot, when::show};
use crate::view::names;

/// A source and its newest snapshot.
type Found = (String, Vec<u8>, Option<Snapshot>);

/// Runs it.
pub(super) fn run(context: &Context, args: &Recover) -> Result<Outcome, Failure> {
    let key = secret::given(&args.key)?;
    let mut own = context.clone();
    if let Some(key) = &key {
        own.config.key = key.clone();
    }
    let store = open::store(&own)?;
    if let Err(e @ RepoError::NoRepository { .. }) = repository_id(&*store) {
        return Err(Failure::from_error(&e).hint(
            "check the place that --repo names, and whether its disk is mounted; the kit, if there is one, names all places: there is \
             nothing to recover from here",
        ));
    }
    let begun = Monotonic::now();
    let rebuilt = index::rebuild(&own)?;
    let took = begun.elapsed();
    let at = open::attached(&own)?;
    let reader = at.reader().into_failure()?;
    let hosts = names::hosts(&reader).into_failure()?;
    if hosts.is_empty() {
        return Err(Failure::new("the repository holds no snapshot: there is nothing to recover")
            .hint("name another place with --repo, such as the copy at another site"));
    }
    let host = host(&own, args, &hosts)?;
    let found = sources(&reader)?;
    let print = fingerprint(at.repo().store()).into_failure()?;
    let written = settings(&own, key.as_ref(), &host)?;
    let (mut out, zone) = (context.out(), context.zone()?);
    if context.json {
        let sources: Vec<Value> = found
            .iter()
            .map(|(host, root, newest)| {
                json!({ "host": host, "source": path::show(root), "newest": newest.as_ref().map(|s| json_time(s.time)) })
            })
            .collect();
        out.json(&json!({
            "id": at.repo().id().to_string(), "fingerprint": print, "host": host, "seconds": took.as_secs_f64(),
            "settings": own.config.path, "settings_written": written, "sources": sources,
        }))?;
    } else {
        out.line(format_args!("the repository {} has the fingerprint {print}", at.repo().id()))?;
        for (host, root, newest) in &found {
            let newest = newest
                .as_ref()
                .map_or_else(|| "no snapshot".to_owned(), |s| format!("up to {}", show::show(s.time, &zone)));
            out.line(format_args!("  {} on {host}: {newest}", path::show(root)))?;
        }
        let settings = own.config.path.display();
        match written {
            true => out.line(format_args!("wrote {settings}: this machine is the host {host} from now on"))?,
            false => out.line(format_args!("{settings} is there already, and was left as it is"))?,
        }
        out.line("now: `bygone list`, `bygone mount DIR`, `bygone restore --all --at latest --to DIR`, or `bygone plan run NAME --at TIME`")?;
    }
    out.finish()?;
    Ok(rebuilt)
}

/// The host that this machine is to be.
fn host(own: &Context, args: &Recover, hosts: &[String]) -> Result<String, Failure> {
    let all = || hosts.iter().map(|host| path::show(host.as_bytes())).collect::<Vec<_>>().join(", ");
    match (&args.of.host, hosts) {
        (Some(host), _) if hosts.contains(host) => Ok(host.clone()),
        (Some(host), _) => Err(Failure::new(format!("the repository has no host {}", path::show(host.as_bytes())))
            .hint(format!("it has {}", all()))),
        (None, _) if hosts.contains(&own.config.host) => Ok(own.config.host.clone()),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Failure::new("the index is made; which host is this machine to be?")
            .hint(format!("say --host with one of {}", all()))),
    }
}

fn sources(reader: &Reader) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for source in reader.sources().into_failure()? {
        let newest = reader.snapshot_at(source.num, crate::types::time::Instant(i64::MAX)).into_failure()?;
        found.push((source.host, source.root, newest));
    }
    Ok(found)
}

/// Writes the settings, where there are none: the repository, the key and the host. What is protected is for a person to say.
fn settings(own: &Context, key: Option<&KeyFrom>, host: &str) -> Result<bool, Failure> {
    if own.config.exists() {
        return Ok(false);
    }
    config_file::change(own, |text| {
        let mut text = edit::set_repository(text, &own.config.repository)?;
        text = edit::set_host(&text, host)?;
        key.map_or(Ok(text.clone()), |key| edit::set_key(&text, key))
    })?;
    Ok(true)
}
