//! The process in the background that gives a directory back.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant as Clock};

use serde_json::json;

use super::mount::default_options;
use super::recover::{failure, known, real, say_swapped, swapped_lines};
use crate::cli::args::recovery::{Recover, SwapWhen};
use crate::cli::background::{self, Begun};
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{clean, json_bytes};
use crate::cli::trail;
use crate::crypto::random;
use crate::recover::{
    checks,
    error::RecoverError,
    lease,
    session::{self, Ended, Listener, Setup},
    state::{self, State, Swap},
};
use crate::repo::{
    attach::Attached,
    audit::{
        event::{Event, Kind, Outcome as How, bytes_value},
        writer::Audit,
    },
    error::RepoError,
};
use crate::restore::kept::{self, Kept};
use crate::sys::{child::Order, clock, process, process::Signals};
use crate::types::{
    path,
    time::Instant,
    when::human::{Resolved, parse_time},
};
use crate::view::instant::View;

/// How long a hook may take.
const HOOK: Duration = Duration::from_secs(600);

/// What the process is to do.
pub(super) enum Work {
    /// Give this directory back.
    Begin(PathBuf),
    /// Go on with this one.
    GoOn(PathBuf),
}

/// Starts it in the background and says when the directory can be used; in the foreground, does it.
pub(super) fn start(context: &Context, args: &Recover, work: &Work) -> Result<Outcome, Failure> {
    if args.in_background || args.foreground {
        return run(context, args, work);
    }
    let begun = Clock::now();
    let what = || "cannot start the process in the background".to_owned();
    let line = match background::again(what)? {
        Begun::Said(line) => line,
        Begun::Ended(outcome) => return Ok(outcome),
    };
    let mut out = context.out();
    if context.json {
        let mut value: serde_json::Value = serde_json::from_str(&line).explain(what)?;
        value["seconds"] = json!(begun.elapsed().as_secs_f64());
        out.json(&value)?;
    } else if !context.quiet {
        out.line(format_args!("{line}, after {:.2} s", begun.elapsed().as_secs_f64()))?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn run(context: &Context, args: &Recover, work: &Work) -> Result<Outcome, Failure> {
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    checks::machine().map_err(failure)?;
    let at = open::attached(context)?;
    let is_new = at.reader().and_then(|r| Ok(r.sources()?)).into_failure()?.is_empty();
    if is_new || args.of.host.is_some() || !at.moment().abandoned().into_failure()?.is_empty() {
        open::catch_up_to_read(&at, &*bar::on_stderr(!context.quiet && !context.json && !args.in_background))?;
    }
    let (state, is_new) = match work {
        Work::Begin(given) => (begin(context, args, &at, given)?, true),
        Work::GoOn(given) => (known(&at, given)?, false),
    };
    let audit = trail::open(context, at.repo());
    let listener = Teller {
        at: at.clone(),
        context,
        args,
        audit: &audit,
        log: at.dir().join("recover.log"),
        is_new,
        is_told: Cell::new(false),
    };
    let setup =
        Setup { at: at.clone(), options: default_options(context)?, host: &context.config.host, stop: signals.flag() };
    let path = state.path().display().to_string();
    match session::run(&setup, state, is_new, &listener) {
        Ok(Ended::Swapped | Ended::Abandoned) => Ok(Outcome::Done),
        Ok(Ended::Interrupted) => Err(Failure::new(format!("interrupted before {path} was a plain directory"))
            .hint(format!("`bygone recover --resume {path}` goes on: nothing is lost"))),
        Err(e) => {
            let failed = failure(e);
            trail::told(audit.record(
                Event::new(Kind::Recover, How::Failed).about("directory", path).detail("why", failed.in_short()),
            ));
            Err(failed)
        }
    }
}

/// Looks whether it can be, and notes what is to be done.
fn begin(context: &Context, args: &Recover, at: &Arc<Attached>, given: &Path) -> Result<State, Failure> {
    let from = clean(given)?;
    if let Some(there) = state::of(at.dir(), &real(given)?).map_err(failure)? {
        let path = there.path().display().to_string();
        return Err(failure(match there.worker().map_err(failure)? {
            Some(pid) => RecoverError::UnderWay { path, pid },
            None => RecoverError::Interrupted { path, as_of: there.as_of },
        }));
    }
    let point = checks::place(Path::new(os(&from)), &context.config.own_dirs()).map_err(failure)?;
    let zone = context.zone()?;
    let text = args.at.as_deref().unwrap_or_default();
    let mut when = parse_time(text, clock::now(), &zone).map_err(Failure::usage)?;
    if when.latest {
        when.instant = Instant(i64::MAX);
    }
    let index = at.reader().into_failure()?;
    let whose = open::whose(context, &args.of, at, &index)?;
    let view = View::of(&index, &whose, when.instant)?;
    view.check(&from).into_failure()?;
    let Some(instant) = checks::instant(&index, &view, &from).map_err(failure)? else {
        return Err(not_there(&from, &when));
    };
    if !args.no_fill {
        checks::room(at, &view, &from, &point).map_err(failure)?;
    }
    let id: [u8; 4] = random::bytes().map_err(RepoError::from).into_failure()?;
    let id = data_encoding::HEXLOWER.encode(&id);
    let mut state = State::new(id, &point, &from, clock::now().0);
    state.host = args.of.host.clone();
    (state.time_ns, state.as_of) = (instant.0, when.text);
    state.was_missing = point.symlink_metadata().is_err();
    state.fill = !args.no_fill;
    state.hook = args.hook.clone();
    state.swap = match args.swap {
        SwapWhen::Idle => Swap::Idle,
        SwapWhen::Now => Swap::Now,
        SwapWhen::Manual => Swap::Manual,
    };
    state.create(at.dir()).map_err(failure)?;
    Ok(state)
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn not_there(from: &[u8], when: &Resolved) -> Failure {
    let shown = path::show(from);
    Failure::new(format!("{shown} was not there at {}", when.text))
        .hint(format!("`bygone log {shown}` shows when it was there; a directory must lie in a source"))
}

/// Tells what happens: the caller, the log, the audit trail, and the hook.
struct Teller<'a> {
    at: Arc<Attached>,
    context: &'a Context,
    args: &'a Recover,
    audit: &'a Audit,
    /// Where the process logs once it is in the background.
    log: PathBuf,
    is_new: bool,
    /// Whether whoever started it knows how it goes.
    is_told: Cell<bool>,
}

impl Teller<'_> {
    fn hook(&self, state: &State, when: &str) {
        let Some(line) = &state.hook else { return };
        let order = Order::shell(line).timeout(HOOK).env("BYGONE_RECOVER", when).env("BYGONE_PATH", state.path());
        match order.run(&AtomicBool::new(false)) {
            Ok(ended) if ended.is_good() => tracing::info!("the hook {when} the swap has ended well"),
            Ok(ended) => tracing::error!("the hook {when} the swap: {}", ended.why_of_both()),
            Err(e) => tracing::error!("the hook {when} the swap can't be run: {e}"),
        }
    }

    fn record(&self, event: Event) {
        trail::told(self.audit.record(event));
    }

    /// Says on the standard output that it can be used.
    fn say(&self, state: &State) -> Result<(), Failure> {
        let mut out = self.context.out();
        let path = state.path();
        if self.context.json {
            out.json(&json!({
                "usable": json_bytes(path.as_os_str().as_encoded_bytes()), "as_of": state.as_of,
                "work_directory": json_bytes(state.work_dir().as_os_str().as_encoded_bytes()),
            }))?;
        } else if !self.context.quiet || self.args.in_background {
            out.line(format_args!("{} can be used, as of {}", path.display(), state.as_of))?;
        }
        out.finish()
    }
}

impl Listener for Teller<'_> {
    fn reading(&self, state: &State) {
        if let Err(e) = lease::keep(&self.at, self.audit, state) {
            tracing::warn!(
                "what {} reads from the repository is not kept from retention: {e}. As long as that is so, `bygone maintain` may release \
                 it; a key of the role admin places a hold",
                state.path().display()
            );
        }
    }

    fn over(&self, state: &State) {
        release(&self.at, self.audit, state);
    }

    fn usable(&self, state: &State) {
        if let Err(e) = self.say(state) {
            tracing::warn!("{}", e.in_a_line());
        }
        self.is_told.set(true);
        // From here on it runs by itself.
        if self.args.in_background
            && let Err(e) = process::go_to_background(&self.log)
        {
            tracing::warn!("cannot leave the terminal: {e}");
        }
        self.record(begun_event(state, self.is_new));
    }

    fn filled(&self, state: &State) {
        self.hook(state, "before");
    }

    fn swapping(&self, state: &State) {
        tracing::warn!("{} becomes a plain directory now: nobody can write for a moment", state.path().display());
    }

    fn swapped(&self, state: &State) {
        swapped_lines(state).iter().for_each(|line| tracing::warn!("{line}"));
        if !self.is_told.replace(true)
            && let Err(e) = say_swapped(self.context, state)
        {
            tracing::warn!("{}", e.in_a_line());
        }
        self.hook(state, "after");
        let before = state.before_dir();
        if before.symlink_metadata().is_ok() {
            keep(self.context, state, &before);
        }
        let before = before.symlink_metadata().is_ok().then(|| bytes_value(before.as_os_str().as_encoded_bytes()));
        let outcome = if state.problems.is_empty() { How::Done } else { How::Partial };
        self.record(
            about(Kind::RecoverSwap, outcome, state)
                .detail("before", before)
                .detail("problems", state.problems.clone()),
        );
    }

    fn abandoned(&self, state: &State, kept: Option<&Path>) {
        if kept.is_some() {
            keep(self.context, state, &state.work_dir());
        }
        self.record(abandoned_event(state, kept, How::Done));
    }
}

fn about(kind: Kind, outcome: How, state: &State) -> Event {
    Event::new(kind, outcome)
        .about("directory", bytes_value(state.path().as_os_str().as_encoded_bytes()))
        .about("path", bytes_value(&state.from()))
        .detail("as_of", state.as_of.clone())
        .detail("time_ns", state.time_ns)
        .detail("id", state.id.clone())
}

/// Notes a directory that a recovery leaves beside the one that it was of, for `bygone aside`.
pub(super) fn keep(context: &Context, state: &State, dir: &Path) {
    let bytes = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let kept =
        Kept { id: state.id.clone(), time: clock::now(), dirs: vec![bytes(dir)], paths: vec![bytes(&state.path())] };
    if let Err(e) = kept::note(&context.config.state, &kept) {
        tracing::warn!(
            "`bygone aside` will not know {}: {e}; remove it yourself when it is not needed any more",
            dir.display()
        );
    }
}

fn begun_event(state: &State, is_new: bool) -> Event {
    about(Kind::Recover, How::Begun, state).detail("resumed", !is_new).detail("fill", state.fill)
}

/// Lets go what was kept for a recovery that is over. Where that can't be, it ends by itself.
pub(super) fn release(at: &Attached, audit: &Audit, state: &State) {
    if let Err(e) = lease::end(at, audit, state) {
        let case = lease::case(state);
        tracing::warn!(
            "the hold {case} could not be released: {e}; it ends by itself, or by `bygone hold release {case}`"
        );
    }
}

/// What the audit trail tells of one that was given up.
pub(super) fn abandoned_event(state: &State, kept: Option<&Path>, how: How) -> Event {
    let kept = kept.map(|kept| bytes_value(kept.as_os_str().as_encoded_bytes()));
    about(Kind::RecoverAbandon, how, state).detail("kept", kept)
}
