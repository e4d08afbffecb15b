//! What collection states, legal holds and the audit trail.

use crate::repo::{
    attach::Attached,
    audit::{self, check::Trail, error::AuditError, witness},
    collect::{
        attend, locks, losses,
        statement::{self, Named},
    },
    error::RepoError,
    holding,
    holds::{error::HoldsError, force},
    names::{self, COLLECTION, HOLDING, HOLDS},
};
use crate::verify::report::Report;

/// What a problem of the audit trail is a problem of.
pub(super) const TRAIL: &str = "audit trail";

/// Checks them all.
pub(super) fn check(at: &Attached, report: &mut Report) -> Result<(), RepoError> {
    collection(at, report)?;
    held(at, report)?;
    holds(at, report)?;
    trail(at, report)
}

fn collection(at: &Attached, report: &mut Report) -> Result<(), RepoError> {
    let repo = at.repo();
    let objects = repo.store().list(COLLECTION)?;
    for object in &objects {
        let read = match Named::parse(&object.name) {
            None => {
                report.strangers.push(object.name.clone());
                continue;
            }
            Some(Named::Statement(epoch)) => statement::read(repo, &epoch).map(drop),
            Some(Named::Lost(_)) => losses::read(repo, &object.name).map(drop),
            Some(_) => statement::read_note(repo, &object.name).map(drop),
        };
        match read {
            Ok(()) => {}
            // It was taken the place of in this moment.
            Err(RepoError::Store(e)) if e.is_missing() => {}
            Err(e) => {
                report
                    .problem(&object.name, "object", e.why_of(&object.name, "object"))
                    .lost("nothing of any history; what it stated about collection")
                    .advise(
                        "put back a good copy of the object: until then nothing is collected. Without one, remove it while nothing \
                         else uses the repository: what it marks is marked again",
                    );
            }
        }
    }
    match locks::locks(repo, at.dir()) {
        Ok(_) => {}
        // One that can't be read was named.
        Err(RepoError::Damaged { object, .. }) if objects.iter().any(|o| o.name == object) => {}
        Err(RepoError::Damaged { object, why, .. }) => {
            let to_do = "put back a good copy of the object from another copy of the repository; nothing is released until then";
            report.problem(&object, "lock", why).lost("for how long instants are locked").advise(to_do);
        }
        Err(e) => return Err(e),
    }
    if let Some(name) = attend::known(at)?.filter(|name| !objects.iter().any(|o| o.name == *name)) {
        report
            .problem(&name, "object", "it is missing: a collection would not wait for this host")
            .lost("nothing")
            .advise("take a snapshot: it makes the host known again");
    }
    Ok(())
}

/// What a copy says that it holds.
fn held(at: &Attached, report: &mut Report) -> Result<(), RepoError> {
    let (object, why) = match holding::held(at.repo()) {
        Ok(_) => return Ok(()),
        Err(RepoError::Damaged { object, why, .. }) => (object, why.to_string()),
        Err(e) if e.is_damage() => (HOLDING.to_owned(), e.to_string()),
        Err(e) => return Err(e),
    };
    report
        .problem(&object, "statement", why)
        .lost("what this copy has; of other sources and packs it is told that they are missing")
        .advise("remove it and replicate to this site again: that states it anew");
    Ok(())
}

fn holds(at: &Attached, report: &mut Report) -> Result<(), RepoError> {
    const TO_DO: &str =
        "put back a good copy of the object from another copy of the repository; nothing is collected until then";
    let (object, why) = match force::cases(at.repo(), at.dir()) {
        Ok(_) => return Ok(()),
        Err(HoldsError::Unreadable { object, why }) => {
            let why = why.why_of(&object, "legal hold");
            (object, why)
        }
        Err(HoldsError::Gone { object }) => (object, "it is missing".to_owned()),
        Err(HoldsError::Store(e)) => return Err(e.into()),
        Err(e) => (HOLDS.to_owned(), e.to_string()),
    };
    report.problem(&object, "legal hold", why).lost("what a legal hold says").advise(TO_DO);
    Ok(())
}

fn trail(at: &Attached, report: &mut Report) -> Result<(), RepoError> {
    let trail = match audit::check::check(at.repo(), at.dir()) {
        Ok(trail) => trail,
        Err(AuditError::Repo(e)) => return Err(e),
        Err(e) => {
            report.problem(names::AUDIT, TRAIL, e.to_string());
            return Ok(());
        }
    };
    for problem in &trail.problems {
        report
            .problem(&problem.object, TRAIL, &problem.what)
            .lost("what the entry told")
            .advise("`bygone audit verify` says when it was written; put back a good copy of the object");
    }
    named_snapshots(at, &trail, report)
}

/// What the trail names of the journals.
fn named_snapshots(at: &Attached, trail: &Trail, report: &mut Report) -> Result<(), RepoError> {
    let missing = match witness::missing_of(at, trail) {
        Ok(missing) => missing,
        Err(AuditError::Repo(e)) => return Err(e),
        Err(e) => {
            report.problem(names::AUDIT, TRAIL, e.to_string());
            return Ok(());
        }
    };
    for named in missing {
        report
            .problem(names::JOURNAL, "history", witness::why(&named))
            .lost("what was captured by then and by the snapshots behind it, as far as nothing else shows it")
            .advise(
                "put back the records from another copy of the repository, or run `bygone maintain` on a host whose index has seen \
                 them; where it is only this host's index that has seen another one, `bygone index rebuild`; without any of these, \
                 `bygone maintain --give-up SOURCE` lets them go",
            );
    }
    Ok(())
}
