//! A plan, with all defaults in place.

use super::template::Template;
use super::when::Condition;
use crate::config::error::Place;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The name of the input that every plan has: the instant that is recovered to.
pub const AT: &str = "at";

/// A plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name: that of its file, without `.toml`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it is for.
    pub about: String,
    /// What happens when a step has failed.
    pub on_failure: OnFailure,
    /// So many steps run at once, at most.
    pub parallel: usize,
    /// What is to be known before it runs, in the order of names.
    pub inputs: Vec<Input>,
    /// Its steps, in the order of the file.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The step of a name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The input of a name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

/// What happens when a step has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// What the steps before have made is taken back, as each says.
    #[default]
    RollBack,
    /// Everything stays, and the run can go on when the cause is mended.
    Stop,
}

/// Something that is to be known before a plan runs.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// What its value can be.
    pub sort: Sort,
    /// The value where nothing is said.
    pub default: Option<String>,
    /// Where the file says so.
    pub place: Place,
}

/// What the value of an input can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// An absolute path.
    Path,
    /// Any text.
    #[default]
    Text,
    /// An instant, as commands take it.
    Time,
    /// A whole number.
    Number,
    /// `yes` or `no`.
    YesNo,
}

impl Sort {
    /// Its word in a plan.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Path => "path",
            Sort::Text => "text",
            Sort::Time => "time",
            Sort::Number => "number",
            Sort::YesNo => "yes-no",
        }
    }
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Where the file says it.
    pub place: Place,
    /// The steps that have to be over before.
    pub needs: Vec<String>,
    /// What all has to hold, or it is skipped.
    pub when: Vec<Condition>,
    /// After so long an attempt has failed.
    pub timeout: Option<Duration>,
    /// So often it is tried again when it has failed.
    pub retries: u32,
    /// So long after.
    pub retry_after: Duration,
    /// Whether it can be begun again where it was cut off in the middle.
    pub again: bool,
    /// Whether the plan goes on when it has failed.
    pub may_fail: bool,
    /// Whether it is left out of a drill.
    pub drill_skips: bool,
    /// How it is taken back.
    pub undo: Option<Undo>,
    /// What it does.
    pub work: Work,
}

/// How a step is taken back.
#[derive(Debug, Clone)]
pub enum Undo {
    /// What it made is removed, and nothing else.
    Remove,
    /// By a program.
    Run(Program),
}

/// A program that a plan runs.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name and arguments, or a line for a shell.
    pub how: How,
    /// The user that it runs as; the one that bygone runs as if none.
    pub user: Option<Template>,
    /// Where it runs.
    pub dir: Option<Template>,
    /// More variables of its environment.
    pub env: Vec<(String, Template)>,
}

/// How a program is called.
#[derive(Debug, Clone)]
pub enum How {
    /// By its name and arguments.
    Args(Vec<Template>),
    /// By a line for `sh -c`, which finds the inputs as variables.
    Shell(String),
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Work {
    /// Brings files back.
    Restore(Restore),
    /// Recovers a PostgreSQL server.
    Postgres(Postgres),
    /// Runs a program.
    Command {
        /// The program.
        program: Program,
        /// The input that gets the first line it prints.
        sets: Option<String>,
    },
    /// Looks whether something is as it should be.
    Check(Check),
    /// Waits.
    Wait(Wait),
    /// A person does something, and says so.
    Manual {
        /// What is to be done.
        ask: Template,
    },
    /// Tells somebody.
    Notify {
        /// The channel of the settings; all of them if none.
        channel: Option<Template>,
        /// What is told.
        message: Template,
    },
}

impl Work {
    /// Its word in a plan.
    pub fn word(&self) -> &'static str {
        match self {
            Work::Restore(_) => "restore",
            Work::Postgres(_) => "postgres",
            Work::Command { .. } => "command",
            Work::Check(_) => "check",
            Work::Wait(_) => "wait",
            Work::Manual { .. } => "manual",
            Work::Notify { .. } => "notify",
        }
    }
}

/// Files that are brought back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// Which, by their absolute paths.
    pub paths: Vec<Template>,
    /// The source of the settings that is meant, by its name, where no paths are.
    pub source: Option<Template>,
    /// Where to; where they were if none.
    pub to: Option<Template>,
    /// Whether what was not there is removed, in place.
    pub delete: bool,
    /// Whether files in another directory that are not what is restored are replaced.
    pub overwrite: bool,
    /// Whose history; that of this host if none.
    pub host: Option<Template>,
    /// As of when.
    pub at: Template,
}

/// A PostgreSQL server that is recovered.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// The source of the settings.
    pub source: Template,
    /// The directory of the new cluster, which must not be there, or be empty.
    pub data: Template,
    /// The instant that it is recovered to.
    pub at: Template,
    /// Whether it runs on when the step is over.
    pub keeps_running: bool,
    /// The user of the new server; that of the source if none.
    pub user: Option<Template>,
    /// The directory with the programs of the server.
    pub bin: Option<Template>,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub enum Check {
    /// Something is at these paths.
    Exists(Vec<Template>),
    /// These SQLite databases, or those in these directories, are whole.
    Sqlite(Vec<Template>),
    /// A file has a hash: `sha256:...` or `blake3:...`.
    Hash {
        /// The file.
        file: Template,
        /// The hash.
        hash: Template,
    },
    /// What is at `here` is byte for byte what was at `path`.
    Same {
        /// The path in history.
        path: Template,
        /// Where it is now.
        here: Template,
        /// As of when.
        at: Template,
        /// Whose history.
        host: Option<Template>,
    },
    /// A program ends with 0, and prints what is expected.
    Program {
        /// The program.
        program: Program,
        /// What it prints.
        prints: Option<Template>,
    },
    /// A PostgreSQL server gives an answer.
    Query {
        /// The step that recovered the server, or how it is reached.
        server: Server,
        /// The database; `postgres` if none.
        database: Option<Template>,
        /// The question.
        query: Template,
        /// The answer.
        expect: Option<Template>,
    },
    /// What came back has the invariants of its sources.
    Invariants,
    /// The newest instant at which a program, given the files of that instant, ends with 0.
    Newest {
        /// The paths that it is given.
        probe: Vec<Template>,
        /// The instant to go back from.
        before: Template,
        /// The program.
        program: Program,
        /// So many instants are tried at most.
        tries: u32,
        /// The input that gets the instant.
        sets: String,
    },
}

/// How a PostgreSQL server is reached.
#[derive(Debug, Clone)]
pub enum Server {
    /// It is the one that this step has recovered.
    Step(String),
    /// As libpq has it.
    Connection(Template),
}

/// What is waited for.
#[derive(Debug, Clone)]
pub enum Wait {
    /// A time.
    For(Duration),
    /// A program ends with 0.
    Until {
        /// The program.
        program: Program,
        /// How often it is tried.
        every: Duration,
    },
    /// Something listens at a port, `host:port`, or at the path of a socket.
    Port {
        /// Where.
        port: Template,
        /// How often it is tried.
        every: Duration,
    },
}
