//! Drills: run, list, show, coverage, verify.

use clap::{ArgGroup, Args, Subcommand, ValueHint};

use super::times::TIMES;

/// `bygone drill`.
#[derive(Debug, Subcommand)]
pub enum Drill {
    /// Rehearse a recovery plan apart, and prove what comes back
    #[command(long_about = RUN)]
    Run(DrillRun),
    /// List the drills that were run
    List,
    /// Show the report of a drill
    Show(DrillShow),
    /// Show which sources were proved, when, and how much of them
    Coverage,
    /// Tell whether reports are as they were written, and all there
    #[command(long_about = VERIFY)]
    Verify(DrillVerify),
    /// What the process apart runs
    #[command(hide = true)]
    Inside(DrillInside),
}

/// Its description.
const RUN: &str = "\
Rehearse a recovery plan apart, and prove what comes back.\n\n\
The plan runs as it is, in a process with mounts, process numbers and a network of its own. Its restores copy nothing: what was there at \
the instant shows where it would be restored to, also in place, and what is written on it goes to a scratch. Programs see all that is \
there on this host, and what they write is nobody else's; they reach no network and no socket of a service outside. Steps that ask or \
tell somebody are left out, and those of which the plan says so. When the process ends, however it does, all of it is gone.\n\n\
Then a part of all files is read and compared with the hashes of the index, another part each time until everything was read, and every \
SQLite database is read whole. The report says how long recovery takes and how much would be lost, against the objectives that were \
given. It is authenticated by the key of the repository, and in the audit trail. A drill takes root.\n\n\
Exit status: 0, passed; 3, passed, and a step failed that the plan lets fail, each named; 1, it failed, or could not be run; 2, the plan or the command line has mistakes.";

/// The description of `verify`.
const VERIFY: &str = "\
Tell whether reports are as they were written, and all there.\n\n\
A report is authenticated by the key of the repository, and its page with it; it has to lie in the directory of its drill. Where no drill \
is named, all reports are compared with the audit trail: one that the trail tells of and that is gone, or is another one, is named. \
What the last drill of a plan showed also stands beside the reports: a report that is taken away does not make a plan healthy.\n\n\
Exit status: 0, all are as they were written; 3, one is not, or is missing, or the trail is not whole.";

/// `bygone drill run`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").multiple(false).args(["at", "random", "worst"]), after_long_help = TIMES)]
pub struct DrillRun {
    /// The plan, by name or by the path of a file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: String,
    /// Go back to this time; the newest snapshot if nothing is said
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Go back to any snapshot
    #[arg(long)]
    pub random: bool,
    /// Go back to the snapshot that needs the most records to be right
    #[arg(long)]
    pub worst: bool,
    /// Give an input its value
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Fail where recovery takes longer
    #[arg(long, value_name = "DURATION")]
    pub recovery_time: Option<String>,
    /// Fail where the newest snapshot is older at the instant
    #[arg(long, value_name = "DURATION")]
    pub recovery_point: Option<String>,
    /// Read all files in so many drills; 1 reads everything
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub parts: u64,
}

/// `bygone drill show`.
#[derive(Debug, Args)]
pub struct DrillShow {
    /// The drill
    #[arg(value_name = "DRILL")]
    pub drill: String,
}

/// `bygone drill verify`.
#[derive(Debug, Args)]
pub struct DrillVerify {
    /// The drills, or files of their reports; all drills if none is named
    #[arg(value_name = "DRILL", value_hint = ValueHint::FilePath)]
    pub reports: Vec<String>,
}

/// `bygone drill inside`.
#[derive(Debug, Args)]
pub struct DrillInside {
    /// The drill
    #[arg(value_name = "DRILL")]
    pub drill: String,
    /// Run the plan: the root is made
    #[arg(long)]
    pub worker: bool,
}
