//! Recovery plans: check, list, show, run, runs, stop, confirm, undo.

use clap::{ArgGroup, Args, Subcommand, ValueHint};

use super::times::TIMES;

/// `bygone plan`.
#[derive(Debug, Subcommand)]
pub enum Plan {
    /// Find every mistake in plans, without running anything
    Check(PlanCheck),
    /// List the plans beside the settings
    List,
    /// Print a plan as a runbook for people
    Show(PlanShow),
    /// Run a plan, or go on with a run
    #[command(long_about = RUN)]
    Run(PlanRun),
    /// List runs, or show one with all its steps
    Runs(PlanRuns),
    /// Ask a run to stop; it ends its steps, and can be resumed
    Stop(PlanStop),
    /// Say that a person has done a manual step
    Confirm(PlanConfirm),
    /// Take back what a run that has stopped has made
    Undo(PlanUndo),
}

/// `bygone plan check`.
#[derive(Debug, Args)]
pub struct PlanCheck {
    /// The plans, by name or by the path of a file; all those beside the settings if none is named
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plans: Vec<String>,
}

/// `bygone plan show`.
#[derive(Debug, Args)]
pub struct PlanShow {
    /// The plan, by name or by the path of a file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: String,
}

/// Its description.
const RUN: &str = "\
Run a plan, or go on with a run.\n\n\
What each step does is noted, and on the disk, before the next thing happens. A run that was interrupted, by a signal, by `bygone plan \
stop` or by a crash, is gone on with by --resume: steps that are over are not done again, and one that was cut off in the middle is \
begun anew. Where a step fails, what was made is taken back, or all stays until the cause is mended, as the plan says.\n\n\
With --dry-run nothing is run and nothing written: what would be done is counted, and how long it takes is estimated from what runs \
on this host were measured to take. Each run says at its end how that compared.\n\n\
Exit status: 0, all done; 1, failed, and said whether all was taken back, or stopped; 2, the plan or the command line has mistakes; \
3, done, but something was not as it should be, and was named.";

/// `bygone plan run`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(false).args(["plan", "resume"]),
    after_long_help = TIMES
)]
pub struct PlanRun {
    /// The plan, by name or by the path of a file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath, requires = "at")]
    pub plan: Option<String>,
    /// Recover to this time
    #[arg(long, value_name = "TIME", conflicts_with = "resume")]
    pub at: Option<String>,
    /// Give an input its value
    #[arg(long = "set", value_name = "NAME=VALUE", conflicts_with = "resume")]
    pub set: Vec<String>,
    /// Count and estimate what would be done, and do nothing
    #[arg(short = 'n', long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// Begin anew, and give up the runs of this plan that have stopped
    #[arg(long, conflicts_with = "resume")]
    pub anew: bool,
    /// Go on with this run
    #[arg(long, value_name = "RUN")]
    pub resume: Option<String>,
    /// Begin this step again, which was cut off in the middle and asks before
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub again: Vec<String>,
    /// Take this step, which was cut off in the middle or has failed, for done
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub passed: Vec<String>,
    /// Take all manual steps for confirmed
    #[arg(long)]
    pub yes_manual: bool,
}

/// `bygone plan runs`.
#[derive(Debug, Args)]
pub struct PlanRuns {
    /// The run to be shown with its steps
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// `bygone plan stop`.
#[derive(Debug, Args)]
pub struct PlanStop {
    /// The run
    #[arg(value_name = "RUN")]
    pub run: String,
}

/// `bygone plan confirm`.
#[derive(Debug, Args)]
pub struct PlanConfirm {
    /// The run
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The step
    #[arg(value_name = "STEP")]
    pub step: String,
}

/// `bygone plan undo`.
#[derive(Debug, Args)]
pub struct PlanUndo {
    /// The run
    #[arg(value_name = "RUN")]
    pub run: String,
}
