//! `bygone wal push` and `fetch`: what a PostgreSQL server calls.

use std::os::unix::ffi::OsStrExt as _;

use crate::cli::args::wal::{Wal, WalFetch, WalPush, Which};
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::Past;
use crate::config::kinds::Kind;
use crate::config::model::Source;
use crate::index::rows::Row;
use crate::produce::{base::wal_dir, wal};
use crate::repo::frames::Frames;
use crate::sys::durable;
use crate::types::{attr, path, time::Instant};
use crate::view::{
    content::Content,
    history::versions,
    instant::{Object, View},
};

/// So many bytes of decoded frames are kept.
const FRAMES: usize = 64 << 20;
/// No file of WAL is larger.
const FILE_MAX: u64 = 1 << 30;

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
    let names = wal::candidates(&args.file).into_failure()?;
    let dir = wal_dir(source(context, &args.which)?);
    let past = Past::open(context)?;
    let view = View::of(&past.index, &past.whose, Instant(i64::MAX))?;
    for name in names {
        let wanted = path::join(dir.as_os_str().as_bytes(), name.as_bytes());
        let now = match view.look_up(&past.index, &wanted)? {
            Some(Object::Node(_, row)) => Some(*row),
            Some(Object::Above) | None => None,
        };
        let is_file = |row: &Row| row.attr.kind() == attr::Kind::File;
        let Some(row) = now.filter(is_file).map_or_else(|| before(&past, &wanted, is_file), |row| Ok(Some(row)))?
        else {
            continue;
        };
        let content = Content::open(&past.index, row.source, row.ver)?;
        if content.size > FILE_MAX {
            return Err(Failure::new(format!("{} is larger than any file of WAL", path::show(&wanted))));
        }
        let frames = Frames::of(past.at.clone(), FRAMES);
        let mut bytes = Vec::new();
        let read = content.read(&past.index, &frames, 0, content.size as usize, &mut bytes);
        read.explain(|| format!("cannot read {} from the repository", path::show(&wanted)))?;
        durable::replace(to, &bytes, 0o600).into_failure()?;
        return Ok(true);
    }
    Ok(false)
}

/// The newest version of a file that was captured and has been removed since: a segment that its directory had no room for any more.
fn before(past: &Past, wanted: &[u8], is_file: impl Fn(&Row) -> bool) -> Result<Option<Row>, Failure> {
    let mut found: Option<(Instant, Row)> = None;
    for line in past.lines()?.iter().filter(|line| path::is_within(wanted, &line.source.root)) {
        for version in versions(&past.index, &line.source, wanted)?.into_iter().filter(|v| v.path == wanted) {
            let at = version.from.time;
            let Some(row) = version.row.filter(|row| is_file(row) && line.shows(at)) else { continue };
            if found.as_ref().is_none_or(|(newest, _)| *newest <= at) {
                found = Some((at, row));
            }
        }
    }
    Ok(found.map(|(_, row)| row))
}
