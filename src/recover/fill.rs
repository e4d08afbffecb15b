//! Filling the plain directory behind the overlay, from the view, which nobody can change.

use crate::progress::Progress;
use crate::recover::{
    error::{RecoverError, io},
    layers::{self, Places},
    state::State,
};
use crate::repo::attach::Attached;
use crate::restore::{
    act,
    error::RestoreError,
    mapping::Mapping,
    plan::{Plan, Request, Target},
};
use crate::sys::{clear, dir};
use crate::types::path;
use std::sync::atomic::AtomicBool;

/// How many problems are kept in the state.
const PROBLEMS_MAX: usize = 100;

/// What became of it.
pub(super) enum Filled {
    /// All of it is there and on the disk, but for what is named: paths whose content could not be read, then attributes.
    Whole {
        /// Not restored.
        missing: Vec<String>,
        /// Restored, without an attribute.
        attributes: Vec<String>,
    },
    /// It was told to stop.
    Stopped,
}

/// Fills it, or goes on with filling it: what is there already is kept.
pub(super) fn fill(
    at: &Attached,
    host: &str,
    state: &State,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Filled, RecoverError> {
    let failed = |source: RestoreError| RecoverError::Fill {
        path: path::show(std::os::unix::ffi::OsStrExt::as_bytes(state.path().as_os_str())),
        source: Box::new(source),
    };
    let index = at.reader()?;
    let view = layers::view(at, &index, host, state)?;
    let fill = Places::of(state).fill();
    dir::open(&fill).and_then(|fd| clear::unfinished(&fd)).map_err(io("clear what is unfinished in", &fill))?;
    let paths = [state.from()];
    let request = Request {
        view: &view,
        paths: &paths,
        target: Target::To(fill),
        mapping: &Mapping::default(),
        guarded: &[],
        spared: &|_, _| false,
        newest: None,
    };
    let plan = Plan::make(&index, &request).map_err(failed)?;
    let report = act::act(at, plan, progress, stop).map_err(failed)?;
    if report.stopped {
        return Ok(Filled::Stopped);
    }
    let (mut missing, mut attributes) = (Vec::new(), Vec::new());
    for problem in &report.problems {
        let list = if problem.why.is_attribute() { &mut attributes } else { &mut missing };
        let text = format!("{}: {}", path::show(&problem.path), problem.why);
        tracing::error!("{text}");
        if list.len() < PROBLEMS_MAX {
            list.push(text);
        }
    }
    Ok(Filled::Whole { missing, attributes })
}
