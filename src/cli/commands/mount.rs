//! `bygone mount`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::args::upkeep::Mount;
use crate::cli::background::{self, Begun};
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::mount::{
    inodes::Split,
    session::{self, MountError, MountOptions, Mounted},
};
use crate::progress::Quiet;
use crate::repo::{
    attach::Attached,
    audit::event::{Event, Kind, Outcome as Ended, bytes_value},
};
use crate::sys::clock;
use crate::sys::fuse::FuseError;
use crate::sys::process::{self, Signals};
use crate::types::{
    path,
    time::Instant,
    when::{human, show, zone::Zone},
};

/// How often a mount in the foreground looks for signals.
const LOOK: Duration = Duration::from_millis(100);

/// Runs it.
pub fn run(context: &Context, args: &Mount) -> Result<Outcome, Failure> {
    if !args.foreground && !args.in_background {
        return start_in_background(context, args);
    }
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    let is_new = at.reader().and_then(|r| Ok(r.sources()?)).into_failure()?.is_empty();
    if is_new || !at.moment().abandoned().into_failure()?.is_empty() {
        // A new index, without which there would be nothing to see; or a writer that ended before its record showed.
        open::catch_up(&at, &*bar::on_stderr(!context.quiet && !context.json))?;
    }
    let mounted = mount(&at, &options(context, args)?, &args.dir)?;
    let mut out = context.out();
    if context.json {
        out.json(&serde_json::json!({ "mounted": path::show(args.dir.as_os_str().as_encoded_bytes()) }))?;
    } else if !context.quiet || args.in_background {
        out.line(format_args!("mounted on {}", path::show(args.dir.as_os_str().as_encoded_bytes())))?;
    }
    out.finish()?;
    if args.in_background {
        process::go_to_background(&at.dir().join("mount.log")).explain(|| "cannot go to the background")?;
    }
    // What the index lacks is not waited for: the mount is there at once, and follows.
    let behind = at.clone();
    std::thread::Builder::new()
        .name("catch-up".into())
        .spawn(move || open::catch_up_to_read(&behind, &Quiet))
        .explain(|| "cannot start a thread")?;
    let audit = trail::open(context, at.repo());
    let recorded = trail::told(audit.record(event(Kind::Mount, Ended::Begun, &args.dir)));
    let mut ended = Ok(Outcome::Done);
    while mounted.wait(LOOK) {
        if signals.stopped() {
            ended = mounted.unmount().into_failure().map(|()| Outcome::Done);
            break;
        }
    }
    let ended = trail::ended(&audit, ended, |ended| event(Kind::Unmount, ended, &args.dir));
    ended.map(|outcome| outcome.and(recorded))
}

/// What the audit trail tells of a mount and its end.
pub fn event(kind: Kind, ended: Ended, dir: &Path) -> Event {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    Event::new(kind, ended).about("directory", bytes_value(dir.as_os_str().as_encoded_bytes()))
}

/// What of the history is mounted, and how, by the settings alone.
pub fn default_options(context: &Context) -> Result<MountOptions, Failure> {
    MountOptions::of(&context.config).into_failure()
}

/// Mounts, with a hint for people where that can't be.
pub fn mount(at: &Arc<Attached>, options: &MountOptions, dir: &Path) -> Result<Mounted, Failure> {
    session::mount(at.clone(), options, dir).map_err(|e| {
        let failure = Failure::from_error(&e);
        match &e {
            MountError::Fuse { source: FuseError::NoHelper, .. } => {
                failure.hint("install the package fuse3 (`apt install fuse3`), or run it as root")
            }
            MountError::Fuse { source: FuseError::Helper(said), .. } if said.contains("user_allow_other") => {
                failure.hint("add the line `user_allow_other` to /etc/fuse.conf, or leave --allow-other away")
            }
            _ => failure,
        }
    })
}

fn options(context: &Context, args: &Mount) -> Result<MountOptions, Failure> {
    let mut options = default_options(context)?;
    if let Some(zone) = &args.tz {
        options.shown.zone = Zone::named(zone).map_err(Failure::usage)?;
    }
    if let Some(host) = &args.of.host {
        (options.shown.host, options.shown.exact) = (host.clone(), true);
    }
    if let Some(inodes) = args.inodes {
        options.shown.split = Split::of(inodes.into());
    }
    options.allow_other |= args.allow_other;
    if let Some(text) = &args.at {
        let resolved = human::parse_time(text, clock::now(), &options.shown.zone).map_err(Failure::usage)?;
        options.shown.at = Some(if resolved.latest { Instant(i64::MAX) } else { resolved.instant });
        if !context.quiet && !resolved.latest {
            tracing::info!("the instant is {}", show::show(resolved.instant, &options.shown.zone));
        }
    }
    Ok(options)
}

/// Starts the same command again as a process of its own, which says on its standard output when the mount is ready.
fn start_in_background(context: &Context, args: &Mount) -> Result<Outcome, Failure> {
    let what = || format!("cannot mount {} in the background", path::show(args.dir.as_os_str().as_encoded_bytes()));
    let line = match background::again(what)? {
        Begun::Said(line) => line,
        Begun::Ended(outcome) => return Ok(outcome),
    };
    let mut out = context.out();
    if !context.quiet || context.json {
        out.line(line)?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}
