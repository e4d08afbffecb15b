//! What a run of a plan asks of the command line: to tell what happens, to notify, and to ask a person.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::cli::bar::{self, Apart};
use crate::cli::context::Context;
use crate::config::watched::Channel;
use crate::daemon::notices::{deliver::deliver, message::Message};
use crate::plan::ground::{Hands, News};
use crate::plan::journal::{Ended, Ending};
use crate::plan::model::Step;
use crate::plan::undo;
use crate::progress::Progress;
use crate::sys::clock;
use crate::types::path::tame;

use super::plan_told::{did, took};

/// How long an answer is waited for at once.
const LOOK_NS: i64 = 200_000_000;

/// The command line, as a run sees it.
pub(super) struct Terminal<'a> {
    pub(super) context: &'a Context,
    pub(super) yes_manual: bool,
    /// One question at a time.
    asking: Mutex<()>,
}

impl<'a> Terminal<'a> {
    pub(super) fn new(context: &'a Context, yes_manual: bool) -> Terminal<'a> {
        Terminal { context, yes_manual, asking: Mutex::new(()) }
    }

    fn tell(&self, text: &str, value: serde_json::Value) {
        let mut out = self.context.out();
        // Whoever does not read does not hold up a recovery: all of it is in the journal.
        let told = match (self.context.json, self.context.quiet) {
            (true, _) => out.json(&value),
            (false, true) => Ok(()),
            (false, false) => out.line(tame(text)),
        };
        if let Err(e) = told.and_then(|()| out.finish()) {
            tracing::warn!("{}", e.in_a_line());
        }
    }

    fn ended(&self, step: &Step, ended: &Ended) {
        let name = &step.name;
        for problem in &ended.problems {
            tracing::error!("{name}: {problem}");
        }
        let text = match (ended.ending, &ended.why) {
            (Ending::Skipped, Some(why)) => format!("{name}: skipped, since {why}"),
            (_, Some(why)) => format!("{name}: failed after {}: {why}", took(ended.took_ms)),
            (_, None) => format!("{name}: {} in {}{}", ended.ending.word(), took(ended.took_ms), did(ended)),
        };
        let value = json!({
            "step": name, "ended": ended.ending.word(), "took_ms": ended.took_ms, "files": ended.amount.files,
            "bytes": ended.amount.bytes, "why": ended.why, "problems": ended.problems, "told": ended.told,
        });
        self.tell(&text, value);
    }

    fn channels(&self, name: Option<&str>) -> Vec<&Channel> {
        self.context.config.channels.iter().filter(|c| name.is_none_or(|name| c.name == name)).collect()
    }
}

impl Hands for Terminal<'_> {
    fn hear(&self, news: News<'_>) {
        match news {
            News::Begun(step, attempt) => {
                let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                let text = format!("{}: begins ({}{again})", step.name, step.work.word());
                self.tell(&text, json!({ "step": step.name, "begun": step.work.word(), "attempt": attempt }));
            }
            News::Again(step, why) => {
                let value = json!({ "step": step.name, "failed": why, "again": true });
                self.tell(&format!("{}: failed, and is tried again: {why}", step.name), value);
            }
            News::Ended(step, ended) => self.ended(step, ended),
            News::Stopped(step) => {
                let text = format!("{}: cut off; it is begun again when the run is resumed", step.name);
                self.tell(&text, json!({ "step": step.name, "stopped": true }));
            }
            News::RollingBack(why) => {
                self.tell(&format!("rolling back, since {why}"), json!({ "rolling_back": why }));
            }
            News::Undone(step, None) => {
                self.tell(&format!("{}: taken back", step.name), json!({ "step": step.name, "undone": true }));
            }
            News::Undone(step, Some(why)) => {
                let words = undo::words(why);
                tracing::error!("{}: {words}", step.name);
                let short = words.split(':').next().unwrap_or_default();
                self.tell(
                    &format!("{}: {short}", step.name),
                    json!({ "step": step.name, "undone": false, "why": why }),
                );
            }
        }
    }

    fn progress(&self) -> Box<dyn Progress> {
        bar::on_stderr(!self.context.quiet && !self.context.json)
    }

    fn notify(&self, channel: Option<&str>, subject: &str, text: &str) -> Result<(), String> {
        let config = &self.context.config;
        let message = Message::plan(&config.host, &config.repository.to_string(), clock::now(), subject, text);
        let chosen = self.channels(channel);
        if chosen.is_empty() {
            return Err(match channel {
                Some(name) => format!("the settings have no channel {name:?}"),
                None => "the settings have no channel of notifications".to_owned(),
            });
        }
        let deliver = |channel: &Channel| {
            let sent = deliver(channel, &message, &|name| std::env::var(name).ok());
            sent.err().map(|e| format!("{}: {e}", channel.name))
        };
        let failed: Vec<String> = chosen.into_iter().filter_map(deliver).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn has_person(&self) -> bool {
        !self.context.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    fn ask(&self, question: &str, is_over: &dyn Fn() -> bool) -> Result<Option<bool>, String> {
        let _one = self.asking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let failed = |e: std::io::Error| format!("cannot ask at the terminal: {e}");
        loop {
            writeln!(Apart(std::io::stderr()), "{}", tame(question)).map_err(failed)?;
            if !readable(is_over)? {
                return Ok(None);
            }
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
                return Err("the terminal is gone, and nobody has confirmed it".into());
            }
            match line.trim() {
                "yes" => return Ok(Some(true)),
                "no" => return Ok(Some(false)),
                _ => {}
            }
        }
    }

    fn confirms_all(&self) -> bool {
        self.yes_manual
    }

    fn variables(&self) -> Vec<(String, String)> {
        let program = std::env::current_exe().unwrap_or_else(|_| "bygone".into());
        let config = &self.context.config.path;
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        vec![("BYGONE".into(), text(&program)), ("BYGONE_CONFIG".into(), text(config))]
    }
}

/// Waits for a line of the terminal; false where it is over before.
fn readable(is_over: &dyn Fn() -> bool) -> Result<bool, String> {
    let stdin = std::io::stdin();
    loop {
        if is_over() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: LOOK_NS };
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(format!("cannot ask at the terminal: {e}")),
        }
    }
}
