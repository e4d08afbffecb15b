//! `bygone wal push` and `fetch`: what a PostgreSQL server calls.

use crate::cli::args::wal::{Wal, WalFetch, WalPush, Which};
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::Past;
use crate::config::kinds::Kind;
use crate::config::model::Source;
use crate::produce::{base::wal_dir, past, wal};
use crate::sys::durable;

/// Runs one of them.
pub fn run(context: &Context, command: &Wal) -> Result<Outcome, Failure> {
    match command {
        Wal::Push(args) => push(context, args),
        Wal::Fetch(args) => fetch(context, args),
    }
}

/// The PostgreSQL server of the settings that is meant.
fn source<'a>(context: &'a Context, which: &Which) -> Result<&'a Source, Failure> {
    let mut servers = context.config.sources.iter().filter(|s| matches!(s.kind, Kind::Postgres(_)));
    if let Some(name) = &which.name {
        return servers
            .find(|s| s.name.as_ref() == Some(name))
            .ok_or_else(|| Failure::new(format!("the settings have no PostgreSQL server {name:?}")).hint(HINT));
    }
    match (servers.next(), servers.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Failure::usage("there are several PostgreSQL servers: give --name")),
        (None, _) => Err(Failure::new("the settings have no PostgreSQL server").hint(HINT)),
    }
}

const HINT: &str = "a [[source]] with kind = \"postgres\" and a name is one; bygone.toml(5) has an example";

fn push(context: &Context, args: &WalPush) -> Result<Outcome, Failure> {
    let source = source(context, &args.which)?;
    wal::push(&absolute(&args.path)?, &args.file, &wal_dir(source)).into_failure()?;
    Ok(Outcome::Done)
}

fn fetch(context: &Context, args: &WalFetch) -> Result<Outcome, Failure> {
    let to = absolute(&args.path)?;
    let found = match &args.from {
        Some(from) => wal::fetch(&absolute(from)?, &args.file, &to).into_failure()?,
        None => from_repository(context, args, &to)?,
    };
    // The server asks for what may not be there: that is no failure to be told.
    Ok(if found { Outcome::Done } else { Outcome::Failed })
}

fn from_repository(context: &Context, args: &WalFetch, to: &std::path::Path) -> Result<bool, Failure> {
    wal::candidates(&args.file).into_failure()?;
    let dir = wal_dir(source(context, &args.which)?);
    let found = Past::open(context)?;
    match past::read(&found.at, &found.index, &found.whose, &dir, &args.file).into_failure()? {
        Some(bytes) => durable::replace(to, &bytes, 0o600).into_failure().map(|()| true),
        None => Ok(false),
    }
}
