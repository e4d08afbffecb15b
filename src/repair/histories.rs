//! Histories: what the repository has lost of one and this host's index still has is written again, and what nobody has is given up, so
//! that what is whole before and behind it stays and capture goes on.

use crate::repair::{error::RepairError, ground::Ground};
use crate::repo::{
    absent,
    collect::{
        give_up::{self, Unreadable},
        sweep,
    },
    error::RepoError,
    names,
};
use crate::types::{ids::Snap, snapshot::Source};
use crate::verify::report::Report;

/// What became of a history with which something was wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// Its source.
    pub source: Source,
    /// What was done.
    pub deed: Deed,
}

/// What was done about a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It was written again from this host's index, up to this snapshot: nothing of it is lost.
    Rewritten(Snap),
    /// What nobody has was given up: a merged history has taken the place of the rest.
    GivenUp(Unreadable),
    /// It stays as it is, for this reason.
    Left(String),
}

/// Repairs the histories in whose journals a check has found something wrong. `decide` is asked before anything is given up, and says
/// whether it may be; in a trial nobody is asked, and what would be done is told.
pub fn repair(
    ground: Ground<'_>,
    report: &Report,
    decide: &mut dyn FnMut(&Source, &Unreadable) -> Result<bool, RepairError>,
) -> Result<Vec<History>, RepairError> {
    let objects: Vec<&str> = report.problems.iter().map(|problem| problem.object.as_str()).collect();
    let all = objects.contains(&names::JOURNAL);
    let is_wrong = |source: &Source| all || objects.iter().any(|o| o.starts_with(&names::journal(source.id)));
    let mut done = Vec::new();
    for source in ground.at.reader()?.sources()?.into_iter().filter(is_wrong) {
        if let Some(deed) = one(ground, &source, decide)? {
            done.push(History { source, deed });
        }
    }
    Ok(done)
}

fn one(
    ground: Ground<'_>,
    source: &Source,
    decide: &mut dyn FnMut(&Source, &Unreadable) -> Result<bool, RepairError>,
) -> Result<Option<Deed>, RepairError> {
    let at = ground.at;
    if absent::is_incomplete(at, source)? {
        if ground.trial {
            return Ok(Some(Deed::Rewritten(at.reader()?.head(source.num)?.number)));
        }
        return Ok(Some(match sweep::merge(at, source)? {
            Some(head) => {
                at.repo().store().settle().map_err(RepoError::from)?;
                Deed::Rewritten(head.upto.number)
            }
            None => Deed::Left(
                "this host's index still has it, but another writer's history rests on it, or its newest snapshots need what can't be \
                 read: take a snapshot of it, which will need none of that, and repair again"
                    .to_owned(),
            ),
        }));
    }
    let what = match give_up::unreadable(at, source, ground.progress) {
        Ok(what) if what.is_nothing() => return Ok(None),
        Ok(what) => what,
        Err(RepoError::NotGivenUp { why, .. }) => return Ok(Some(Deed::Left(why))),
        Err(e) => return Err(e.into()),
    };
    // Another host's own index may still have what is missing here.
    if !source.is_of(ground.host) {
        let why = format!(
            "it is a source of {}: run `bygone repair` there, whose index may have it; where that host is gone, `bygone maintain \
             --give-up` with --host lets it go",
            source.host
        );
        return Ok(Some(Deed::Left(why)));
    }
    if !ground.trial {
        if !decide(source, &what)? {
            let why = "what can't be read of it is given up only with --yes, or when it is answered so at a terminal";
            return Ok(Some(Deed::Left(why.to_owned())));
        }
        give_up::give_up(at, source)?;
    }
    Ok(Some(Deed::GivenUp(what)))
}
