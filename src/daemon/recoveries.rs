//! Directories that were being given back when the machine or their process ended, brought back when the service begins: each by the
//! command that goes on with it, in a process of its own.

use crate::config::model::Config;
use crate::daemon::{error::Trouble, shared::Current, task::Task, tasks::Planned};
use crate::recover::state::{self, Phase, State};
use crate::sys::child::{Order, Running};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often it is looked how they stand.
const LOOK: Duration = Duration::from_millis(200);
/// One that failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// The task that goes on with those that are unfinished now; none where there are none. Others begin later and are not its business.
pub(super) fn planned(current: &Current, place: &str) -> Option<Planned> {
    let left = match unfinished(current) {
        Ok(left) => left,
        Err(e) => {
            tracing::error!("cannot tell which directories were being given back: {e}");
            return None;
        }
    };
    if left.is_empty() {
        return None;
    }
    let current = current.clone();
    Some(Planned {
        name: "recoveries".to_owned(),
        print: place.to_owned(),
        source: None,
        mount: None,
        body: Arc::new(move |task| go_on(task, &current)),
    })
}

fn unfinished(current: &Current) -> Result<Vec<State>, Trouble> {
    let noted = state::noted(current.at.dir())?;
    for broken in &noted.broken {
        tracing::error!(
            "what is noted of a directory that was to be given back can't be read, and is left: {}; `bygone recover --status` tells more",
            broken.why
        );
    }
    let mut left = noted.states;
    left.retain(|state| state.phase != Phase::Abandoned);
    Ok(left)
}

/// One that is gone on with.
struct Resumed {
    state: State,
    running: Option<Running>,
    /// When it failed last.
    failed: Option<Instant>,
}

fn go_on(task: &Task, current: &Current) -> Result<(), Trouble> {
    let mut all: Vec<Resumed> =
        unfinished(current)?.into_iter().map(|state| Resumed { state, running: None, failed: None }).collect();
    while !task.is_stopped() {
        for one in &mut all {
            look(task, &current.config, one)?;
        }
        task.note(Some(match all.iter().filter(|one| one.running.is_some()).count() {
            0 => "nothing is left to go on with".to_owned(),
            n => format!("{n} director(y/ies) are being given back"),
        }));
        task.pulse.beat();
        std::thread::sleep(LOOK);
    }
    // Each is asked to end, and what was written is kept.
    for running in all.into_iter().filter_map(|one| one.running) {
        running.wait(&task.stop)?;
    }
    Ok(())
}

fn look(task: &Task, config: &Config, one: &mut Resumed) -> Result<(), Trouble> {
    let path = one.state.path();
    if let Some(mut running) = one.running.take() {
        if running.look()?.is_none() {
            one.running = Some(running);
            return Ok(());
        }
        let ended = running.wait(&task.stop)?;
        if !ended.is_good() && !task.is_stopped() {
            tracing::error!("giving {} back: {}; tried again in {} s", path.display(), ended.why(), AGAIN.as_secs());
            one.failed = Some(Instant::now());
        }
        return Ok(());
    }
    if one.failed.is_some_and(|at| at.elapsed() < AGAIN) {
        return Ok(());
    }
    let now = state::load(&one.state.work_dir())?.filter(|state| state.phase != Phase::Abandoned);
    // Over, or somebody else goes on with it.
    let Some(now) = now else { return Ok(()) };
    if now.worker()?.is_none() {
        tracing::info!("going on with giving {} back, as of {}", path.display(), now.as_of);
        let order = Order::new(std::env::current_exe()?).arg_path("--config", &config.path);
        let order = order.args(["--quiet", "recover", "--foreground"]).arg_path("--resume", &path);
        one.running = Some(order.start()?);
    }
    Ok(())
}
