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
    let tasks = shared.tasks();
    let works = shared.works.all();
    let tasks = tasks.iter().map(|task| (task.name.as_str(), task.pulse.silent()));
    let works = works.iter().map(|work| (work.name.as_str(), work.pulse.silent()));
    silent_for_too_long(shared.main_pulse.silent(), tasks.chain(works)).map(str::to_owned)
}

/// Of the main loop and what else runs, each with how long it has been silent, the first that has been for too long.
fn silent_for_too_long<'a>(main: Duration, mut others: impl Iterator<Item = (&'a str, Duration)>) -> Option<&'a str> {
    match main > LOOP_STUCK {
        true => Some("the main loop"),
        false => others.find(|(_, silent)| *silent > STUCK).map(|(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_come_on_is_enough() {
        let look = |main: u64, others: &[(&'static str, u64)]| {
            let others: Vec<_> = others.iter().map(|(name, s)| (*name, Duration::from_secs(*s))).collect();
            silent_for_too_long(Duration::from_secs(main), others.into_iter())
        };
        assert_eq!(look(1, &[("watch /a", 300), ("upload", 0)]), None);
        assert_eq!(look(121, &[("watch /a", 0)]), Some("the main loop"));
        assert_eq!(look(1, &[("watch /a", 0), ("upload", 901), ("full /a", 902)]), Some("upload"));
    }
}
