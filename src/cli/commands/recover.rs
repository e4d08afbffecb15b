//! `bygone recover`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::recover_background::{self, Work};
use super::recover_bare;
use crate::cli::args::recovery::Recover;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{clean, json_bytes};
use crate::cli::trail;
use crate::recover::{
    error::{RecoverError, users_text},
    session,
    state::{self, Broken, Phase, Request, State},
};
use crate::repo::attach::Attached;
use crate::sys::{open_files, overlay};
use crate::types::{path, time::Instant, when::show};

/// How often it is looked what became of a request.
const LOOK: Duration = Duration::from_millis(100);
/// How many looks what is left beside a plain directory is waited for.
const LEFT_TRIES: u32 = 100;

/// Runs it.
pub fn run(context: &Context, args: &Recover) -> Result<Outcome, Failure> {
    match args {
        Recover { status: true, .. } => status(context),
        Recover { instant: Some(path), .. } => recover_background::start(context, args, &Work::Begin(path.clone())),
        Recover { resume: Some(path), .. } => recover_background::start(context, args, &Work::GoOn(path.clone())),
        Recover { finish: Some(path), .. } => finish(context, args, path),
        Recover { abandon: Some(path), .. } => abandon(context, path),
        _ if context.repository_named.is_some() => recover_bare::run(context, args),
        _ => Err(Failure::usage(
            "say what is to be done: --instant, --resume, --finish, --abandon or --status; or --repo, to begin on a bare machine",
        )),
    }
}

/// The recovery of a directory that is under way.
pub(super) fn known(at: &Attached, given: &Path) -> Result<State, Failure> {
    let wanted = real(given)?;
    if let Some(state) = state::of(at.dir(), &wanted).map_err(failure)? {
        return Ok(state);
    }
    let path = wanted.display().to_string();
    Err(failure(match broken(at, &wanted)? {
        Some(broken) => RecoverError::Broken { path, why: broken.why },
        None => RecoverError::NotUnderWay { path },
    }))
}

/// What is noted of a directory and can't be read. It may be named by what it is called, too.
fn broken(at: &Attached, wanted: &Path) -> Result<Option<Broken>, Failure> {
    let is_it = |b: &Broken| b.path.as_deref() == Some(wanted) || wanted.file_name() == Some(b.id.as_ref());
    Ok(state::noted(at.dir()).map_err(failure)?.broken.into_iter().find(is_it))
}

/// The directory as a state names it: without symbolic links on the way to it.
pub(super) fn real(given: &Path) -> Result<std::path::PathBuf, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    let clean = clean(given)?;
    let clean = Path::new(std::ffi::OsStr::from_bytes(&clean));
    let (Some(parent), Some(name)) = (clean.parent(), clean.file_name()) else { return Ok(clean.to_owned()) };
    Ok(parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name))
}

/// An error for people, with what to do.
pub(super) fn failure(e: RecoverError) -> Failure {
    let failure = Failure::from_error(&e);
    match &e {
        RecoverError::NotRoot => failure.hint("run it as root; `bygone restore` and `bygone mount` work without"),
        RecoverError::NoOverlay => failure.hint("`bygone restore` brings it back without one"),
        RecoverError::Space { .. } => failure.hint("make room, or keep the overlay with --no-fill"),
        RecoverError::UnderWay { path, .. } => failure.hint(format!(
            "`bygone recover --status` tells more; `--finish {path}` ends it with a plain directory, `--abandon {path}` gives it up"
        )),
        RecoverError::Interrupted { path, .. } => failure.hint(format!(
            "`bygone recover --resume {path}` goes on; `--abandon {path}` gives it up and keeps what was written"
        )),
        RecoverError::NotUnderWay { .. } => failure.hint("`bygone recover --status` shows what is under way"),
        RecoverError::TooLate { path } => failure.hint(format!("`bygone recover --resume {path}` ends it")),
        RecoverError::InUse { .. } => failure.hint("stop these processes, and run the same command again: nothing is lost"),
        RecoverError::Released { .. } => {
            failure.hint("what was written is kept: --abandon tells where; give the directory back from another instant")
        }
        RecoverError::Io { doing: "mount an overlay on", .. } => failure.hint(
            "the file system that it lies on must be able to hold the upper layer of an overlay, as ext4, xfs and btrfs are; \
             `bygone restore` needs no overlay",
        ),
        RecoverError::Broken { path, .. } => failure.hint(format!(
            "`bygone recover --status` shows it; `--abandon {path}` forgets it, and leaves what is on the disk where it is"
        )),
        RecoverError::State { .. } => failure.hint("what was written stands in the directory upper beside that file"),
        _ => failure,
    }
}

fn finish(context: &Context, args: &Recover, given: &Path) -> Result<Outcome, Failure> {
    let at = open::attached(context)?;
    let known = known(&at, given)?;
    known.ask(Request::Finish).map_err(failure)?;
    drop(at);
    if known.worker().map_err(failure)?.is_none() {
        let started = recover_background::start(context, args, &Work::GoOn(given.to_owned()))?;
        if started != Outcome::Done || args.in_background {
            return Ok(started);
        }
    }
    wait(context, &known)
}

/// Waits for the swap; what it waits for is told.
fn wait(context: &Context, begun: &State) -> Result<Outcome, Failure> {
    let (mut told, mut left) = (String::new(), 0);
    loop {
        let now = state::load(&begun.work_dir()).map_err(failure)?;
        if now.as_ref().is_some_and(|now| now.phase == Phase::Swapped) && left < LEFT_TRIES {
            // The rest is removed at once, unless somebody still reads what it was before.
            left += 1;
            std::thread::sleep(LOOK);
            continue;
        }
        let Some(now) = now.filter(|now| now.phase != Phase::Swapped) else {
            say_swapped(context, begun)?;
            return Ok(Outcome::Done);
        };
        if now.worker().map_err(failure)?.is_none()
            && state::load(&begun.work_dir()).map_err(failure)?.is_some_and(|now| now.phase != Phase::Swapped)
        {
            return Err(failure(RecoverError::Interrupted {
                path: now.path().display().to_string(),
                as_of: now.as_of,
            }));
        }
        if let (Phase::Overlay, None, [problem, ..]) = (now.phase, now.asked(), &now.problems[..]) {
            return Err(Failure::new(format!("{} stays as it is: {problem}", now.path().display()))
                .hint("`bygone recover --status` tells more"));
        }
        let holds = holders(&now)?;
        if now.phase == Phase::Filled && !holds.is_empty() && holds != told && !context.quiet {
            tracing::warn!("waiting for a moment in which no file is open for writing; it is used by {holds}");
            told = holds;
        }
        std::thread::sleep(LOOK);
    }
}

/// Says that it is a plain directory.
pub(super) fn say_swapped(context: &Context, state: &State) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        out.json(&json!({ "swapped": json_bytes(state.path().as_os_str().as_encoded_bytes()) }))?;
    } else if !context.quiet {
        swapped_lines(state).iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

/// What is told of a swap.
pub(super) fn swapped_lines(state: &State) -> Vec<String> {
    let mut lines = vec![format!("{} is a plain directory now", state.path().display())];
    if state.before_dir().symlink_metadata().is_ok() {
        let (kept, id) = (state.before_dir(), &state.id);
        lines.push(format!("what stood there before is kept: {}; `bygone aside drop {id}` removes it", kept.display()));
    }
    lines
}

/// Who uses the overlay.
fn holders(state: &State) -> Result<String, Failure> {
    let what = || format!("cannot tell who uses {}", state.path().display());
    let Some(mount) = overlay::on(&state.path()).explain(what)? else { return Ok(String::new()) };
    let mut users = users_text(&open_files::users_of(mount.id, Some(&mount.point)).explain(what)?);
    for point in overlay::also_at(&mount).explain(what)? {
        let comma = if users.is_empty() { "" } else { ", " };
        users.push_str(&format!("{comma}the mount {}", path::show(&point)));
    }
    Ok(users)
}

fn abandon(context: &Context, given: &Path) -> Result<Outcome, Failure> {
    let at = open::attached(context)?;
    let wanted = real(given)?;
    if let (None, Some(broken)) = (state::of(at.dir(), &wanted).map_err(failure)?, broken(&at, &wanted)?) {
        return forget_broken(context, &at, &broken);
    }
    let mut known = known(&at, given)?;
    if known.worker().map_err(failure)?.is_some() {
        return ask_to_abandon(context, &known);
    }
    let lock = known.lock().map_err(failure)?;
    if lock.is_none() {
        return ask_to_abandon(context, &known);
    }
    let given_up = session::give_up(&mut known, at.dir()).map_err(failure);
    let audit = trail::open(context, at.repo());
    let kept = given_up.as_ref().ok().cloned().flatten();
    if kept.is_some() {
        recover_background::keep(context, &known, &known.work_dir());
    }
    let ended = trail::ended(&audit, given_up.map(|_| Outcome::Done), |ended| {
        recover_background::abandoned_event(&known, kept.as_deref(), ended)
    })?;
    if ended != Outcome::Failed {
        recover_background::release(&at, &audit, &known);
    }
    tell_abandoned(context, &known, kept.as_deref())?;
    Ok(ended)
}

/// Forgets what can't be read. What is on the disk of it stays, since what was written may be in it.
fn forget_broken(context: &Context, at: &Attached, broken: &Broken) -> Result<Outcome, Failure> {
    if let Some(path) = &broken.path
        && overlay::on(path).explain(|| format!("cannot tell what is mounted on {}", path.display()))?.is_some()
    {
        return Err(Failure::new(format!("the overlay on {} is mounted, and {}", path.display(), broken.why))
            .hint("unmount it first"));
    }
    broken.forget(at.dir()).map_err(failure)?;
    let left = broken.work_dir.as_ref().filter(|dir| dir.symlink_metadata().is_ok());
    let mut out = context.out();
    if context.json {
        let bytes = |path: &std::path::PathBuf| json_bytes(path.as_os_str().as_encoded_bytes());
        out.json(&json!({
            "forgotten": broken.id, "path": broken.path.as_ref().map(bytes), "kept": left.map(bytes),
        }))?;
    } else if !context.quiet {
        out.line(format_args!("what was noted as {} is forgotten: {}", broken.id, broken.why))?;
        if let Some(left) = left {
            out.line(format_args!(
                "what is left of it stays: {}; what was written is in its directory upper",
                left.display()
            ))?;
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// The process that works on it gives it up.
fn ask_to_abandon(context: &Context, known: &State) -> Result<Outcome, Failure> {
    known.ask(Request::Abandon).map_err(failure)?;
    loop {
        std::thread::sleep(LOOK);
        let now = state::load(&known.work_dir()).map_err(failure)?;
        match now {
            // All of it is removed where nothing was written.
            None => break,
            Some(now) if now.worker().map_err(failure)?.is_none() => {
                if now.phase != Phase::Abandoned {
                    return Err(failure(RecoverError::Interrupted {
                        path: now.path().display().to_string(),
                        as_of: now.as_of,
                    }));
                }
                break;
            }
            Some(now) if matches!(now.phase, Phase::Merging | Phase::Swapping | Phase::Swapped) => {
                return Err(failure(RecoverError::TooLate { path: now.path().display().to_string() }));
            }
            Some(now) if now.asked().is_none() && now.phase != Phase::Abandoned => {
                let why = now.problems.first().cloned().unwrap_or_default();
                if why.starts_with(session::NOT_NOW) {
                    return Err(Failure::new(format!("{}: {why}", now.path().display()))
                        .hint("stop these processes, and run the same command again"));
                }
            }
            Some(_) => {}
        }
    }
    let kept = known.work_dir().join("upper");
    tell_abandoned(context, known, kept.is_dir().then_some(kept.as_path()))?;
    Ok(Outcome::Done)
}

fn tell_abandoned(context: &Context, state: &State, kept: Option<&Path>) -> Result<(), Failure> {
    let mut out = context.out();
    let path = state.path();
    if context.json {
        let kept = kept.map(|kept| json_bytes(kept.as_os_str().as_encoded_bytes()));
        out.json(&json!({ "abandoned": json_bytes(path.as_os_str().as_encoded_bytes()), "kept": kept }))?;
    } else if !context.quiet {
        out.line(format_args!("{} is what it was before", path.display()))?;
        match kept {
            Some(kept) => {
                out.line(format_args!("what was written into it is kept: {}", kept.display()))?;
                out.line(format_args!("`bygone aside drop {}` removes it", state.id))?;
            }
            None => out.line("nothing had been written into it")?,
        }
    }
    out.finish()
}

fn status(context: &Context) -> Result<Outcome, Failure> {
    let at = open::attached(context)?;
    let zone = context.zone()?;
    let state::Noted { states, broken } = state::noted(at.dir()).map_err(failure)?;
    let mut out = context.out();
    for one in &broken {
        let path = one.path.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
        if context.json {
            out.json(&json!({ "broken": one.id, "path": path.map(json_bytes), "problems": [one.why] }))?;
            continue;
        }
        let name = path.map_or_else(|| one.id.clone(), path::show);
        out.line(format_args!("{name}: {}", one.why))?;
        out.line(format_args!("  `bygone recover --abandon {name}` forgets it; other directories are not affected"))?;
    }
    for state in &states {
        let worker = state.worker().map_err(failure)?;
        let holds = holders(state)?;
        if context.json {
            out.json(&as_json(state, worker, &holds))?;
            continue;
        }
        out.line(format_args!("{} as of {}", path::show(state.path().as_os_str().as_encoded_bytes()), state.as_of))?;
        out.line(format_args!("  begun {}", show::show(Instant(state.begun_ns), &zone)))?;
        out.line(format_args!("  {}", phase_text(state)))?;
        match worker {
            Some(pid) => out.line(format_args!("  process {pid} works on it"))?,
            None => out.line(format_args!(
                "  no process works on it: `bygone recover --resume {}` goes on",
                state.path().display()
            ))?,
        }
        if !holds.is_empty() {
            out.line(format_args!("  used by {holds}"))?;
        }
        state.problems.iter().try_for_each(|problem| out.line(format_args!("  {problem}")))?;
    }
    if states.is_empty() && broken.is_empty() && !context.json && !context.quiet {
        out.line("nothing is being given back")?;
    }
    out.finish()?;
    let is_whole = |s: &State| s.problems.is_empty() && s.worker().is_ok_and(|w| w.is_some());
    Ok(if broken.is_empty() && states.iter().all(is_whole) { Outcome::Done } else { Outcome::Partial })
}

fn phase_text(state: &State) -> &'static str {
    match (state.phase, state.fill) {
        (Phase::Overlay, true) => "can be used; the plain directory is being filled",
        (Phase::Overlay, false) => "can be used; nothing is filled until --finish",
        (Phase::Filled, _) => "can be used; the plain directory is filled, and the swap is to come",
        (Phase::Merging, _) => "what was changed is being put into the plain directory",
        (Phase::Swapping, _) => "the plain directory is taking its place",
        (Phase::Swapped, _) => "a plain directory; what is left beside it is being removed",
        (Phase::Abandoned, _) => "given up",
    }
}

fn as_json(state: &State, worker: Option<u32>, holds: &str) -> Value {
    json!({
        "path": json_bytes(state.path().as_os_str().as_encoded_bytes()), "from": json_bytes(&state.from()), "as_of": state.as_of,
        "time_ns": state.time_ns, "begun_ns": state.begun_ns, "phase": state.phase, "fill": state.fill, "swap": state.swap,
        "process": worker, "used_by": holds, "problems": state.problems,
        "work_directory": json_bytes(state.work_dir().as_os_str().as_encoded_bytes()),
    })
}
