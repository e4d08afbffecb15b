//! `bygone daemon`, and the commands that only a running service answers: reload, pause, resume, job.

use std::sync::Arc;

use serde_json::json;

use crate::cli::args::service::{Job, Pause};
use crate::cli::args::top::Global;
use crate::cli::commands::{snapshot, status};
use crate::cli::context::{Context, Missing};
use crate::cli::open::{self, Reads};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::{service, trail};
use crate::config::{model::Config, site::Site};
use crate::daemon::{host::Host, protocol::What, run};
use crate::progress::Quiet;
use crate::repo::{attach::Attached, audit::writer::Audit, open::Repository};
use crate::retention::vain;
use crate::sys::service::Started;

/// Runs the service.
pub fn run(global: &Global) -> Result<Outcome, Failure> {
    let context = Context::load(global, Missing::Error)?;
    snapshot::lower_priority(&context, &context.config.limits);
    let host = Arc::new(Line { global: global.clone() });
    let left = run::run(host, &started()).into_failure()?;
    if left.is_empty() {
        return Ok(Outcome::Done);
    }
    Err(Failure::new(format!("ended without waiting any longer for {}", left.join(", ")))
        .hint("nothing is lost: what was being captured is captured with the next start"))
}

/// What the environment says of whoever started the service.
fn started() -> Started {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    Started {
        notify_socket: std::env::var_os("NOTIFY_SOCKET"),
        watchdog_usec: number("WATCHDOG_USEC"),
        watchdog_pid: number("WATCHDOG_PID").and_then(|pid| u32::try_from(pid).ok()),
    }
}

/// What the service asks of the command line.
struct Line {
    global: Global,
}

impl Line {
    fn with(&self, config: &Config) -> Result<Context, Failure> {
        // The settings are given: that the file has been broken since then changes nothing.
        let (context, _) = Context::load_with_problems(&self.global, Missing::Fine)?;
        Ok(Context { config: config.clone(), ..context })
    }

    fn opened(&self, config: &Config, reads: Reads) -> Result<Arc<Attached>, Failure> {
        let at = open::attached_with(&self.with(config)?, reads)?;
        open::catch_up(&at, &Quiet)?;
        Ok(at)
    }
}

impl Host for Line {
    fn load(&self) -> Result<Config, String> {
        Context::load(&self.global, Missing::Error).map(|context| context.config).map_err(|e| e.in_a_line())
    }

    fn open(&self, config: &Config) -> Result<Arc<Attached>, String> {
        self.opened(config, Reads::Cached).map_err(|e| e.in_a_line())
    }

    fn fresh(&self, config: &Config) -> Result<Arc<Attached>, String> {
        self.opened(config, Reads::Fresh).map_err(|e| e.in_a_line())
    }

    fn copy(&self, config: &Config, at: &Arc<Attached>, site: &Site) -> Result<Repository, String> {
        open::copy(at.repo(), config, site).map_err(|e| e.in_a_line())
    }

    fn standing(&self, config: &Config, at: &Arc<Attached>) -> Result<serde_json::Value, String> {
        self.with(config).and_then(|context| status::standing(&context, at)).map_err(|e| e.in_a_line())
    }

    fn audit(&self, config: &Config, at: &Arc<Attached>) -> Result<Audit, String> {
        self.with(config).map(|context| trail::open(&context, at.repo())).map_err(|e| e.in_a_line())
    }

    fn note_policy(&self, config: &Config, at: &Arc<Attached>, audit: &Audit) {
        match self.with(config) {
            // An entry that can't be written has been told.
            Ok(context) => drop(trail::note_policy(&context, at.repo(), audit)),
            Err(e) => tracing::error!("the rules of retention are not in the audit trail: {}", e.in_a_line()),
        }
        match vain::without_effect(config, at) {
            Ok(lines) => lines.iter().for_each(|line| tracing::warn!("{line}")),
            // Maintenance tells it again, and does nothing without the locks.
            Err(e) => tracing::warn!("it is not known which locks the repository keeps: {e}"),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// `bygone reload`.
pub fn reload(context: &Context) -> Result<Outcome, Failure> {
    simple(context, What::Reload)
}

/// `bygone pause`.
pub fn pause(context: &Context, args: &Pause) -> Result<Outcome, Failure> {
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    simple(context, What::Pause { for_ms: args.duration.map(ms) })
}

/// `bygone resume`.
pub fn resume(context: &Context) -> Result<Outcome, Failure> {
    simple(context, What::Resume)
}

/// `bygone job`.
pub fn job(context: &Context, command: &Job) -> Result<Outcome, Failure> {
    let Job::Cancel(args) = command;
    simple(context, What::Cancel { name: args.name.clone() })
}

/// Asks, and says what was done: also where the file of the settings was broken since the service took it.
fn simple(context: &Context, what: What) -> Result<Outcome, Failure> {
    let (done, whole) = service::must(context, what, &mut |_| {})?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "done": done }))?,
        false if context.quiet => {}
        false => out.line(done)?,
    }
    out.finish()?;
    Ok(context.looked(if whole { Outcome::Done } else { Outcome::Partial }))
}
