//! Why a text is no schedule or no blackout window.

/// Schedules as they may be written, for messages and help.
pub const FORMS: &str = "\"daily 02:30\", \"mon..fri hourly\", \"mon,wed 18:00\", \"last sun monthly 03:00\", \
    \"every 15m\" or \"30 2 * * *\"";

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no schedule: {why}; write one like {FORMS}")]
pub struct ScheduleError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Why a text is no blackout window, or windows leave no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlackoutError {
    /// The text is none.
    #[error(
        "{text:?} is no blackout window: {why}; write one like \"22:00-06:00\", \"sat..sun\" or \"mon..fri 08:00-18:00\""
    )]
    Window {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Together they are the whole week.
    #[error("the blackout windows leave no minute of the week in which anything could run; make one of them shorter")]
    NoTime,
}
