//! New settings: all of them, or none.

use crate::config::{check, model::Config};
use crate::daemon::{
    host::Host,
    shared::{Current, Shared},
    trail::Trail,
};
use crate::repo::attach::Attached;
use std::sync::Arc;

/// Loads new settings and whatever they need, without a change to what runs. The error is a text for people.
pub(super) fn load(shared: &Shared) -> Result<Current, String> {
    let old = shared.current();
    let new = shared.host.load()?;
    allowed(&old.config, &new)?;
    sound(&new, Some(&old.config))?;
    let same =
        (&new.repository, &new.key, &new.remote) == (&old.config.repository, &old.config.key, &old.config.remote);
    let (at, trail) = if same { (old.at, old.trail) } else { opened(&*shared.host, &new)? };
    look_for(&new);
    shared.host.note_policy(&new, &at, trail.audit());
    Ok(Current { config: Arc::new(new), at, trail })
}

/// Opens what the first settings name.
pub(super) fn first(host: &dyn Host, config: Config) -> Result<Current, String> {
    sound(&config, None)?;
    let (at, trail) = opened(host, &config)?;
    look_for(&config);
    host.note_policy(&config, &at, trail.audit());
    Ok(Current { config: Arc::new(config), at, trail })
}

fn opened(host: &dyn Host, config: &Config) -> Result<(Arc<Attached>, Arc<Trail>), String> {
    let at = host.open(config)?;
    let audit = host.audit(config, &at)?;
    Ok((at, Arc::new(Trail::new(audit))))
}

/// Tells of names that nobody has.
fn look_for(config: &Config) {
    check::unknown_names(config).iter().for_each(|unknown| tracing::warn!("{}", unknown.what));
}

/// What a service that runs can't change: the places by which it is found.
fn allowed(old: &Config, new: &Config) -> Result<(), String> {
    if old.exists() != new.exists() && !new.exists() {
        return Err(format!("{} is not there any more; put it back, or stop the service", new.path.display()));
    }
    for (what, is_same) in [("state", old.state == new.state), ("[daemon] socket", old.socket == new.socket)] {
        if !is_same {
            let path = new.path.display();
            return Err(format!("{path}: {what} can't be changed while the service runs: restart it"));
        }
    }
    Ok(())
}

/// Refuses what can't be right. Trouble that there was before, such as a disk that is not mounted, refuses nothing: a task
/// says it, and tries again.
fn sound(new: &Config, old: Option<&Config>) -> Result<(), String> {
    let before = old.map(check::check).unwrap_or_default();
    let mut problems: Vec<_> = match old {
        Some(_) => check::check(new),
        None => {
            [check::overlaps(&new.sources), check::names(&new.sources), check::own(new), check::mount(new)].concat()
        }
    };
    problems.retain(|problem| !before.iter().any(|known| known.what == problem.what));
    let lines: Vec<String> = problems.iter().map(|p| format!("{}: {}; to do: {}", p.place, p.what, p.cure)).collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}
