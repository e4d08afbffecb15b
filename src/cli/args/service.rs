//! The service and talking to it: daemon, reload, pause, resume, jobs, job.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::types::duration::parse_duration;

/// Its description.
pub(super) const DAEMON: &str = "\
Run the service in the foreground: watch all sources, run the schedules, bring on what waits to be stored, and mount the \
history where [mount] says `at`, until it is ended by SIGTERM or SIGINT.\n\n\
SIGHUP and `bygone reload` give it new settings: all of them, or none if something in them is wrong. Whatever fails is begun \
again after a pause, and does not touch the rest. It speaks to systemd as a service of Type=notify, with a watchdog.";

/// `bygone daemon`.
#[derive(Debug, Args)]
pub struct Daemon {}

/// Its description.
pub(super) const RELOAD: &str = "\
Make the service take new settings: all of them, or none.\n\n\
Where something in the file is wrong, it is named with line, column and cure, the old settings go on to hold, and `bygone status` \
shows it. What the new settings do not change is not disturbed.";

/// `bygone reload`.
#[derive(Debug, Args)]
pub struct Reload {}

/// Its description.
pub(super) const PAUSE: &str = "\
Hold capture and schedules still, for a time or until `bygone resume`; over a restart too.\n\n\
Watching goes on: what changed is captured afterwards. What happened in between is not known, and that time is recorded as a gap \
where something happened. What runs already is finished, and `bygone snapshot` still takes a snapshot.";

/// `bygone pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// For how long, such as 2h or 30m; until `bygone resume` if it is not given
    #[arg(value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
}

/// `bygone resume`.
#[derive(Debug, Args)]
pub struct Resume {}

/// `bygone jobs`.
#[derive(Debug, Args)]
pub struct Jobs {}

/// `bygone job`.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// End a job that runs; it is not tried again before its next time
    Cancel(JobCancel),
}

/// `bygone job cancel`.
#[derive(Debug, Args)]
pub struct JobCancel {
    /// Its name, as `bygone jobs` has it; or a source by its name or path: all that runs for it
    #[arg(value_name = "NAME")]
    pub name: String,
}
