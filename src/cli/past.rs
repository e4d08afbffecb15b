//! What the commands that look back share: the index, times, paths, and saying why something is not there.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::of_host::OfHost;
use super::bar;
use super::context::{Context, absolute};
use super::open;
use super::outcome::{Explain as _, Failure, Outcome};
use crate::index::{error::IndexError, history::Stay, rows::Row, tree::Reader};
use crate::repo::attach::Attached;
use crate::sys::clock;
use crate::types::{
    attr::Kind,
    ids::Snap,
    path,
    snapshot::{Snapshot, Source},
    time::Instant,
    when::{
        human::{self, Resolved},
        name::{Name, parse_name},
        show,
        zone::Zone,
    },
};
use crate::view::{
    instant::View,
    positions::Positions,
    whose::{Line, Whose},
};

impl From<IndexError> for Failure {
    fn from(e: IndexError) -> Failure {
        Failure::from_error(&e)
    }
}

/// The history of this host, opened for reading.
pub struct Past {
    /// The repository and the index.
    pub at: Arc<Attached>,
    /// A reader of the index.
    pub index: Reader,
    /// The zone of times.
    pub zone: Zone,
    /// The host, by the name under which its history is looked at.
    pub host: String,
    /// Whose history it is.
    pub whose: Whose,
    /// Whether this one name was asked for, and no other writer's is meant.
    exact: bool,
    /// How the command ends if nothing else goes wrong: in part, where some of the journal could not be read.
    pub outcome: Outcome,
}

impl Past {
    /// Opens it, with what the journal has and the index has not seen yet.
    pub fn open(context: &Context) -> Result<Past, Failure> {
        Past::open_of(context, &OfHost::default())
    }

    /// The same for the host that was asked for.
    pub fn open_of(context: &Context, of: &OfHost) -> Result<Past, Failure> {
        let zone = context.zone()?;
        let at = open::attached(context)?;
        let index = at.reader().into_failure()?;
        let mut outcome = Outcome::Done;
        let bar = bar::on_stderr(!context.quiet && !context.json);
        if !open::catch_up_to_read(&at, &*bar)?.problems.is_empty() {
            outcome = Outcome::Partial;
        }
        let whose = open::whose(context, of, &at, &index)?;
        let host = whose.host().to_owned();
        Ok(Past { at, index, zone, host, whose, exact: of.host.is_some(), outcome })
    }

    /// The sources of this host, in the order of their paths, with those of other writers under its name, unless just one was asked
    /// for.
    pub fn sources(&self) -> Result<Vec<Source>, Failure> {
        let mut all = self.index.sources()?;
        all.retain(|s| if self.exact { s.host == self.host } else { s.is_of(&self.host) });
        Ok(all)
    }

    /// The sources whose history is shown, each as far as it is.
    pub fn lines(&self) -> Result<Vec<Line>, Failure> {
        Ok(self.whose.lines(&self.index)?)
    }

    /// The sources of this host at these paths; all if none is given.
    pub fn chosen(&self, wanted: &[PathBuf]) -> Result<Vec<Source>, Failure> {
        let all = self.sources()?;
        if wanted.is_empty() {
            return Ok(all);
        }
        let mut chosen = Vec::new();
        for given in wanted {
            let root = clean(given)?;
            let before = chosen.len();
            chosen.extend(all.iter().filter(|s| s.root == root).cloned());
            if chosen.len() == before {
                let (root, host) = (path::show(&root), &self.host);
                return Err(Failure::new(format!("the repository has no source {root} of the host {host}"))
                    .hint("`bygone list --by-source` shows what there is"));
            }
        }
        Ok(chosen)
    }

    /// The sources of this history that have to do with a path.
    pub fn lines_near(&self, absolute: &[u8]) -> Result<Vec<Line>, Failure> {
        let near = |s: &Source| path::is_within(absolute, &s.root) || path::is_within(&s.root, absolute);
        let all = self.lines()?;
        let found: Vec<Line> = all.iter().filter(|line| near(&line.source)).cloned().collect();
        if found.is_empty() {
            let failure = Failure::new(format!("{} lies in no source of the host {}", path::show(absolute), self.host));
            return Err(match &all[..] {
                [] => failure.hint("nothing has been captured yet: `bygone snapshot` captures what is protected"),
                all => failure.hint(format!(
                    "its sources are {}",
                    all.iter().map(|line| path::show(&line.source.root)).collect::<Vec<_>>().join(", ")
                )),
            });
        }
        Ok(found)
    }

    /// A time as it was given.
    pub fn time(&self, text: &str) -> Result<Resolved, Failure> {
        let mut time = human::parse_time(text, clock::now(), &self.zone).map_err(Failure::usage)?;
        if time.latest {
            // The newest snapshot, also where the clock has been put back since.
            time.instant = Instant(i64::MAX);
        }
        Ok(time)
    }

    /// A time from which something is asked for: the beginning of the period that is named, where [`Past::time`] gives its end.
    pub fn time_from(&self, text: &str) -> Result<Instant, Failure> {
        match parse_name(text.trim().trim_start_matches('@'), &self.zone) {
            Some(Name::Period { start, .. }) => Ok(start),
            _ => Ok(self.time(text)?.instant),
        }
    }

    /// Refuses a time from `since` to `until` in which nothing can be.
    pub fn refuse_no_time(&self, since: Instant, until: Instant) -> Result<(), Failure> {
        if since <= until {
            return Ok(());
        }
        let (since, until) = (self.show(since), self.show(until));
        Err(Failure::usage(format!(
            "--since and --until leave no time at all: it would begin at {since} and end at {until}"
        ))
        .hint("give an earlier --since or a later --until"))
    }

    /// The view of a time; a failure where nothing had been captured by then.
    pub fn view(&self, time: &Resolved) -> Result<View, Failure> {
        let view = View::of(&self.index, &self.whose, time.instant)?;
        if view.parts.is_empty() {
            view.check(b"/")?;
            return Err(self.too_early(time)?);
        }
        Ok(view)
    }

    /// There is no snapshot so early.
    pub fn too_early(&self, time: &Resolved) -> Result<Failure, Failure> {
        let mut first: Option<Instant> = None;
        for source in self.sources()? {
            let snapshot = self.index.snapshot_after(source.num, Instant(i64::MIN))?;
            first = first.into_iter().chain(snapshot.map(|s| s.time)).min();
        }
        let failure = Failure::new(format!("nothing of the host {} had been captured at {}", self.host, time.text));
        Ok(match first {
            Some(first) => failure.hint(format!("the first snapshot is of {}", self.show(first))),
            None => failure.hint("there is no snapshot yet: `bygone snapshot` takes one"),
        })
    }

    /// Why nothing is at a path as of a view, and when something was.
    pub fn not_there(&self, absolute: &[u8], time: &Resolved) -> Result<Failure, Failure> {
        let shown = path::show(absolute);
        let lines = self.lines_near(absolute)?;
        let failure = Failure::new(format!("{shown} was not there at {}", time.text));
        for line in &lines {
            let stands = Positions::new(&self.index, &line.source).at(absolute)?;
            if let Some(when) = self.nearest(line, &stands, time.instant)? {
                return Ok(failure.hint(format!("{when}; `bygone log {shown}` lists all its versions")));
            }
        }
        Ok(failure.hint("no snapshot has it: `bygone find NAME --ever` looks for a name in all of history"))
    }

    /// The last time before, or else the first after, at which something stood there.
    fn nearest(&self, line: &Line, stands: &[Stay], at: Instant) -> Result<Option<String>, Failure> {
        let mut later = None;
        for stand in stands.iter().rev() {
            let from = self.snapshot(&line.source, stand.from)?;
            if !line.shows(from.time) {
                continue;
            }
            let to = stand.to.map(|to| self.snapshot(&line.source, to)).transpose()?;
            let text = match to {
                Some(to) => format!("it was there from {} until {}", self.show(from.time), self.show(to.time)),
                None => format!("it is there since {}", self.show(from.time)),
            };
            if from.time <= at {
                return Ok(Some(text));
            }
            later = Some(text);
        }
        Ok(later)
    }

    /// A snapshot that a row names.
    pub fn snapshot(&self, source: &Source, number: Snap) -> Result<Snapshot, Failure> {
        let found = self.index.snapshot(source.num, number)?;
        Ok(found.ok_or(IndexError::Damaged("a snapshot is missing"))?)
    }

    /// A time for people.
    pub fn show(&self, at: Instant) -> String {
        show::show(at, &self.zone)
    }
}

/// The absolute path, `.` and `..` taken out by their names alone: what a view calls it. Links of today are not followed.
pub fn clean(given: &Path) -> Result<Vec<u8>, Failure> {
    let mut out = PathBuf::from("/");
    for part in absolute(given)?.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    Ok(out.as_os_str().as_bytes().to_vec())
}

/// Bytes in JSON, exactly: a string if they are UTF-8, else an object with their base64.
pub fn json_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "bytes_base64": data_encoding::BASE64.encode(bytes) }),
    }
}

/// An instant in JSON.
pub fn json_time(at: Instant) -> Value {
    json!(show::exact_name(at))
}

/// A version in JSON.
pub fn json_row(row: &Row) -> Value {
    let a = &row.attr;
    json!({
        "type": kind_word(a.kind()), "size": a.size, "mode": format!("{:04o}", a.mode & 0o7777), "uid": a.uid, "gid": a.gid,
        "mtime_s": a.mtime.sec, "mtime_ns": a.mtime.nsec, "node": row.node.0, "version": row.ver.0, "fuzzy": row.fuzzy,
    })
}

/// A type as a word.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Dir => "directory",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char-device",
        Kind::BlockDevice => "block-device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

/// A path for people, with a slash behind a directory.
pub fn show_path(path: &[u8], row: Option<&Row>) -> String {
    let slash = if row.is_some_and(|r| r.node.is_dir()) && path != b"/" { "/" } else { "" };
    format!("{}{slash}", path::show(path))
}
