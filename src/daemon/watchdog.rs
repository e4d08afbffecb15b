//! Tells the supervisor of the process that it goes on, as long as all of it does.

use crate::daemon::shared::Shared;
use crate::sys::service::Notify;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// So long something may be at one step without coming on: reading a file from a disk that is slow, or a request to a store.
const STUCK: Duration = Duration::from_secs(900);
/// The main loop has no such steps.
const LOOP_STUCK: Duration = Duration::from_secs(120);

/// Tells, twice in each period, until the service ends.
pub(super) async fn run(shared: Arc<Shared>, notify: Arc<Notify>) {
    let Some(period) = notify.watchdog() else { return };
    let mut told: Option<Instant> = None;
    loop {
        match stuck(&shared) {
            None => notify.send(&["WATCHDOG=1"]),
            Some(what) if told.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) => {
                tracing::error!("{what} does not come on: the watchdog is not told any more that all is well");
                told = Some(Instant::now());
            }
            Some(_) => {}
        }
        tokio::time::sleep(period / 2).await;
    }
}

/// What does not come on.
fn stuck(shared: &Shared) -> Option<String> {
    if shared.main_pulse.silent() > LOOP_STUCK {
        return Some("the main loop".to_owned());
    }
    let tasks = shared.tasks();
    if let Some(task) = tasks.iter().find(|task| task.pulse.silent() > STUCK) {
        return Some(task.name.clone());
    }
    shared.works.all().iter().find(|work| work.pulse.silent() > STUCK).map(|work| work.name.clone())
}
