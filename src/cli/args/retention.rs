//! Retention: show, simulate.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::times::TIMES;

/// `bygone retention`.
#[derive(Debug, Subcommand)]
pub enum Retention {
    /// Show the policy of each source, in words
    Show(Show),
    /// Show what the policies would keep and release, and what each rule costs
    #[command(long_about = SIMULATE)]
    Simulate(Simulate),
}

/// `bygone retention show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Only these sources; all of this host if none is given
    #[arg(value_name = "SOURCE", value_hint = ValueHint::DirPath)]
    pub sources: Vec<PathBuf>,
}

const SIMULATE: &str = "\
Show what the policies would keep and release of the history that there is, and what each rule costs.\n\n\
A rule costs the content that would be released as well if it alone were taken away: what only snapshots need that nothing else \
keeps. So a rule costs nothing while a lock or a legal hold keeps the same instants: of how many that is so is said, and what they \
take is among what more than one reason keeps. Content that two sources share goes when neither needs it. Nothing is changed.";

/// `bygone retention simulate`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct Simulate {
    /// Only these sources; all of this host if none is given. Costs always take the policies of all sources into account
    #[arg(value_name = "SOURCE", value_hint = ValueHint::DirPath)]
    pub sources: Vec<PathBuf>,
    /// As if it were this time, with the history that there is now
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// List every instant
    #[arg(long)]
    pub all: bool,
}
