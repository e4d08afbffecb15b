//! Recovery: recover, verify-tree.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, ValueHint};

use super::of_host::OfHost;
use super::setup::KeySource;
use super::times::TIMES;
use crate::verify::tree::aspects::Aspect;

/// Its description.
pub(super) const VERIFY_TREE: &str = "\
Prove that a directory equals an instant, whatever put it there.\n\n\
Every name, type, mode, owner, time, extended attribute, flag, hard link, symbolic link and device is compared, and every byte \
of every file is read and held against the hashes that the history has: nothing but the journal, where the index lacks some of it, \
is read from the repository. All that differs is named. Exit status 0: equal; 3: something differs or could not be read; 1: \
nothing could be told.\n\n\
It takes a key of the role reader, writer or admin: an auditor's can't tell known content.\n\n\
A receipt tells what was compared and how it ended, with a digest of the tree, and is authenticated with a key of the repository.";

/// `bygone verify-tree`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["at", "check_receipt"]), after_long_help = TIMES)]
pub struct VerifyTree {
    /// The directory
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "check_receipt")]
    pub dir: Option<PathBuf>,
    /// The time
    #[arg(long, value_name = "TIME", requires = "dir")]
    pub at: Option<String>,
    /// The directory of that time to compare it with, where that stood elsewhere
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub path: Option<PathBuf>,
    /// Leave these out of the comparison
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub ignore: Vec<Ignore>,
    /// Write a receipt to this new file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub receipt: Option<PathBuf>,
    /// Check a receipt, and show what it tells
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["dir", "path", "ignore", "receipt", "host"]
    )]
    pub check_receipt: Option<PathBuf>,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}

/// What can be left out of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ignore {
    /// Permission bits
    Mode,
    /// Owners and groups
    Owner,
    /// Times of the last modification
    Times,
    /// Extended attributes and ACLs
    Xattrs,
    /// Inode flags
    Flags,
    /// Which names lead to one file
    Links,
    /// Names that the instant does not have
    Extra,
}

impl From<Ignore> for Aspect {
    fn from(ignore: Ignore) -> Aspect {
        match ignore {
            Ignore::Mode => Aspect::Mode,
            Ignore::Owner => Aspect::Owner,
            Ignore::Times => Aspect::Times,
            Ignore::Xattrs => Aspect::Xattrs,
            Ignore::Flags => Aspect::Flags,
            Ignore::Links => Aspect::Links,
            Ignore::Extra => Aspect::Extra,
        }
    }
}

/// Its description.
pub(super) const RECOVER: &str = "\
Give a directory back at once, as it was, readable and writable, and make it a plain directory behind that; or, with nothing but --repo, \
begin on a bare machine.\n\n\
An overlay shows the directory as it was and keeps what is written into it. Meanwhile a plain directory is filled beside it, in the \
background; then, in a moment that is announced in the log, writers are held off, what was changed is put into the plain \
directory, and that takes the place. What stood there before is kept beside it, and told. Only root can do this.\n\n\
Nothing that is written into the directory is lost, whatever ends the process: --resume goes on after a kill or a restart of the \
machine. The swap waits as long as a file is open for writing in the directory.\n\n\
`bygone recover --repo PLACE --key-file FILE` begins on a machine that has nothing but the program and a key: it makes the index from the \
repository at PLACE, or a copy of it, prints the fingerprint and what is there, and writes settings with the place, the key and the host \
where there are none yet, at the usual place or where --config says. It makes no repository and captures nothing.";

/// `bygone recover`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").args(["instant", "resume", "finish", "abandon", "status"]),
    after_long_help = TIMES
)]
pub struct Recover {
    /// Give this directory back at once
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath, requires = "at")]
    pub instant: Option<PathBuf>,
    /// Go on after the process was ended
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub resume: Option<PathBuf>,
    /// Swap as soon as the directory is filled and nobody has a file open for writing
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub finish: Option<PathBuf>,
    /// Unmount; what was written is kept, and told where
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub abandon: Option<PathBuf>,
    /// Show what is under way
    #[arg(long)]
    pub status: bool,
    /// The time
    #[arg(long, value_name = "TIME", requires = "instant")]
    pub at: Option<String>,
    /// When the plain directory takes its place
    #[arg(long, value_name = "WHEN", value_enum, requires = "instant", default_value_t)]
    pub swap: SwapWhen,
    /// Keep the overlay, and fill nothing until --finish
    #[arg(long, requires = "instant")]
    pub no_fill: bool,
    /// Run this command of a shell when the swap is to come, and again after it: it may stop and start what uses the directory
    #[arg(long, value_name = "COMMAND", requires = "instant")]
    pub hook: Option<String>,
    /// Stay in the foreground
    #[arg(long)]
    pub foreground: bool,
    /// With nothing but --repo: what opens the repository
    #[command(flatten)]
    pub key: KeySource,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
    /// Set for the process in the background.
    #[arg(long, hide = true)]
    pub in_background: bool,
}

impl Recover {
    /// Whether nothing is said that is to be done with a directory.
    pub fn is_bare(&self) -> bool {
        let paths = [&self.instant, &self.resume, &self.finish, &self.abandon];
        !self.status && paths.into_iter().all(Option::is_none)
    }
}

/// When the plain directory takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SwapWhen {
    /// When it is filled and no process uses the directory
    #[default]
    Idle,
    /// When it is filled and no process has a file open for writing
    Now,
    /// When --finish is given
    Manual,
}
