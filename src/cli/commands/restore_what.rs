//! What is to be restored, and as of when.

use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::capture::left_out::LeftOut;
use crate::cli::args::restore::Restore;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure};
use crate::cli::past::clean;
use crate::index::tree::Reader;
use crate::repo::attach::Attached;
use crate::restore::{
    error::RestoreError,
    mapping::Mapping,
    plan::{Plan, Request, Target},
    went_back,
};
use crate::sys::clock;
use crate::types::{
    path,
    time::Instant,
    when::{
        human::{Resolved, parse_time},
        show,
        zone::Zone,
    },
};
use crate::view::{
    before::{self, Since},
    instant::View,
    whose::Whose,
};

/// A list of paths is read up to this size, in bytes.
const LIST_MAX: u64 = 1 << 30;

/// As it was asked for.
pub(super) struct What {
    paths: Vec<Vec<u8>>,
    sources: Vec<PathBuf>,
    time: Time,
}

enum Time {
    At(Resolved),
    Before(Vec<u8>),
}

impl What {
    /// Reads what was asked for, with the list of paths if there is one.
    pub(super) fn read(context: &Context, args: &Restore, zone: &Zone) -> Result<What, Failure> {
        let mut paths = args.paths.iter().map(|p| clean(p)).collect::<Result<Vec<_>, _>>()?;
        if args.all {
            paths.push(b"/".to_vec());
        }
        if let Some(list) = &args.files_from {
            for name in listed(list, args.null)? {
                paths.push(clean(Path::new(&std::ffi::OsString::from_vec(name)))?);
            }
            if paths.is_empty() {
                return Err(Failure::new(format!("{} lists no path", list.display())));
            }
        }
        let time = match (&args.at, &args.before_change) {
            (Some(at), _) => {
                let mut at = parse_time(at, clock::now(), zone).map_err(Failure::usage)?;
                if at.latest {
                    // The newest snapshot, also where the clock has been put back since.
                    at.instant = Instant(i64::MAX);
                }
                Time::At(at)
            }
            (None, Some(path)) => {
                let path = clean(path)?;
                if paths.is_empty() && args.source.is_empty() {
                    paths.push(path.clone());
                }
                Time::Before(path)
            }
            (None, None) => return Err(Failure::usage("say as of when: --at TIME or --before-change PATH")),
        };
        let sources = args.source.iter().map(|source| named(context, source)).collect();
        Ok(What { paths, sources, time })
    }

    /// The instant that is meant.
    pub(super) fn when(
        &self,
        context: &Context,
        (at, index): (&Attached, &Reader),
        whose: &Whose,
        zone: &Zone,
    ) -> Result<Resolved, Failure> {
        match &self.time {
            Time::At(when) => Ok(when.clone()),
            Time::Before(path) => before_change(context, (at, index), whose, path, zone),
        }
    }

    /// The path before whose last change it is asked for.
    pub(super) fn before(&self) -> Option<&[u8]> {
        match &self.time {
            Time::At(_) => None,
            Time::Before(path) => Some(path),
        }
    }

    /// The paths, absolute: those that were named, and the roots of sources.
    pub(super) fn paths(&self, context: &Context, view: &View) -> Result<Vec<Vec<u8>>, Failure> {
        let mut paths = self.paths.clone();
        for source in &self.sources {
            let root = clean(source)?;
            if !view.parts.iter().any(|part| part.source.root == root) {
                let known: Vec<String> = view.parts.iter().map(|part| path::show(&part.source.root)).collect();
                let host = &context.config.host;
                return Err(Failure::new(format!("{} is no source of this view", path::show(&root)))
                    .hint(format!("there are {}; this host is {host}, and --host names another", known.join(", "))));
            }
            paths.push(root);
        }
        Ok(paths)
    }
}

/// The directory of a source that may be named by its name.
fn named(context: &Context, source: &Path) -> PathBuf {
    let by_name = |s: &&crate::config::model::Source| s.name.as_deref().is_some_and(|name| Path::new(name) == source);
    context.config.sources.iter().find(by_name).map_or_else(|| source.to_owned(), |s| s.path.clone())
}

/// The paths that a file lists.
fn listed(file: &Path, null: bool) -> Result<Vec<Vec<u8>>, Failure> {
    let mut text = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(LIST_MAX).read_to_end(&mut text),
        false => std::fs::File::open(file).and_then(|f| f.take(LIST_MAX).read_to_end(&mut text)),
    };
    read.explain(|| format!("cannot read the list of paths {}", file.display()))?;
    if text.len() as u64 == LIST_MAX {
        return Err(Failure::new(format!("the list of paths {} is longer than 1 GiB", file.display())));
    }
    let end = if null { 0 } else { b'\n' };
    Ok(text.split(|b| *b == end).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The last instant before `path` changed.
pub(super) fn before_change(
    context: &Context,
    (at, index): (&Attached, &Reader),
    whose: &Whose,
    path: &[u8],
    zone: &Zone,
) -> Result<Resolved, Failure> {
    let shown = path::show(path);
    let is_changed = whose.is_own() && is_changed_now(context, index, whose, path)?;
    if whose.is_own()
        && let Some(restored) = restored(at, index, whose, (path, is_changed), zone)?
    {
        return Ok(restored);
    }
    if is_changed {
        let text = format!("the newest snapshot, since {shown} has been changed or removed after it");
        return Ok(Resolved { instant: Instant(i64::MAX), latest: true, text });
    }
    let lines = whose.lines(index).into_failure()?;
    match before::last_change(index, &lines, path).into_failure()? {
        Some(change) => {
            let what = match change.path == path {
                true => shown,
                false => path::show(&change.path),
            };
            let time = show::show(change.snapshot.time, zone);
            let text = format!("just before {time}, when {what} {}", change.became.words());
            Ok(Resolved { instant: change.before(), latest: false, text })
        }
        None => Err(Failure::new(format!("no change of {shown} has been captured before which it was there")).hint(
            "`bygone log PATH` lists its versions, and `bygone find NAME --ever` looks for a name in all of history",
        )),
    }
}

/// The instant that the last restore in place went back to, where nothing but one change has come after it: what is or was there before
/// that is what the restore put there, or was to.
fn restored(
    at: &Attached,
    index: &Reader,
    whose: &Whose,
    (path, is_changed): (&[u8], bool),
    zone: &Zone,
) -> Result<Option<Resolved>, Failure> {
    let note = went_back::newest_of(at.dir(), path)
        .explain(|| format!("cannot look for restores in the state directory {}", at.dir().display()))?;
    let Some(restore) = note.map(|note| note.restore) else { return Ok(None) };
    let view = View::of(index, whose, restore.to()).into_failure()?;
    let lines = whose.lines(index).into_failure()?;
    if !restore.is_shown_by(&view) {
        return Ok(None);
    }
    let since = before::changes_since(index, (&lines, path), &restore.since(), &view).into_failure()?;
    let (to, begun) = (show::show(restore.to(), zone), show::show(restore.begun(), zone));
    let text = match (since, restore.finished) {
        (Since::More, _) => return Ok(None),
        (Since::OneChange, _) if is_changed => return Ok(None),
        (Since::OneChange, _) => match before::last_change(index, &lines, path).into_failure()? {
            None => return Ok(None),
            Some(change) => {
                let (time, what) = (show::show(change.snapshot.time, zone), path::show(&change.path));
                let became = change.became.words();
                format!("just before {time}, when {what} {became}: as the restore of {begun} had left it, of {to}")
            }
        },
        (Since::Nothing, true) => format!("{to}, to which the restore of {begun} went back: that was no change"),
        (Since::Nothing, false) => {
            format!("{to}, to which the restore of {begun} goes back: it did not come to its end, and goes on")
        }
    };
    Ok(Some(Resolved { instant: restore.to(), latest: false, text }))
}

/// Whether something at `path` is not as the newest snapshot has it: a change that is not captured yet.
fn is_changed_now(context: &Context, index: &Reader, whose: &Whose, path: &[u8]) -> Result<bool, Failure> {
    let is_source = |s: &crate::config::model::Source| path::is_within(path, s.path.as_os_str().as_bytes());
    if !context.config.sources.iter().any(is_source) {
        return Ok(false);
    }
    let view = View::of(index, whose, Instant(i64::MAX)).into_failure()?;
    let (guarded, left_out) = (context.guarded()?, LeftOut::of(&context.config).map_err(|e| open::unscoped(&e))?);
    let spared = |path: &[u8], is_dir: bool| left_out.has(path, is_dir);
    let request = Request {
        view: &view,
        paths: &[path.to_vec()],
        target: Target::InPlace { delete: true },
        mapping: &Mapping::default(),
        guarded: &guarded,
        spared: &spared,
        newest: None,
    };
    match Plan::make(index, &request) {
        Ok(plan) => Ok(!plan.is_empty()),
        // It had been removed already, or something else stands above.
        Err(RestoreError::NotThere { .. } | RestoreError::OnTheWay { .. }) => Ok(false),
        Err(e) => Err(super::restore::failure(&e)),
    }
}
