//! What runs by itself: schedule.

use clap::{Args, Subcommand};

use super::times::TIMES;

const NEXT: &str = "\
Print the coming runs of all schedules, in their order: when each begins, which job it is, for which source, and why it begins \
then.\n\n\
The times are those of the settings: jitter is in them, and a run that falls into a blackout window is shown at its end. \
What happens meanwhile, such as a run that fails and is tried again, is not.";

/// `bygone schedule`.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Print the coming runs
    #[command(long_about = NEXT, after_long_help = TIMES)]
    Next(Next),
}

/// `bygone schedule next`.
#[derive(Debug, Args)]
pub struct Next {
    /// Print so many runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
    /// Print the runs after this time, and not after now
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
}
