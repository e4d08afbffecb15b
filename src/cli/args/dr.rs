//! Disaster recovery between sites: status, test, failover, failback, rejoin.

use clap::{Args, Subcommand, ValueHint};

/// `bygone dr`.
#[derive(Debug, Subcommand)]
pub enum Dr {
    /// Show from where one could recover now, to when, and how fast
    #[command(long_about = STATUS)]
    Status(DrStatus),
    /// Rehearse a recovery plan from a site, without the repository
    #[command(long_about = TEST)]
    Test(DrTest),
    /// Go on with the copy at a site: the repository is lost
    #[command(long_about = FAILOVER)]
    Failover(DrFailover),
    /// Go back to a site that can be reached, and lose nothing
    #[command(long_about = FAILBACK)]
    Failback(DrFailback),
    /// Join what a place captured after another had taken over
    #[command(long_about = REJOIN)]
    Rejoin(DrRejoin),
}

/// Its description.
const STATUS: &str = "\
Show from where one could recover now, to when, and how fast.\n\n\
Each site is asked: whether it answers, whether it goes on or is a copy or is fenced, and up to which snapshot of each source it has all. \
Beside its objectives stand the recovery point (what would be lost if the repository were lost now) and how long recovery would take, by \
the last drill from there, or else by restores or replications that were measured. What nobody has measured is not known, and is said so. \
Where both sides have written, that is named.\n\n\
Exit status: 0, all objectives are met; 1, failed; 3, one is missed, and it was named why.";

/// `bygone dr status`.
#[derive(Debug, Args)]
pub struct DrStatus {
    /// Only these sites; all if none is given
    #[arg(value_name = "SITE")]
    pub sites: Vec<String>,
    /// Wait for a site for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub within: u64,
}

/// Its description.
const TEST: &str = "\
Rehearse a recovery plan from the copy at a site, without the repository.\n\n\
It is a drill, as bygone-drill-run(1) has it, with the copy for the repository: nothing of the repository is opened, and where it is a \
directory, an empty one that can't be entered stands in its place for everything that runs. The objectives are those of the site, unless \
others are given. `bygone drill list --repo PLACE` lists these drills. It takes root.\n\n\
Exit status: 0, passed; 1, it failed, or could not be run; 2, the plan or the command line has mistakes.";

/// `bygone dr test`.
#[derive(Debug, Args)]
pub struct DrTest {
    /// The site
    #[arg(value_name = "SITE")]
    pub site: String,
    /// The plan, by name or by the path of a file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: String,
    /// Go back to this time; the newest snapshot of the copy if nothing is said
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Give an input its value
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Fail where recovery takes longer
    #[arg(long, value_name = "DURATION")]
    pub recovery_time: Option<String>,
    /// Fail where the newest snapshot is older at the instant
    #[arg(long, value_name = "DURATION")]
    pub recovery_point: Option<String>,
}

/// Its description.
const FAILOVER: &str = "\
Go on with the copy at a site, since the repository is lost or out of reach. It is not asked.\n\n\
The copy is promoted: a record in it says that it goes on from here, and the settings name it as the repository, with the place before as \
a site of it. Whatever still writes to that place learns of it as soon as it speaks to the copy, or the copy to it: then it captures no \
more there, and says why. What it had captured by then stays, and `bygone dr rejoin` joins it.\n\n\
What the copy lacks of what this host knows is told before, and is lost unless that place comes back: then --accept-loss has to be given, \
as also where this host knows nothing of it. Where the copy was promoted already, these settings follow it.\n\n\
The service must not run; start it afterwards, and capture goes on there.";

/// `bygone dr failover`.
#[derive(Debug, Args)]
pub struct DrFailover {
    /// The site
    #[arg(value_name = "SITE")]
    pub site: String,
    /// Tell what would be done and lost, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Go on though the copy lacks what was captured last
    #[arg(long, visible_alias = "yes")]
    pub accept_loss: bool,
}

/// Its description.
const FAILBACK: &str = "\
Go back to a site that can be reached, and lose nothing: the old place, or any other one.\n\n\
What it lacks is copied, and nothing else. Then capture stops here, what came meanwhile is copied too, the site is promoted, and the \
settings name it as the repository. One that was interrupted is gone on with by the next. Where the site has captured after this place \
had taken over, `bygone dr rejoin` comes before.\n\n\
The service must not run; start it afterwards, and capture goes on there.";

/// `bygone dr failback`.
#[derive(Debug, Args)]
pub struct DrFailback {
    /// The site; the only one if none is given
    #[arg(value_name = "SITE")]
    pub site: Option<String>,
    /// Tell what would be copied, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Make the copy again where it was and is no more
    #[arg(long, conflicts_with = "dry_run")]
    pub anew: bool,
}

/// Its description.
const REJOIN: &str = "\
Join what a place captured after another one, this repository, had taken over.\n\n\
Its snapshots that are not here are copied, authenticated, with all that they need. Both histories are there then: one has the name of \
the host, the other one a mark behind it; `bygone list` has both, and --host shows each. Nothing of either is changed or lost. Then the place is \
brought up to date and fenced, and is a copy like any other.\n\n\
A place that has collected meanwhile can't be joined: it is refused, and stays as it is.";

/// `bygone dr rejoin`.
#[derive(Debug, Args)]
pub struct DrRejoin {
    /// The site that the place is to this repository; the only one if none is given
    #[arg(value_name = "SITE")]
    pub site: Option<String>,
    /// Make the copy again where it was and is no more
    #[arg(long)]
    pub anew: bool,
}
