//! Talking to a service that runs.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::outcome::{Explain as _, Failure};
use crate::config::places::SYSTEM_SOCKET;
use crate::daemon::client::{self, Reached};
use crate::daemon::protocol::{Answer, Ask, What};

/// Asks the service of these settings. What it tells on the way goes to `each`. [`Reached::Nobody`] where none runs for them.
///
/// Somebody without settings of their own speaks to whichever service there is.
pub fn ask(context: &Context, what: What, each: &mut dyn FnMut(Answer)) -> Result<Reached, Failure> {
    ask_one(context, (meant(context), context.repository_named.clone()), what, each)
}

/// As [`ask`], whatever settings the service has.
pub fn ask_any(context: &Context, what: What, each: &mut dyn FnMut(Answer)) -> Result<Reached, Failure> {
    ask_one(context, (None, None), what, each)
}

fn ask_one(
    context: &Context,
    (settings, repository): (Option<PathBuf>, Option<String>),
    what: What,
    each: &mut dyn FnMut(Answer),
) -> Result<Reached, Failure> {
    let ask = Ask { settings, repository, what };
    let own = context.config.socket.as_path();
    let system = Path::new(SYSTEM_SOCKET);
    for socket in [Some(own), Some(system).filter(|system| *system != own)].into_iter().flatten() {
        match client::ask(socket, &ask, each).into_failure()? {
            Reached::Nobody | Reached::Other => {}
            reached => return Ok(reached),
        }
    }
    Ok(Reached::Nobody)
}

fn meant(context: &Context) -> Option<PathBuf> {
    let path = &context.config.path;
    context.config.exists().then(|| path.canonicalize().unwrap_or_else(|_| path.clone()))
}

/// As [`ask`], where without a service nothing can be done. What was done, and whether all of it was.
pub fn must(context: &Context, what: What, each: &mut dyn FnMut(Answer)) -> Result<(String, bool), Failure> {
    match ended(ask(context, what, each)?)? {
        Some(done) => Ok(done),
        None => Err(Failure::new(format!("no service runs with the settings {}", context.config.path.display()))
            .hint("`bygone daemon` starts one; --config names other settings")),
    }
}

/// How it ended: none where nobody was reached.
pub fn ended(reached: Reached) -> Result<Option<(String, bool)>, Failure> {
    match reached {
        Reached::Nobody | Reached::Other => Ok(None),
        Reached::Done { what, whole } => Ok(Some((what, whole))),
        Reached::Refused { why, .. } | Reached::Failed { why } => Err(Failure::new(why)),
    }
}
