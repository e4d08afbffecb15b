//! Whose history a command looks at.

use clap::Args;

/// The option of every command that looks back.
#[derive(Debug, Clone, Default, Args)]
pub struct OfHost {
    /// Look at the history of this host, as `list` and `status` name it; this machine's own if nothing is said
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}
