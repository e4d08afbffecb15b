//! A place takes over: its promotion, and the state of this host that goes with it.

use super::error::DrError;
use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::replicate::run::{self, Site};
use crate::repo::{
    attach::{self, Attached, state_dir_of},
    names::Epoch,
    open::Repository,
    promotion::{self, Named, Promotion, Side, Standing},
    replay,
};
use crate::sys::{clock, durable};
use crate::types::ids::Id;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Who promotes, and what.
#[derive(Clone, Debug)]
pub struct Taking {
    /// This host.
    pub host: String,
    /// What its settings call the place that takes over.
    pub site: String,
    /// Where it is.
    pub location: String,
    /// Where the one is that it follows.
    pub before: String,
}

impl Taking {
    fn promotion(&self, reader: &Reader) -> Result<Promotion, DrError> {
        let mut heads = BTreeMap::new();
        for source in reader.sources()? {
            heads.insert(source.id.to_string(), reader.head(source.num)?.number.0);
        }
        let Taking { host, site, location, before } = self.clone();
        Ok(Promotion { version: 1, time_ns: clock::now().0, host, site, location, before, heads })
    }
}

/// Promotes a copy, of which `reader` is the index: from here on it goes on. The place that it follows is not asked; what is known of
/// its promotions is `known`. Gives the number of the promotion.
pub fn promote(copy: &Repository, reader: &Reader, known: &[Standing], by: &Taking) -> Result<u32, DrError> {
    let own = promotion::standing(copy.store())?;
    let epoch = promotion::next(known.iter().chain([&own]))?;
    let number = epoch.number();
    promotion::put(copy, &Named { epoch, side: Side::Here }, &by.promotion(reader)?)?;
    copy.store().settle()?;
    Ok(number)
}

/// Hands over to a site that can be reached: all there is goes to it, then writers here stop, then what they wrote meanwhile goes, then it
/// is promoted. One that was interrupted is gone on with. Gives the number of the promotion, and the objects and bytes that went.
pub fn hand_over(
    at: &Attached,
    site: &Site<'_>,
    by: &Taking,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<(u32, u64, u64), DrError> {
    let (mut objects, mut bytes) = (0, 0);
    let mut bring = || -> Result<(), DrError> {
        let replayed = replay::catch_up(at, progress)?;
        let all = run::replicate(at, site, &replayed, progress, stop)?;
        (objects, bytes) = (objects + all.done.copied, bytes + all.done.bytes);
        match all.is_whole() {
            true => Ok(()),
            false => Err(DrError::NotWhole(run::why_not(&all).unwrap_or_else(|| "not all was copied".to_owned()))),
        }
    };
    bring()?;
    let away = Named { epoch: begun(at, site, by)?, side: Side::Away };
    let promotion = by.promotion(&at.reader()?)?;
    promotion::put(at.repo(), &away, &promotion)?;
    at.repo().store().settle()?;
    if let Err(e) = bring() {
        // Nobody has been promoted by it: this place goes on.
        at.repo().store().delete(&away.name())?;
        return Err(e);
    }
    let here = Named { side: Side::Here, ..away };
    promotion::put(&site.copy, &here, &promotion)?;
    site.copy.store().settle()?;
    Ok((here.epoch.number(), objects, bytes))
}

/// The epoch of the promotion: the one of a hand-over to this site that was interrupted, else a new one.
fn begun(at: &Attached, site: &Site<'_>, by: &Taking) -> Result<Epoch, DrError> {
    let (own, theirs) = (promotion::standing(at.repo().store())?, promotion::standing(site.copy.store())?);
    if let Some(named) = interrupted(at.repo(), &own, &theirs, &by.location)? {
        return Ok(named.epoch);
    }
    Ok(promotion::next([&own, &theirs].into_iter())?)
}

/// The promotion of a hand-over to the place at `location` that was begun here and not ended there.
pub fn interrupted(
    repo: &Repository,
    own: &Standing,
    theirs: &Standing,
    location: &str,
) -> Result<Option<Named>, DrError> {
    let Some(named) = own.named().filter(|_| own.is_fenced() && own.last() > theirs.last()) else { return Ok(None) };
    let said = promotion::read(repo, &named)?;
    Ok((said.location == location).then_some(named))
}

/// Where the state of this host goes that was the one of the place before, when the promotion of this number is followed.
pub fn aside(state: &Path, repository: Id, number: u32) -> PathBuf {
    let name = format!("{repository}.before-{number}");
    state.join(name)
}

/// Makes the state that this host had of the copy at a site, below `of_site`, the one of its repository, below `state`. What was there is
/// put aside: its index knows what the place before had. Done once a promotion; again, it changes nothing.
pub fn move_state((state, of_site): (&Path, &Path), repository: Id, number: u32) -> Result<(), DrError> {
    let (old, aside) = (state_dir_of(state, repository), aside(state, repository, number));
    let new = state_dir_of(of_site, repository);
    if !aside.exists() {
        check_unused(state, repository)?;
        // Also where there is nothing: it says that this was done.
        durable::create_dirs(&old, 0o700)?;
        durable::rename(&old, &aside)?;
    }
    if !old.exists() {
        durable::rename(&new, &old)?;
    }
    Ok(())
}

/// Fails where a process uses the index of this host.
pub fn check_unused(state: &Path, repository: Id) -> Result<(), DrError> {
    let dir = state_dir_of(state, repository);
    if !dir.exists() {
        return Ok(());
    }
    match attach::is_unused(state, repository)? {
        true => Ok(()),
        false => Err(DrError::InUse { dir }),
    }
}
