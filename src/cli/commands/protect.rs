//! `bygone protect`: make what is missing, capture, mount, and go on watching.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::args::setup::Protect;
use crate::cli::bar;
use crate::cli::commands::{init, mount, snapshot, source, watch};
use crate::cli::config_file;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::config::edit;
use crate::config::model::Source;
use crate::mount::session::Mounted;
use crate::repo::{
    attach::Attached,
    audit::event::{Kind, Outcome as Ended},
    error::RepoError,
};
use crate::sys::process::Signals;
use crate::types::path;

/// How often the mount is looked after.
const LOOK: Duration = Duration::from_millis(200);

/// Runs it.
pub fn run(context: Context, args: &Protect) -> Result<Outcome, Failure> {
    let paths = args.paths.iter().map(|p| source::directory(p)).collect::<Result<Vec<_>, _>>()?;
    let context = set_up(context, &paths)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(&context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let caught_up = open::catch_up(&at, &*bar)?;
    snapshot::lower_priority(&context, &context.config.limits.without_rests());
    let sources: Vec<&Source> = context.config.sources.iter().filter(|s| paths.contains(&s.path)).collect();
    let prepared = watch::prepare(&context, &at, &sources)?;
    let mounting = Mounting { context: &context, at: &at, dir: args.mount.as_deref(), state: Mutex::default() };
    let stop = signals.flag();
    // A history that is there can be seen at once; a new one when there is something to see.
    if caught_up.snapshots > 0 || has_history(&at)? {
        mounting.begin(&stop);
    }
    let ended = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| mounting.look_after(&stop, &ended));
        let outcome = watch::watch_all(&context, prepared, &stop, &|| mounting.begin(&stop));
        ended.store(true, Ordering::Relaxed);
        outcome
    });
    let unmounted = mounting.end();
    let outcome = outcome?;
    unmounted?;
    tell(&context, &["stopped; run the same command again to go on"])?;
    Ok(if caught_up.problems.is_empty() { outcome } else { Outcome::Partial })
}

/// The repository, the key and the sources that are not there yet.
fn set_up(context: Context, paths: &[PathBuf]) -> Result<Context, Failure> {
    let store = open::store(&context)?;
    let found = crate::repo::open::repository_id(&*store);
    let made = found.is_err();
    match found {
        Err(RepoError::NoRepository { .. }) => {
            let from = context.config.key.clone();
            init::make(&context, &from, "first", false)?;
            let made = format!("made a repository: {}", context.config.repository);
            let mut lines = vec![made.as_str()];
            let key = init::key_lines(&from);
            lines.extend(key.iter().map(String::as_str));
            tell(&context, &lines)?;
        }
        Err(e) => return Err(Failure::from_error(&e)),
        Ok(_) => {}
    }
    let missing: Vec<&PathBuf> =
        paths.iter().filter(|p| !context.config.sources.iter().any(|s| s.path == **p)).collect();
    let mut context = context;
    if !missing.is_empty() {
        let repository = context.config.repository.clone();
        let mut config = config_file::change(&context, |text| {
            missing
                .iter()
                .try_fold(text.to_owned(), |text, path| edit::add_source(&text, &Source::new((*path).clone())))
        })?;
        config.repository = repository;
        context.config = config;
    }
    warn_same_disk(&context, paths)?;
    let config = &context.config;
    tell_json(
        &context,
        &json!({ "repository": config.repository, "made": made, "key": config.key, "settings": config.path, "sources": paths }),
    )?;
    Ok(context)
}

fn warn_same_disk(context: &Context, paths: &[PathBuf]) -> Result<(), Failure> {
    let device = |p: &Path| std::fs::metadata(p).map(|m| m.dev()).ok();
    let Some(dir) = context.config.repository.dir() else { return Ok(()) };
    let repository = device(dir);
    if repository.is_some() && paths.iter().any(|p| device(p) == repository) {
        let dir = dir.display();
        tell(
            context,
            &[&format!(
                "the repository {dir} is on the disk that it protects: a beginning, but no help when that disk dies"
            )],
        )?;
    }
    Ok(())
}

fn has_history(at: &Attached) -> Result<bool, Failure> {
    let reader = at.reader().into_failure()?;
    let sources = reader.sources().into_failure()?;
    for source in sources {
        if reader.snapshot_count(source.num).into_failure()? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn tell(context: &Context, lines: &[&str]) -> Result<(), Failure> {
    let mut out = context.out();
    for line in lines.iter().filter(|_| !context.quiet && !context.json) {
        out.line(line)?;
    }
    out.finish()
}

fn tell_json(context: &Context, value: &Value) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        out.json(value)?;
    }
    out.finish()
}

/// The mount of a protected history.
struct Mounting<'a> {
    context: &'a Context,
    at: &'a Arc<Attached>,
    dir: Option<&'a Path>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mounted: Option<Mounted>,
    begun: bool,
    failure: Option<Failure>,
}

impl Mounting<'_> {
    /// Mounts, once. A failure ends everything: what was asked for can't be had.
    fn begin(&self, stop: &AtomicBool) {
        let Some(dir) = self.dir else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.begun || stop.load(Ordering::Relaxed) {
            return;
        }
        state.begun = true;
        let mounted = mount::default_options(self.context).and_then(|options| mount::mount(self.at, &options, dir));
        let told = mounted.and_then(|mounted| {
            let dir = path::show(dir.as_os_str().as_encoded_bytes());
            state.mounted = Some(mounted);
            let event = mount::event(Kind::Mount, Ended::Begun, self.dir.unwrap_or(Path::new("")));
            trail::told(trail::open(self.context, self.at.repo()).record(event));
            tell_json(self.context, &json!({ "mounted": dir }))?;
            tell(
                self.context,
                &[
                    &format!(
                        "the history is mounted on {dir}: try `ls {dir}` and `ls {dir}/@latest/` in another shell"
                    ),
                    "watching; Ctrl-C ends it",
                ],
            )
        });
        if let Err(failure) = told {
            state.failure = Some(failure);
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Tells once if somebody else unmounts it; capture goes on.
    fn look_after(&self, stop: &AtomicBool, ended: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) && !ended.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.mounted.as_ref().is_some_and(|m| !m.is_alive()) {
                tracing::warn!(
                    "the history was unmounted by somebody else; capture goes on, and `bygone mount` mounts it again"
                );
                state.mounted = None;
            }
        }
    }

    fn end(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mounted) = state.mounted.take() {
            mounted.unmount().into_failure()?;
            let event = mount::event(Kind::Unmount, Ended::Done, self.dir.unwrap_or(Path::new("")));
            trail::told(trail::open(self.context, self.at.repo()).record(event));
        }
        state.failure.take().map_or(Ok(()), Err)
    }
}
