//! The WAL of a PostgreSQL server: push and fetch.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `bygone wal`.
#[derive(Debug, Subcommand)]
pub enum Wal {
    /// Take a file of WAL from the server
    #[command(long_about = "Take a file of WAL from the server: archive_command = 'bygone wal push %p %f'.\n\n\
                      When it ends with 0, the file is on the disk in the directory of the source, and the next snapshot has it. \
                      The same file once more is fine; another one of the same name is refused.")]
    Push(WalPush),
    /// Give a file of WAL to a server that recovers
    #[command(
        long_about = "Give a file of WAL to a server that recovers: restore_command = 'bygone wal fetch %f %p'.\n\n\
                      It comes from the newest snapshot of the source, or from a directory that was restored. Status 1, and no \
                      word, says that there is none of that name, as the server expects it at the end."
    )]
    Fetch(WalFetch),
}

/// Which source: the only one of its kind, or the one named.
#[derive(Debug, Args)]
pub struct Which {
    /// The name of the source; not needed where there is one PostgreSQL server only
    #[arg(long, value_name = "SOURCE")]
    pub name: Option<String>,
}

/// `bygone wal push`.
#[derive(Debug, Args)]
pub struct WalPush {
    /// The file: %p, relative to where the server starts it
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// Its name: %f
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Which source.
    #[command(flatten)]
    pub which: Which,
}

/// `bygone wal fetch`.
#[derive(Debug, Args)]
pub struct WalFetch {
    /// Its name: %f
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Where to put it: %p
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// Take it from this directory, and not from the repository
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub from: Option<PathBuf>,
    /// Which source.
    #[command(flatten)]
    pub which: Which,
}
