//! Bringing files back.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};

use super::of_host::OfHost;
use super::times::TIMES;

/// Its description.
pub(super) const RESTORE: &str = "\
Bring files back as they were, with everything they had: owners, modes, times, extended attributes, ACLs, hard \
links and holes.\n\n\
Only what differs is written, beside and then renamed into place; metadata last. Everything written is verified. After an \
interruption, also by SIGKILL, the same command goes on with what is missing.\n\n\
What would keep it from being done, such as too little room, a missing right, or a file system that can't hold what is needed, is \
looked for first and told as a whole: then nothing is written, unless --anyway is given.\n\n\
With --in-place, what is there now is captured first, so that it can be brought back. What no snapshot holds as it is \
(it could not be read, or its directory is protected no more) is neither replaced nor removed, but named; --aside keeps it on the \
disk instead.\n\n\
With --to, a file that is there and is not what is restored is never replaced unasked: all of them are named, and nothing is written. \
--aside keeps them beside, --stage puts the whole directory aside, and --overwrite replaces them.\n\n\
Exit status 3 says that something could not be restored; each is named.";

/// `bygone restore`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("where").required(true).multiple(false),
    group = ArgGroup::new("when").required(true).multiple(false),
    group = ArgGroup::new("what").required(true).multiple(true),
    after_long_help = TIMES
)]
pub struct Restore {
    /// The files and directories, by their absolute paths or relative to here
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath, group = "what")]
    pub paths: Vec<PathBuf>,
    /// All of this source, by its name or its directory
    #[arg(long, value_name = "SOURCE", group = "what")]
    pub source: Vec<PathBuf>,
    /// Everything of the host
    #[arg(long, group = "what", conflicts_with_all = ["paths", "source", "files_from"])]
    pub all: bool,
    /// What this file lists, one path a line; - for the standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "what")]
    pub files_from: Option<PathBuf>,
    /// The paths of that list end with NUL bytes, as those of `find -0` do
    #[arg(short = '0', long, requires = "files_from")]
    pub null: bool,
    /// As they were at this time
    #[arg(long, value_name = "TIME", group = "when")]
    pub at: Option<String>,
    /// As they were just before the last change of this path, or before it was removed; it is what is restored if nothing else is named
    ///
    /// Of a directory, the last change of anything in it. What has been changed since the last snapshot counts too; what a restore in
    /// place has brought back does not, so that the same command may be given again.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, groups = ["when", "what"])]
    pub before_change: Option<PathBuf>,
    /// Restore into this directory, each path under its last name
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, group = "where")]
    pub to: Option<PathBuf>,
    /// Restore where they were
    #[arg(long, group = "where")]
    pub in_place: bool,
    /// With --to: below the directory as they were below /
    #[arg(long, requires = "to", conflicts_with = "in_place")]
    pub full_paths: bool,
    /// Delete what was not there at that time
    ///
    /// Only what a snapshot holds just as it is now is deleted, and so can be brought back. Anything else is named and left
    /// where it is, and so is what is never captured: what patterns leave out, sockets, other file systems.
    #[arg(long, requires = "in_place", conflicts_with = "to")]
    pub delete: bool,
    /// Keep what is replaced or deleted in a directory beside what is restored, until `bygone aside drop`
    ///
    /// It is called .bygone-aside-ID, lies on the same file system, and is never captured. What no snapshot holds is replaced and
    /// deleted too then.
    #[arg(long, conflicts_with = "stage")]
    pub aside: bool,
    /// With --to: replace files there that are not what is restored; nothing of them is kept
    ///
    /// Without this, --aside or --stage, such files are named and nothing is written.
    #[arg(long, requires = "to", conflicts_with_all = ["in_place", "aside", "stage"])]
    pub overwrite: bool,
    /// Restore a whole tree beside, and put it in its place in one step when all of it is there
    ///
    /// What stood there is kept aside as it was. If anything could not be restored, nothing is put in place.
    #[arg(long)]
    pub stage: bool,
    /// What lay at OLD goes to NEW, with --in-place or --full-paths
    #[arg(long, value_name = "OLD=NEW")]
    pub map_path: Vec<String>,
    /// What belonged to this user, by name or number, belongs to that one; `all=NEW` for everybody else
    #[arg(long, value_name = "OLD=NEW")]
    pub map_owner: Vec<String>,
    /// The same for groups
    #[arg(long, value_name = "OLD=NEW")]
    pub map_group: Vec<String>,
    /// Change permissions as chmod does: u=rwX,go-w or 0640, with D in front for directories only, and F for all else
    #[arg(long, value_name = "CHANGES")]
    pub chmod: Vec<String>,
    /// Restore what can be restored, although it was found that not everything can be, or that some paths were not there
    #[arg(long)]
    pub anyway: bool,
    /// Print what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}

/// Its description.
pub(super) const ASIDE: &str = "\
What restores have replaced and kept aside: `restore --aside` and `restore --stage` keep it on the disk, beside what was \
restored, until it is dropped here. So do recoveries: what stood in the directory before, and what was written into one that was given \
up.";

/// `bygone aside`.
#[derive(Debug, Args)]
pub struct Aside {
    /// What to do.
    #[command(subcommand)]
    pub command: AsideCommand,
}

/// `bygone aside ...`.
#[derive(Debug, clap::Subcommand)]
pub enum AsideCommand {
    /// List what is kept aside, and where
    List,
    /// Remove what is kept aside, for good
    Drop(AsideDrop),
}

/// `bygone aside drop`.
#[derive(Debug, Args)]
pub struct AsideDrop {
    /// The ids that `aside list` shows
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<String>,
    /// All of it
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}
