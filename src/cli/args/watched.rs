//! Watching over it: health, metrics, notify.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Its description.
pub(super) const HEALTH: &str = "\
Tell whether all is as it should be: one line that sums it up, then a line for each finding, with what it is about, why, and what \
to do.\n\n\
The exit status is for a monitor: 0, all is well; 3, degraded: backups go on, and something is not as it should be; 1, failing: \
something is not backed up, or may not be read back. It asks the service that runs, and looks by itself where none does.";

/// `bygone health`.
#[derive(Debug, Args)]
pub struct Health {}

/// Its description.
pub(super) const METRICS: &str = "\
Print all metrics once, in the text format of Prometheus, as a running service serves them where [metrics] says `listen`.\n\n\
Without a service they are those of the repository and this host. With --out they go into a file, replaced as a whole, such as one \
of the textfile collector of node_exporter.";

/// `bygone metrics`.
#[derive(Debug, Args)]
pub struct Metrics {
    /// Write them to this file, and not to the standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// `bygone notify`.
#[derive(Debug, Subcommand)]
pub enum Notify {
    /// Send a test message by every channel, or by one
    Test(NotifyTest),
}

/// `bygone notify test`.
#[derive(Debug, Args)]
pub struct NotifyTest {
    /// The name of a channel; all if none is given
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}
