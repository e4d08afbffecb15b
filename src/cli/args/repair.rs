//! Repair without a copy.

use clap::Args;

/// Its description.
pub(super) const REPAIR: &str = "\
Keep what is whole, store anew what the disk still has, and name what is lost.\n\n\
Reads everything as `bygone verify --read-data` does. What still reads in a damaged pack stays, or is stored anew where the pack's table or \
header is damaged; of what does not, each chunk is looked for in the files of this machine's sources, and stored anew where one has it. A \
history that the repository has lost is written again from this host's index; what nobody has of it is given up, which is asked for or \
needs --yes, so that capture goes on. Then every version of a file that can't be given back is named, and stands in the audit trail.\n\n\
Nothing is deleted. Reading what is lost stays an error. Nothing is deduplicated against it any more: a file that comes back is stored \
again, and makes older versions with the same content whole. A repair that was interrupted is run again.\n\n\
Where there is a copy at a site, --from brings back whole what that has, before anything is taken for lost.\n\n\
Exit status 3 says that something is lost, also where an earlier repair has told it, or that something could not be repaired.";

/// `bygone repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// Tell what would be done and what is lost, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Give up what nobody has of a history without asking
    #[arg(long)]
    pub yes: bool,
    /// First put back what the copy at this site has whole
    #[arg(long, value_name = "SITE")]
    pub from: Option<String>,
}
