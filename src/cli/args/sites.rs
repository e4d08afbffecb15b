//! Other sites: replicate, sites.

use clap::Args;

/// Its description.
pub(super) const REPLICATE: &str = "\
Bring the copies of the repository at other sites up to date.\n\n\
The objects at both ends are compared by their names, and those that are missing are copied: authenticated as they pass, and in an \
order in which what names others comes behind them, so that the copy is a whole repository at every moment. A run that ended early \
is gone on with by the next. What collection has deleted here is deleted there when its statement says so; what is missing here \
without one stays there, and is named.\n\n\
A damaged object is named and not copied, the rest is, and the exit status is 3. A copy that has history which the repository lacks \
is refused: it was promoted or written to. Sites are in the settings, as bygone.toml(5) has it; bygone(7) says how a copy is used.";

/// `bygone replicate`.
#[derive(Debug, Args)]
pub struct Replicate {
    /// Only these sites; all if none is given
    #[arg(value_name = "SITE")]
    pub sites: Vec<String>,
    /// Print what would be done, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Make the copy again where it was and is no more
    #[arg(long, requires = "sites", conflicts_with = "dry_run")]
    pub anew: bool,
}

/// Its description.
pub(super) const SITES: &str = "\
Show how the copies at other sites stand, by what this host knows: when each was brought up to date last, and its recovery point: how \
many seconds of each source would be lost with the repository now. No site is asked.";

/// `bygone sites`.
#[derive(Debug, Args)]
pub struct Sites {
    /// Only these sites; all if none is given
    #[arg(value_name = "SITE")]
    pub sites: Vec<String>,
}
