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
    let mut other = Reached::Nobody;
    for socket in [Some(own), Some(system).filter(|system| *system != own)].into_iter().flatten() {
        match client::ask(socket, &ask, each).into_failure()? {
            Reached::Nobody => {}
            // That the system has a service says nothing to somebody with settings and a socket of their own.
            reached @ Reached::Other { .. } if socket == own => other = reached,
            Reached::Other { .. } => {}
            reached => return Ok(reached),
        }
    }
    Ok(other)
}

/// What a service that runs for other settings is, where it holds the place of these settings: with what file, where, and by which
/// process, if it tells.
pub fn other(context: &Context, settings: &Path) -> String {
    let (own, mut told) = (&context.config.socket, None);
    let ask = Ask { settings: None, repository: None, what: What::Jobs };
    // Whoever may not see it is told the rest.
    let _refused = client::ask(own, &ask, &mut |answer| told = Some(answer));
    let process = match told {
        Some(Answer::Standing { service, .. }) => format!(" (process {})", service.pid),
        _ => String::new(),
    };
    let (its, own) = (settings.display(), own.display());
    match meant(context).is_none_or(|path| path == settings.canonicalize().unwrap_or_else(|_| settings.to_owned())) {
        true => format!("a service runs with {its} at {own}{process}, and for another repository than --repo names"),
        false => format!(
            "a service runs with {its} at {own}{process}, which is not the file of these settings, {}",
            context.config.path.display()
        ),
    }
}

fn meant(context: &Context) -> Option<PathBuf> {
    let path = &context.config.path;
    context.config.exists().then(|| path.canonicalize().unwrap_or_else(|_| path.clone()))
}

/// As [`ask`], where without a service nothing can be done. What was done, and whether all of it was.
///
/// That nobody answers at the place that a broken file names says less than what is wrong with the file.
pub fn must(context: &Context, what: What, each: &mut dyn FnMut(Answer)) -> Result<(String, bool), Failure> {
    let reached = ask(context, what, each)?;
    let is_found = !matches!(reached, Reached::Nobody | Reached::Other { .. });
    if let Some(broken) = context.broken.as_ref().filter(|_| !is_found) {
        return Err(broken.clone());
    }
    if let Reached::Other { settings } = &reached {
        let hint = format!("`--config {}` speaks to it", settings.display());
        return Err(Failure::new(other(context, settings)).hint(hint));
    }
    match ended(reached)? {
        Some(done) => Ok(done),
        None => Err(Failure::new(format!("no service runs with the settings {}", context.config.path.display()))
            .hint("`bygone daemon` starts one; --config names other settings")),
    }
}

/// How it ended: none where nobody was reached.
pub fn ended(reached: Reached) -> Result<Option<(String, bool)>, Failure> {
    match reached {
        Reached::Nobody | Reached::Other { .. } => Ok(None),
        Reached::Done { what, whole } => Ok(Some((what, whole))),
        Reached::Refused { why, .. } | Reached::Failed { why } => Err(Failure::new(why)),
    }
}
