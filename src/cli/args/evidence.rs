//! Evidence: hold, audit, report.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::times::TIMES;

/// `bygone hold`.
#[derive(Debug, Subcommand)]
pub enum Hold {
    /// Place a hold: what it touches is not collected until it is released
    #[command(long_about = PLACE)]
    Place(HoldPlace),
    /// List the holds
    List(HoldList),
    /// Show all that was done about a case
    Show(HoldShow),
    /// Give a hold a later end
    #[command(long_about = "Give a hold a later end. A hold only ever gets longer.")]
    Lengthen(HoldLengthen),
    /// Release a hold: the policies apply again
    #[command(long_about = RELEASE)]
    Release(HoldRelease),
    /// Write out all that a hold touches, with its checksums and the chain of custody
    #[command(long_about = EXPORT)]
    Export(HoldExport),
}

const PLACE: &str = "\
Place a hold: what it touches is not collected until it is released.\n\n\
It touches what fits all that is given: snapshots of these sources, hosts and paths that an instant of the time shows; without \
any of these, everything. A case can be placed several times; each placement holds.";

const RELEASE: &str = "\
Release a hold: the policies apply again.\n\n\
Asks for the id of the case once more at the terminal; --confirm gives it otherwise. What another host does to the case at the same \
moment stays in force.";

const EXPORT: &str = "\
Write out all that a hold touches, with its checksums and the chain of custody.\n\n\
The directory gets every version of every file in scope once, below <host>/<instant>/, where the instant is that of the first snapshot \
in scope that has the version; CHANGES.jsonl says what became of it. SHA256SUMS is read by `sha256sum -c`, CUSTODY.txt and \
CUSTODY.json say where all of it comes from, and README.txt explains it to whoever receives it.";

/// `bygone hold place`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct HoldPlace {
    /// The id of the case, such as case-2026-17
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Who is responsible for it
    #[arg(long, value_name = "NAME")]
    pub owner: String,
    /// Why it is placed
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// A file or directory that it touches; may be given again
    #[arg(long = "path", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// A source that it touches, by its directory or its name in the settings; may be given again
    #[arg(long = "source", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sources: Vec<PathBuf>,
    /// A host that it touches; may be given again
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// The first instant that it touches: the beginning of a day, month or year
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The last instant that it touches
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// The last instant at which it is in force; until it is released if not given
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `bygone hold list`.
#[derive(Debug, Args)]
pub struct HoldList {
    /// Also those that are over
    #[arg(long)]
    pub all: bool,
}

/// `bygone hold show`.
#[derive(Debug, Args)]
pub struct HoldShow {
    /// The case
    #[arg(value_name = "CASE")]
    pub case: String,
}

/// `bygone hold lengthen`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct HoldLengthen {
    /// The case
    #[arg(value_name = "CASE")]
    pub case: String,
    /// The last instant at which it is in force, or `released`
    #[arg(long, value_name = "TIME")]
    pub until: String,
}

/// `bygone hold release`.
#[derive(Debug, Args)]
pub struct HoldRelease {
    /// The case
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Why it is released
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The id of the case once more, where nobody is at the terminal
    #[arg(long, value_name = "CASE")]
    pub confirm: Option<String>,
}

/// `bygone hold export`.
#[derive(Debug, Args)]
pub struct HoldExport {
    /// The case
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Where to; a new or empty directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
}

/// `bygone audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show who did what, and when
    Show(AuditShow),
    /// Check that nothing of the record was altered or removed
    #[command(long_about = AUDIT_VERIFY)]
    Verify(AuditVerify),
    /// Write the record out, so that others can check it
    #[command(long_about = AUDIT_EXPORT)]
    Export(AuditExport),
}

const AUDIT_VERIFY: &str = "\
Check that nothing of the record was altered or removed.\n\n\
Reads every entry and follows every link between them, and compares them with what this host has seen. What is wrong is named: the \
object, the number of the entry, and the time in which it was written. Exit status 3 says that something is wrong.\n\n\
What will not be mended, since the repository was set back to an older copy or entries are lost for good, is accepted with --accept: it \
stands in the trail from then on, is shown as accepted, and is no problem any more.";

/// `bygone audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// Accept what is wrong now, for good; it stands in the trail
    #[arg(long)]
    pub accept: bool,
}

const AUDIT_EXPORT: &str = "\
Write the record out, so that others can check it.\n\n\
Three files: the entries, one line of JSON each; .b3, the BLAKE3 hash of each line; and .sha256, the checksums of both, as `sha256sum \
-c` reads them. bygone(7) says how the chain is checked with them.";

/// `bygone audit show`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct AuditShow {
    /// Only what was written at this time or later: the beginning of a day, month or year
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what was written at this time or earlier
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only this kind, such as restore or hold-place; may be given again
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
}

/// `bygone audit export`.
#[derive(Debug, Args)]
pub struct AuditExport {
    /// A new file, or a directory in which audit.jsonl is made
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub to: PathBuf,
}

/// `bygone report`.
#[derive(Debug, Subcommand)]
pub enum Report {
    /// What was protected, how well, and what became of it
    #[command(long_about = COMPLIANCE)]
    Compliance(Compliance),
}

const COMPLIANCE: &str = "\
What was protected, how well, and what became of it.\n\n\
One page for a reader who does not know the tool: what was protected, recovery points against objectives, gaps and why, what was \
verified, retention and holds in force, what was deleted on what authority, restores, changes of keys and policies, failures, and whether \
the record of all this is whole. It is HTML that needs nothing else and prints well; with --json, the same data.";

/// `bygone report compliance`.
#[derive(Debug, Args)]
#[command(after_long_help = TIMES)]
pub struct Compliance {
    /// The beginning of the time that is reported on: that of a day, month or year
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// Its end; now if not given
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Write the page to this file, and not to the standard output
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}
