//! What steps stand on, and what one step is given.

use super::checked::Checked;
use super::journal::{Amount, Ended, Event, Journal, Running};
use super::model::{Plan, Program, Step};
use super::places::RunDir;
use super::stage::Stage;
use super::template::{Template, Values};
use crate::config::model::Config;
use crate::progress::Progress;
use crate::repo::attach::Attached;
use crate::sys::child::Order;
use crate::types::{
    path,
    time::Instant,
    when::{human::parse_time, zone::Zone},
};
use crate::view::{names, whose::Whose};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all steps stand on.
pub struct Ground<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The repository and the index, up to date.
    pub at: Arc<Attached>,
    /// The zone of times.
    pub zone: Zone,
    /// What the one who runs the plan does for it.
    pub hands: &'a dyn Hands,
    /// Where it is a rehearsal: what restores are there.
    pub stage: Option<&'a dyn Stage>,
}

/// What a run asks of whoever runs it. Called from several threads.
pub trait Hands: Sync {
    /// Hears what happens.
    fn hear(&self, news: News<'_>);
    /// Something that hears how far a step is.
    fn progress(&self) -> Box<dyn Progress>;
    /// Sends a message by a channel of the settings, or by all. The error says what failed.
    fn notify(&self, channel: Option<&str>, subject: &str, text: &str) -> Result<(), String>;
    /// Whether a person can be asked here.
    fn has_person(&self) -> bool;
    /// Asks the person, and gives the answer; `None` where `is_over` came true before.
    fn ask(&self, question: &str, is_over: &dyn Fn() -> bool) -> Result<Option<bool>, String>;
    /// Whether all that a person is to confirm counts as confirmed.
    fn confirms_all(&self) -> bool;
    /// Variables that tell programs how to call bygone.
    fn variables(&self) -> Vec<(String, String)>;
}

/// What happens in a run.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// A step begins, for the n-th time.
    Begun(&'a Step, u32),
    /// An attempt failed, and another one follows.
    Again(&'a Step, &'a str),
    /// A step ended.
    Ended(&'a Step, &'a Ended),
    /// It was cut off, and will be begun again.
    Stopped(&'a Step),
    /// What was made is taken back now.
    RollingBack(&'a str),
    /// A step was taken back, or why not.
    Undone(&'a Step, Option<&'a str>),
}

/// What a step did.
#[derive(Debug, Default)]
pub(super) struct Did {
    pub(super) amount: Amount,
    pub(super) problems: Vec<String>,
    pub(super) told: Option<String>,
}

impl Did {
    pub(super) fn saying(text: impl Into<String>) -> Did {
        Did { told: Some(text.into()), ..Did::default() }
    }
}

/// What one step is given.
pub(super) struct Doing<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) plan: &'a Plan,
    pub(super) step: &'a Step,
    pub(super) values: Values,
    pub(super) run: &'a RunDir,
    pub(super) journal: &'a Mutex<Journal>,
    pub(super) stop: &'a AtomicBool,
    pub(super) progress: &'a dyn Progress,
}

impl Doing<'_> {
    pub(super) fn fill(&self, text: &Template) -> String {
        text.fill(&self.values)
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn path(&self, text: &Template) -> Result<PathBuf, String> {
        absolute(&self.fill(text))
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Event) -> Result<(), String> {
        self.journal().add(event).map_err(|e| e.to_string())
    }

    /// Notes, before they are made, what directories the step makes whole that are not there.
    pub(super) fn makes(&self, paths: &[PathBuf]) -> Result<(), String> {
        let step = self.step.name.clone();
        let place = |path: &PathBuf| {
            super::anchor::Anchor::of(path).map_err(|e| format!("cannot look where {} is: {e}", path.display()))
        };
        let places = paths.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let paths = paths.iter().map(|path| super::journal::path_value(path)).collect();
        self.note(Event::Makes { step, paths, places })
    }

    /// Notes which directory one of them is, now that it is made.
    pub(super) fn stands(&self, path: &Path) -> Result<(), String> {
        let found = crate::sys::dir::open(path).and_then(crate::sys::stat::of);
        let place = found.map_err(|e| format!("cannot look at {}: {e}", path.display()))?.place;
        let (step, path) = (self.step.name.clone(), super::journal::path_value(path));
        self.note(Event::Stands { step, path, dev: place.dev, ino: place.ino })
    }

    pub(super) fn made(&self) -> Vec<super::journal::MadePath> {
        self.journal().story.made.get(&self.step.name).cloned().unwrap_or_default()
    }

    /// Notes how invariants stand.
    pub(super) fn checked(&self, checked: Vec<Checked>) -> Result<(), String> {
        self.note(Event::Invariants { step: self.step.name.clone(), checked })
    }

    pub(super) fn server(&self, running: Running) -> Result<(), String> {
        self.note(Event::Server { step: self.step.name.clone(), running })
    }

    /// Gives an input a value.
    pub(super) fn set(&self, input: &str, text: &str) -> Result<(), String> {
        let sort = self.plan.input(input).map(|i| i.sort).unwrap_or_default();
        let now = crate::sys::clock::now();
        let value = super::inputs::value(sort, text, now, &self.ground.zone)
            .map_err(|why| format!("the input {input} can't be set: {why}"))?;
        self.note(Event::Set { step: self.step.name.clone(), input: input.to_owned(), value })
    }

    /// The order of a program, with the inputs as variables.
    pub(super) fn order(&self, program: &Program) -> Order {
        use super::model::How;
        let mut order = match &program.how {
            How::Shell(line) => Order::shell(line),
            How::Args(args) => {
                let mut args = args.iter().map(|arg| self.fill(arg));
                Order::new(args.next().unwrap_or_default()).args(args)
            }
        };
        for (name, value) in self.ground.hands.variables() {
            order = order.env(&name, value);
        }
        for (name, value) in &self.values {
            order = order.env(name, value);
        }
        for (name, value) in
            [("BYGONE_PLAN", &self.plan.name), ("BYGONE_RUN", &self.run.id), ("BYGONE_STEP", &self.step.name)]
        {
            order = order.env(name, value);
        }
        for (name, text) in &program.env {
            order = order.env(name, self.fill(text));
        }
        if let Some(dir) = &program.dir {
            order = order.dir(self.fill(dir));
        }
        let user = program.user.as_ref().map(|user| self.fill(user));
        order.user(user.as_deref())
    }

    /// Keeps the end of what a program said.
    pub(super) fn keep(&self, said: &[&[u8]]) -> Result<PathBuf, String> {
        let file = self.run.output(&self.step.name);
        crate::sys::durable::replace(&file, &said.concat(), 0o600).map_err(|e| e.to_string())?;
        Ok(file)
    }

    pub(super) fn instant(&self, text: &Template) -> Result<Instant, String> {
        instant(&self.fill(text), &self.ground.zone)
    }

    /// Sleeps, unless it is to stop. Whether it went on to the end.
    pub(super) fn sleep(&self, time: std::time::Duration) -> bool {
        sleep(time, self.stop)
    }
}

/// Sleeps in short steps until the time is over or `stop` is set; false for that.
pub(super) fn sleep(time: std::time::Duration, stop: &AtomicBool) -> bool {
    const STEP: std::time::Duration = std::time::Duration::from_millis(50);
    let until = std::time::Instant::now() + time;
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        match until.checked_duration_since(std::time::Instant::now()) {
            Some(rest) if !rest.is_zero() => std::thread::sleep(rest.min(STEP)),
            _ => return true,
        }
    }
}

/// A time as a value has it.
pub(super) fn instant(text: &str, zone: &Zone) -> Result<Instant, String> {
    Ok(parse_time(text, crate::sys::clock::now(), zone).map_err(|e| e.to_string())?.instant)
}

/// An absolute path without `..`.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    match path.is_absolute() && !path.components().any(|c| c == Component::ParentDir) {
        true => Ok(path.components().collect()),
        false => Err(format!("{text:?} is no absolute path without \"..\"")),
    }
}

impl Ground<'_> {
    /// Whose history is meant.
    pub(super) fn whose(&self, host: Option<String>) -> Result<Whose, String> {
        let Some(name) = host.filter(|name| !name.is_empty() && *name != self.config.host) else {
            return Whose::own(&self.at, &self.config.host).map_err(|e| e.to_string());
        };
        let known =
            self.at.reader().map_err(|e| e.to_string()).and_then(|i| names::hosts(&i).map_err(|e| e.to_string()))?;
        match known.contains(&name) {
            true => Ok(Whose::named(name)),
            false => {
                let known: Vec<String> = known.iter().map(|host| path::show(host.as_bytes())).collect();
                Err(format!("the repository has no host {name:?}; it has {}", known.join(", ")))
            }
        }
    }
}

/// An error with all that is behind it, in one line.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = e.source();
    }
    text
}
