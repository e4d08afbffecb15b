//! Capturing, mounting and upkeep: snapshot, watch, mount, umount, verify, index, status, completions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use super::of_host::OfHost;
use super::times::TIMES;
use crate::config::model;
use crate::types::snapshot;

/// Its description.
pub(super) const SNAPSHOT: &str = "\
Capture everything that has changed, once.\n\n\
Says what is new, changed and removed, how many bytes were read and stored, and what could not be read or changed \
while it was read. Exit status 3 says that something could not be read or is fuzzy, as bygone(7) has it, or that a file has other \
bytes than its times tell.\n\n\
The tier says what is needed to read the snapshot later: incremental, the record before; differential, the last full; full, \
nothing. A full snapshot reads every byte again, and names each file whose bytes have changed without a change of its times. The \
first snapshot of a source is always full, and a differential is full where there is no full to build on.";

/// `bygone snapshot`.
#[derive(Debug, Args)]
pub struct Snapshot {
    /// Only these sources; all if none is given
    #[arg(value_name = "SOURCE", value_hint = ValueHint::DirPath)]
    pub sources: Vec<PathBuf>,
    /// What it needs to be read later
    #[arg(long, value_name = "TIER", value_enum, default_value_t)]
    pub tier: Tier,
}

/// The tiers of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Tier {
    /// The record before
    #[default]
    Incremental,
    /// The last full
    Differential,
    /// Nothing
    Full,
}

impl From<Tier> for snapshot::Tier {
    fn from(tier: Tier) -> snapshot::Tier {
        match tier {
            Tier::Incremental => snapshot::Tier::Incremental,
            Tier::Differential => snapshot::Tier::Differential,
            Tier::Full => snapshot::Tier::Full,
        }
    }
}

/// Its description.
pub(super) const WATCH: &str = "\
Capture changes as they happen, until interrupted.\n\n\
Catches up first with what changed while nothing watched. Times in which capture was blind are recorded as gaps, \
and shown by `bygone status` and `bygone list`.";

/// `bygone watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Only these sources; all if none is given
    #[arg(value_name = "SOURCE", value_hint = ValueHint::DirPath)]
    pub sources: Vec<PathBuf>,
}

/// Its description.
pub(super) const MOUNT: &str = "\
Mount history: every instant is a folder.\n\n\
Below the directory, @2025-09-20 is the end of that day, @2025-09-20T14:30 the end of that minute, and @latest, \
@yesterday and @1h move with the time. timeline/<day>/ has the snapshots of a day, history/<path>/ every directory that ever was \
and the versions of every file by name, and hosts/<host>/ all of this for each host. bygone(7) has all names.";

/// `bygone mount`.
#[derive(Debug, Args)]
#[command(
    after_long_help = TIMES
)]
pub struct Mount {
    /// Where; an empty directory
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Mount this one instant only
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
    /// Let other users see it
    #[arg(long)]
    pub allow_other: bool,
    /// The time zone of the names of time, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Whether an unchanged file is the same file in every view
    #[arg(long, value_name = "HOW", value_enum)]
    pub inodes: Option<Inodes>,
    /// Stay in the foreground until interrupted
    #[arg(long)]
    pub foreground: bool,
    /// Says when it is ready, and goes to the background: what the command starts when it is not to stay
    #[arg(long, hide = true, conflicts_with = "foreground")]
    pub in_background: bool,
}

/// The values of `--inodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Inodes {
    /// The same file: cached once, compared at once
    Shared,
    /// A file of its own in every view, for `du` and `tar` of several views
    PerView,
}

impl From<Inodes> for model::Inodes {
    fn from(given: Inodes) -> model::Inodes {
        match given {
            Inodes::Shared => model::Inodes::Shared,
            Inodes::PerView => model::Inodes::PerView,
        }
    }
}

/// `bygone umount`.
#[derive(Debug, Args)]
pub struct Umount {
    /// Where it is mounted
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

/// Its description.
pub(super) const VERIFY: &str = "\
Check the repository and name all damage.\n\n\
The structure is always checked: every record of the journal, the chain they form, every table of every pack, and \
that all that is referred to is there, also all snapshots that the audit trail names. With --read-data every byte is read and hashed again.\n\n\
With --against each object that is damaged or missing is looked for at a site, and with --repair put back from there where that has \
it whole; then all is checked once more, and what is told and the exit status are those of that.";

/// `bygone verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Read and check the data too
    #[arg(long)]
    pub read_data: bool,
    /// Of the data, read only this share, chosen at random, such as 5%
    #[arg(long, value_name = "SHARE", requires = "read_data", value_parser = percent)]
    pub subset: Option<f64>,
    /// Look for what is damaged or missing at this site
    #[arg(long, value_name = "SITE")]
    pub against: Option<String>,
    /// Put back from there what that has whole
    #[arg(long, requires = "against")]
    pub repair: bool,
}

/// A share from `5%` or `5`, as percent.
fn percent(text: &str) -> Result<f64, String> {
    let number: Result<f64, _> = text.strip_suffix('%').unwrap_or(text).trim().parse();
    match number {
        Ok(n) if n > 0.0 && n <= 100.0 => Ok(n),
        _ => Err("it has to be above 0% and at most 100%, such as 5%".into()),
    }
}

/// Its description.
pub const MAINTAIN: &str = "\
Release what the policies do not keep, merge histories, and delete what nothing needs.\n\n\
First the plan is printed. What is released is written into the audit trail before it goes. Packs and segments that nothing needs are \
marked first and deleted when every host that writes into this repository has seen that they are; where there is no other host, in \
the same run. Any number of hosts may capture, mount and verify meanwhile. Legal holds, locks and the newest snapshot are never \
released.\n\n\
Where something of a journal can't be read, follows from nothing that can, or is named by the audit trail and not there, nothing is \
collected at all: nobody knows what it needs. A \
good copy of the objects that `verify` names, put back, mends that, and so does maintaining on a host whose index still has them. Where \
neither will ever be, --give-up SOURCE writes the history of that source as this host's index has it, and lets the rest go; it stands in \
the audit trail first.";

/// `bygone maintain`.
#[derive(Debug, Args)]
pub struct Maintain {
    /// Print the plan, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do also what is worth little: merge every history and make every small pack into a larger one
    #[arg(long)]
    pub thorough: bool,
    /// Wait no longer for this host, which will not come back; by its id
    #[arg(long, value_name = "ID", conflicts_with_all = ["dry_run", "thorough"])]
    pub retire: Option<String>,
    /// Give up what can't be read of the history of this source, which keeps everything from being collected; first see with --dry-run
    /// what that is
    #[arg(long, value_name = "SOURCE", value_hint = ValueHint::DirPath, conflicts_with_all = ["retire", "thorough"])]
    pub give_up: Option<PathBuf>,
    /// The host of that source, where it is not this one
    #[arg(long, value_name = "HOST", requires = "give_up")]
    pub host: Option<String>,
}

/// `bygone index`.
#[derive(Debug, Subcommand)]
pub enum Index {
    /// Make the index anew from the repository and the key alone
    ///
    /// Where the repository has lost something, the index from before, which may still have it, is kept beside the new one, and the
    /// command says how to use it.
    Rebuild,
}

/// Its description.
pub(super) const STATUS: &str = "\
Show how things stand: the sources, their last snapshots and how far capture lags behind, gaps, sizes, what \
deduplication and compression save, and what watches.";

/// `bygone status`.
#[derive(Debug, Args)]
pub struct Status {}

/// `bygone completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(percent("5%"), Ok(5.0));
        assert_eq!(percent("0.5 %"), Ok(0.5));
        for wrong in ["0%", "101%", "", "%", "nan", "-1"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
