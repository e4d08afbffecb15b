//! The description and the key slots.

use crate::crypto::{keys::Sealing, slots};
use crate::repo::{
    authentic,
    error::RepoError,
    names,
    open::{self, Repository},
};
use crate::types::{
    ids::{Generation, Id},
    path,
};
use crate::verify::report::Report;

/// The longest slot that is read.
const SLOT_MAX: u64 = 64 << 10;

/// Checks what is stored in the open.
pub(super) fn check(repo: &Repository, report: &mut Report) -> Result<(), RepoError> {
    if let Err(e) = open::check_description(repo) {
        report
            .problem(names::REPOSITORY, "description", e.why_of(names::REPOSITORY, "description"))
            .lost("the repository can't be opened any more once this process ends")
            .advise("put back a good copy of bygone.toml, from another copy of the repository");
    }
    for object in repo.store().list(names::KEYS)? {
        if let Some(generation) = names::parse_generation(&object.name) {
            check_generation(repo, generation, report);
            continue;
        }
        let Some(id) = object.name.strip_prefix(names::KEYS).and_then(Id::parse) else {
            report.strangers.push(object.name);
            continue;
        };
        report.slots += 1;
        let read = repo.store().get(&object.name, SLOT_MAX).map_err(|e| e.why_of(&object.name));
        let described = read.and_then(|bytes| {
            let info = slots::describe_slot(&bytes).map_err(|e| e.to_string())?;
            let genuine = slots::is_genuine(&bytes, repo.keys(), repo.id()).map_err(|e| e.to_string())?;
            Ok((info, genuine != Some(false)))
        });
        let why = match described {
            Ok((info, true)) if info.id == id => continue,
            Ok((info, false)) if info.id == id => "no admin of this repository has made it as it is".to_owned(),
            Ok((info, _)) => format!("it holds the slot {}, {}", info.id, path::show(info.label.as_bytes())),
            Err(e) => e,
        };
        report
            .problem(&object.name, "slot", why)
            .lost("whoever has only the key or passphrase of this slot can't open the repository")
            .advise("put back a good copy of the slot, or remove it and add the key again: `bygone key remove`, `bygone key add`");
    }
    if report.slots == 0 {
        report
            .problem(names::KEYS, "slots", "there are none")
            .lost("nobody can open the repository any more")
            .advise("put back the key slots from another copy of the repository before this process ends");
    }
    Ok(())
}

/// That it is what was stored, and that the key in use opens it.
fn check_generation(repo: &Repository, generation: Generation, report: &mut Report) {
    let name = names::generation(generation);
    let read = authentic::read(repo, &name).map_err(|e| e.why_of(&name, "generation"));
    let opened = read.and_then(|_| match repo.keys().sealing() {
        Sealing::Apart => repo.keys().check_generation(generation).map_err(|e| e.to_string()),
        Sealing::One => Err("a repository from before roles has none".to_owned()),
    });
    if let Err(why) = opened {
        report
            .problem(&name, "generation", why)
            .lost("what was stored under this generation of the keys, to those who have no later key")
            .advise(
                "put back a good copy of it from another copy of the repository; where only this key does not open it, add the key again: \
                 `bygone key remove`, `bygone key add`",
            );
    }
}
