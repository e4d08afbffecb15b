//! The offline recovery kit.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Its description.
pub(super) const KIT: &str = "\
Make the offline recovery kit: a directory, and in it a page to be printed, for the day on which nothing else is left.\n\n\
It says how to install, where the repository and its copies are, their fingerprint, which keys open it and where they are said to be (by \
their labels), what it holds, and has the settings without secrets, the plans, each with its runbook, and the program itself. No key is in \
it unless --with-key asks for one. Make it anew when something of this changes, and keep it where neither this machine nor the \
repository is.";

/// `bygone kit`.
#[derive(Debug, Args)]
pub struct Kit {
    /// The directory, which must be new or empty
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// Make a new key and put it in: whoever has the kit can then read everything
    #[arg(long)]
    pub with_key: bool,
    /// Leave the program out
    #[arg(long)]
    pub no_program: bool,
}
