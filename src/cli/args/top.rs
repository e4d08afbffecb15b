//! The command itself, the options that every command has, and the list of commands.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::{
    disaster, dr, drill, evidence, history, kit, plan, recovery, repair, restore, retention, schedule, service, setup,
    sites, upkeep, wal, watched,
};

/// `bygone`.
#[derive(Debug, Parser)]
#[command(
    name = "bygone",
    version,
    about = "Every moment of your files is a folder",
    long_about = "bygone watches directories, captures each change within seconds into an encrypted, deduplicated \
                  repository, and mounts any past instant as a read-only tree.\n\n\
                  Begin with `bygone protect DIRECTORY --mount DIRECTORY`, which does everything in one go.",
    after_long_help = AFTER,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Exit status: 0, done; 1, failed; 2, the command line is wrong; 3, done in part: something could not be read, and was named.

Without --config, settings are in /etc/bygone/bygone.toml for root, and in $XDG_CONFIG_HOME/bygone/bygone.toml for others. \
The variable BYGONE_LOG sets what is logged, such as bygone::capture=debug, and goes before -v and -q.";

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Read the settings from this file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Use this repository, and not the one of the settings
    #[arg(long, global = true, value_name = "DIR|s3://BUCKET/PREFIX", value_hint = ValueHint::DirPath)]
    pub repo: Option<PathBuf>,
    /// Print JSON, one value a line; errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more: -v what is done, -vv how, -vvv every step
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Print and log nothing but errors and what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// The form of log lines
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Protect directories from now on: make what is missing, capture, mount and watch
    #[command(long_about = setup::PROTECT)]
    Protect(setup::Protect),
    /// Make a repository and its first key
    #[command(long_about = setup::INIT)]
    Init(setup::Init),
    /// Add, remove, list or export the keys of a repository
    #[command(subcommand)]
    Key(setup::Key),
    /// Add, remove or list what is protected
    #[command(subcommand)]
    Source(setup::SourceCommand),
    /// Look at the settings
    #[command(subcommand)]
    Config(setup::ConfigCommand),
    /// Capture everything that has changed, once
    #[command(long_about = upkeep::SNAPSHOT)]
    Snapshot(upkeep::Snapshot),
    /// Capture changes as they happen, until interrupted
    #[command(long_about = upkeep::WATCH)]
    Watch(upkeep::Watch),
    /// Mount history: every instant is a folder
    #[command(long_about = upkeep::MOUNT)]
    Mount(upkeep::Mount),
    /// Unmount history
    Umount(upkeep::Umount),
    /// List snapshots
    List(history::List),
    /// List the versions of a file or directory
    #[command(long_about = history::LOG)]
    Log(history::Log),
    /// Show what changed between two times
    #[command(long_about = history::DIFF)]
    Diff(history::Diff),
    /// Find files by name, now or in the past
    #[command(long_about = history::FIND)]
    Find(history::Find),
    /// Print a file as it was
    Cat(history::Cat),
    /// Bring files back as they were
    #[command(long_about = restore::RESTORE)]
    Restore(Box<restore::Restore>),
    /// List or drop what restores have replaced and kept aside
    #[command(long_about = restore::ASIDE)]
    Aside(restore::Aside),
    /// Recover by a plan: check, show, run, resume
    #[command(subcommand)]
    Plan(plan::Plan),
    /// Give a directory back at once, as it was
    #[command(long_about = recovery::RECOVER)]
    Recover(recovery::Recover),
    /// Make the offline recovery kit
    #[command(long_about = kit::KIT)]
    Kit(kit::Kit),
    /// Rehearse recovery plans, and prove what comes back
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Rehearse a disaster on a repository made for it
    #[command(long_about = disaster::DISASTER)]
    Disaster(disaster::Disaster),
    /// Recover between sites: status, test, failover, failback
    #[command(subcommand)]
    Dr(dr::Dr),
    /// Show how long what is kept, and what would go
    #[command(subcommand)]
    Retention(retention::Retention),
    /// Keep what a legal case touches, whatever the policies say
    #[command(subcommand)]
    Hold(evidence::Hold),
    /// Show, check or hand over the record of who did what
    #[command(subcommand)]
    Audit(evidence::Audit),
    /// Report to those who ask whether backups are as they should be
    #[command(subcommand)]
    Report(evidence::Report),
    /// Release what the policies do not keep, and delete what nothing needs
    #[command(long_about = upkeep::MAINTAIN)]
    Maintain(upkeep::Maintain),
    /// Bring the copies at other sites up to date
    #[command(long_about = sites::REPLICATE)]
    Replicate(sites::Replicate),
    /// Show how the copies at other sites stand
    #[command(long_about = sites::SITES)]
    Sites(sites::Sites),
    /// Check the repository and name all damage
    #[command(long_about = upkeep::VERIFY)]
    Verify(upkeep::Verify),
    /// Keep what is whole, store anew what the disk still has, and name what is lost
    #[command(long_about = repair::REPAIR)]
    Repair(repair::Repair),
    /// Prove that a directory equals an instant, whatever put it there
    #[command(long_about = recovery::VERIFY_TREE)]
    VerifyTree(recovery::VerifyTree),
    /// Run the service: watch, run the schedules, mount
    #[command(long_about = service::DAEMON)]
    Daemon(service::Daemon),
    /// Make the service take new settings
    #[command(long_about = service::RELOAD)]
    Reload(service::Reload),
    /// Hold capture and schedules still
    #[command(long_about = service::PAUSE)]
    Pause(service::Pause),
    /// Let capture and schedules go on
    Resume(service::Resume),
    /// List the jobs of the service: when they ran, and run next
    Jobs(service::Jobs),
    /// Work on a job of the service
    #[command(subcommand)]
    Job(service::Job),
    /// Show what runs by itself, and when
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Take and give the WAL of a PostgreSQL server
    #[command(subcommand)]
    Wal(wal::Wal),
    /// Work on the index
    #[command(subcommand)]
    Index(upkeep::Index),
    /// Show how things stand
    #[command(long_about = upkeep::STATUS)]
    Status(upkeep::Status),
    /// Tell whether all is as it should be, for a monitor
    #[command(long_about = watched::HEALTH)]
    Health(watched::Health),
    /// Print metrics for Prometheus
    #[command(long_about = watched::METRICS)]
    Metrics(watched::Metrics),
    /// Try the channels of notifications
    #[command(subcommand)]
    Notify(watched::Notify),
    /// Print the completions of a shell
    Completions(upkeep::Completions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "bygone restore /x --at today --to /y",
            "bygone restore /x --at today --in-place --delete -n",
            "bygone find x --ever",
            "bygone mount /m --at 2d --inodes per-view --foreground",
            "bygone verify --read-data --subset 5%",
            "bygone init --passphrase --repo /r -vv",
            "bygone diff 2d latest",
        ] {
            assert!(parses(good), "{good}");
        }
        for wrong in [
            "bygone",
            "bygone restore /x --at today",
            "bygone restore /x --to /y",
            "bygone restore /x --at today --to /y --in-place",
            "bygone restore /x --at today --to /y --delete",
            "bygone find x --ever --deleted",
            "bygone verify --subset 5%",
            "bygone init --passphrase --key-file /k",
            "bygone status -v -q",
            "bygone protect",
        ] {
            assert!(!parses(wrong), "{wrong}");
        }
    }
}
