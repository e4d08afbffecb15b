//! Looking back: list, log, diff, find, cat.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};

use super::of_host::OfHost;
use super::times::TIMES;

/// `bygone list`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct List {
    /// Only snapshots of these sources
    #[arg(value_name = "SOURCE", value_hint = ValueHint::DirPath)]
    pub sources: Vec<PathBuf>,
    /// One line a day
    #[arg(long)]
    pub by_day: bool,
    /// One line a source
    #[arg(long, conflicts_with = "by_day")]
    pub by_source: bool,
    /// Only snapshots after this time
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only snapshots up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// At most this many, the newest
    #[arg(short = 'l', long, value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}

/// Its description.
pub(super) const LOG: &str = "\
List the versions of a file or directory, the newest first.\n\n\
A file keeps its identity when it is renamed, and so does everything in a directory that is renamed: the list goes \
on under the older names. Where another file took its place, as when an editor saves by renaming, that is told as \
replaced, and the list goes on with the one before. Gaps, the times in which changes could not be seen, are listed too.";

/// `bygone log`.
#[derive(Debug, Args)]
pub struct Log {
    /// The file or directory; it need not be there any more
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// At most this many versions
    #[arg(short = 'l', long, value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}

/// Its description.
pub(super) const DIFF: &str = "\
Show what changed between two times, from the index alone.\n\n\
Each line begins with a letter: + added, - removed, M modified, R renamed, T another type. What differs stands in \
brackets; \"replaced\" says that another file stands at that name, as after an editor that saves by renaming. \
Directories of which only the time of the last modification differs are left out of the text; --json has them.";

/// `bygone diff`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct Diff {
    /// The first time
    #[arg(value_name = "A")]
    pub from: String,
    /// The second time
    #[arg(value_name = "B")]
    pub to: String,
    /// Only this file, or what lies below this directory
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
    /// Print counts and sizes only
    #[arg(long)]
    pub stat: bool,
    /// Print nothing but paths as they are, each with a NUL byte behind it
    #[arg(short = '0', long, conflicts_with_all = ["stat", "json"])]
    pub null: bool,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}

/// Its description.
pub(super) const FIND: &str = "\
Find files by name.\n\n\
A pattern without a slash is compared with names, one with a slash with whole paths; *, ?, [...] and ** are as in \
a shell. A pattern is UTF-8; names need not be: ? stands for any one byte of them.";

/// `bygone find`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("when").multiple(false),
    after_long_help = TIMES
)]
pub struct Find {
    /// The pattern
    #[arg(value_name = "PATTERN")]
    pub pattern: OsString,
    /// As it was at this time; latest if nothing is said
    #[arg(long, value_name = "TIME", group = "when")]
    pub at: Option<String>,
    /// Everything that was ever there
    #[arg(long, group = "when")]
    pub ever: bool,
    /// Only what was there and is not any more
    #[arg(long, group = "when")]
    pub deleted: bool,
    /// Print paths as they are, each with a NUL byte behind it
    #[arg(short = '0', long, conflicts_with = "json")]
    pub null: bool,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}

/// `bygone cat`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct Cat {
    /// The file, by its absolute path or relative to here
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// As it was at this time
    #[arg(long, value_name = "TIME", default_value = "latest")]
    pub at: String,
    /// As it was before its last change, or before it was removed
    #[arg(long, conflicts_with = "at")]
    pub before_change: bool,
    /// Whose history.
    #[command(flatten)]
    pub of: OfHost,
}
