//! Simulated disasters.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Its description.
pub(super) const DISASTER: &str = "\
Rehearse a disaster on a repository made for it.\n\n\
In a new directory it makes files, a repository with a key, and a copy of it at another site; breaks what the name says; does what \
bygone(7) says about it; and compares what came back with the files, byte for byte. No repository, settings or state of this host is \
read or written: the settings of the rehearsal name nothing outside of that directory, which is removed at the end.\n\n\
The names: lost-index, lost-host, lost-site, damaged-packs, read-only-store, lying-store, expired-credentials, encrypted-files, \
wrong-clock, key-lost-with-paper, key-lost-without-paper. Where nothing helps, it says so.\n\n\
Exit status: 0, it went as the documentation says, also where nothing helps; 1, it did not.";

/// `bygone disaster`.
#[derive(Debug, Args)]
pub struct Disaster {
    /// The disaster; all of them, one after the other, if none is named
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Make the new directory in this one
    #[arg(long = "in", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Keep the directory, to look at
    #[arg(long)]
    pub keep: bool,
}
