//! Setting up: protect, init, key, source, config.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::types::role::Role;

/// Its description.
pub(super) const PROTECT: &str = "\
Protect directories from now on.\n\n\
Makes the repository and a key if there are none (and says where both are), adds the directories to the sources, \
captures what has changed, mounts the history if asked to, and goes on watching until it is interrupted; then it \
unmounts and ends. Run again, it goes on where it left off.";

/// `bygone protect`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Keep a copy of the key elsewhere: without it nothing can be restored. A repository on the disk that \
                       it protects is a beginning only."
)]
pub struct Protect {
    /// The directories to protect
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub paths: Vec<PathBuf>,
    /// Mount the history here
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub mount: Option<PathBuf>,
}

/// Its description.
pub(super) const INIT: &str = "\
Make a repository and its first key.\n\n\
The repository is a local directory: --repo, the one of the settings, or the default. Without an option for the \
key, the settings say which; without settings, a key file is made with mode 0600.";

/// `bygone init`.
#[derive(Debug, Args)]
pub struct Init {
    /// What will open the repository.
    #[command(flatten)]
    pub key: KeySource,
    /// What the key is called in `bygone key list`
    #[arg(long, value_name = "TEXT", default_value = "first")]
    pub label: String,
    /// Make it where this host has used another repository that is not there now: that one is lost for good
    #[arg(long)]
    pub replace_lost: bool,
}

/// Where a secret comes from: at most one.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct KeySource {
    /// Use this key file; made with mode 0600 if it is not there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// Ask for a passphrase at the terminal
    #[arg(long)]
    pub passphrase: bool,
    /// Take the first line of this file for the passphrase
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
    /// Take the passphrase from this environment variable
    #[arg(long, value_name = "NAME")]
    pub passphrase_env: Option<String>,
    /// Take the first line that this shell command prints for the passphrase
    #[arg(long, value_name = "COMMAND", value_hint = ValueHint::CommandString)]
    pub passphrase_command: Option<String>,
    /// Take the passphrase from this credential of systemd
    #[arg(long, value_name = "NAME")]
    pub passphrase_credential: Option<String>,
}

/// `bygone key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Add a passphrase or a key file that opens the repository
    Add(KeyAdd),
    /// Remove a key: it will not open the repository any more
    #[command(long_about = "Remove a key: it will not open the repository any more.\n\n\
                      The last key is not removed. Whoever has opened the repository with the key before may have kept the \
                      secrets that it gave: `bygone key rotate` keeps him from reading what is stored from then on.")]
    Remove(KeyRemove),
    /// Seal everything that is new under new keys, which removed keys do not open
    #[command(long_about = "Seal everything that is new under new keys, which removed keys do not open.\n\n\
                      The passphrases and key files stay as they are: what changes are the keys that they lead to, a new generation of \
                      them. Every key that is there opens it. A stolen key is to be removed first: whoever has kept what it gave \
                      still reads what was stored before, and nothing that is stored from then on. What was stored before is not sealed anew: it stays under \
                      the generation that it has, which all keys that are there open too, until retention releases it.\n\n\
                      Other hosts learn of it by themselves: when they open the repository next, and within some minutes where they go on. Copies at other \
                      sites have the new keys from the next `bygone replicate` on.\n\n\
                      When it is interrupted, either the old generation or the new one is in force; it can always be run again.")]
    Rotate,
    /// List the keys
    List,
    /// Make a key for paper and print it as a page
    #[command(long_about = "Make a key for paper and print it as a page.\n\n\
                      The page is plain text: what it is, the key in rows of groups that each check themselves, and how to \
                      use it. The key can be typed where a passphrase is asked for.")]
    Export(KeyExport),
}

/// `bygone key add`.
#[derive(Debug, Args)]
pub struct KeyAdd {
    /// What will open the repository; asked for at the terminal if not given.
    #[command(flatten)]
    pub key: KeySource,
    /// What its holder may do: admin, everything; reader, read content; writer, capture and not read content; auditor, check
    /// and see no content
    #[arg(long, value_name = "ROLE", default_value_t)]
    pub role: Role,
    /// What the key is called in `bygone key list`
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub label: String,
}

/// `bygone key remove`.
#[derive(Debug, Args)]
pub struct KeyRemove {
    /// The key's id, or its beginning, as `bygone key list` shows it
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `bygone key export`.
#[derive(Debug, Args)]
pub struct KeyExport {
    /// Write the page to this new file, with mode 0600, and not to the standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// What its holder may do: admin, reader, writer or auditor
    #[arg(long, value_name = "ROLE", default_value_t)]
    pub role: Role,
    /// What the key is called in `bygone key list`
    #[arg(long, value_name = "TEXT", default_value = "paper")]
    pub label: String,
}

/// `bygone source`.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Protect directories
    #[command(long_about = "Protect directories, by adding them to the settings. Comments there stay as they are.\n\n\
                      A pattern has gitignore syntax and is relative to the directory. What --exclude matches is left out; \
                      --include makes exceptions from that, and restricts nothing by itself. Nothing below a directory that \
                      is left out can be taken back: exclude \"/cache/*\" and include \"/cache/keep\".")]
    Add(SourceAdd),
    /// Protect directories no longer; their history stays
    Remove(SourceRemove),
    /// List what is protected
    List,
}

/// `bygone source add`.
#[derive(Debug, Args)]
pub struct SourceAdd {
    /// The directories
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub paths: Vec<PathBuf>,
    /// Leave out what matches; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Keep what matches although an --exclude matches too; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Leave out other file systems mounted below
    #[arg(long)]
    pub one_file_system: bool,
    /// Capture directories with a CACHEDIR.TAG too
    #[arg(long)]
    pub ignore_cachedir_tag: bool,
}

/// `bygone source remove`.
#[derive(Debug, Args)]
pub struct SourceRemove {
    /// The directories
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub paths: Vec<PathBuf>,
}

/// `bygone config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the settings and name everything wrong with them
    #[command(long_about = "Check the settings and name everything wrong with them.\n\n\
                      Values that cannot be, sources, patterns, keys and directories are all named together. A file that is no \
                      TOML, or has a setting that is not known or of another type, cannot be read further: the first such error \
                      is named, one at a time.")]
    Check,
}
