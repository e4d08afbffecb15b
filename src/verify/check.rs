//! The check as a whole.

use crate::index::{apply::PATIENT, bad::FramePlace, error::IndexError, tree::Reader};
use crate::progress::{Progress, Total};
use crate::repo::{
    absent,
    attach::Attached,
    error::RepoError,
    names::{self, Merged},
    replay,
};
use crate::types::role::Need;
use crate::verify::{chains::Chains, data, files, journal, keys, others, packs, report::Report};
use std::sync::atomic::{AtomicBool, Ordering};

/// How often it is looked again at what is wrong, while others collect.
pub(super) const AGAIN: usize = 5;

/// How much to check.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Options {
    /// Read every frame and hash every chunk, and not the structure alone.
    pub read_data: bool,
    /// Of the frames, a random part of this many percent.
    pub subset_percent: Option<f64>,
    /// What chooses that part; the same number chooses the same part of the same frames.
    pub seed: u64,
}

/// Why a check could not be made. What it finds is in the report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store is out of reach.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Checks the repository against itself and against this host's index, which is up to date with the journal. Changes nothing of
/// either; what the index has of histories and the repository has not any more is noted on this host, for those who can mend it, and so
/// are frames that can't be read, which nothing is deduplicated against from then on.
pub fn verify(
    at: &Attached,
    options: &Options,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Report, VerifyError> {
    if options.read_data {
        at.repo().check(Need::Content)?;
    }
    let reader = at.reader()?;
    let (mut report, known) = settled(at, &reader, progress, stop)?;
    let mut bad = known.bad;
    let mut whole = Vec::new();
    if options.read_data && !stop.load(Ordering::Relaxed) {
        let chosen = data::choose(known.frames, options, &mut report);
        let bytes = chosen.iter().map(|f| u64::from(f.frame.sealed_len)).sum();
        progress.start("reading data", Some(Total { files: chosen.len() as u64, bytes }));
        let was_bad = reader.bad_frames()?;
        let read = chosen.iter().map(|row| (row.pack, row.frame.number)).filter(|place| was_bad.contains_key(place));
        whole = read.collect();
        bad.extend(data::check(at, (chosen, &known.stated), progress, stop, &mut report)?);
    }
    progress.start("following contents", None);
    reader.hold(|index| files::check(index, &bad, &mut report))?;
    progress.finish();
    report.stopped = stop.load(Ordering::Relaxed);
    forget_passing(&mut report);
    for row in bad.keys() {
        let place = reader.frame_location(*row)?;
        report.bad_frames.extend(place.map(|at| (at.pack, at.number)));
    }
    if !report.stopped {
        // What can't be read is not built on from now on.
        whole.retain(|place| !report.bad_frames.contains(place));
        let found: Vec<FramePlace> = report.bad_frames.iter().copied().collect();
        at.index().note_read(&found, &whole, PATIENT)?;
        for chains in &report.chains {
            let of_it = |object: &str| Merged::parse(object).is_some_and(|merged| merged.source == chains.id);
            let merged = report.problems.iter().any(|problem| of_it(&problem.object));
            absent::note_unread(at, chains.id, &chains.lost, merged)?;
        }
    }
    Ok(report)
}

/// What a history seemed to lack while others merged it, and nothing is wrong with, it does not lack: where something is lost, that is a
/// problem of its own.
fn forget_passing(report: &mut Report) {
    for chains in &mut report.chains {
        let own = names::journal(chains.id);
        let is_wrong = |object: &str| object == names::JOURNAL || object.starts_with(&own);
        if !report.problems.iter().any(|problem| is_wrong(&problem.object)) {
            chains.lost.clear();
        }
    }
}

/// The structure, looked at again where something is wrong and the index has changed meanwhile: what has been collected is in its
/// new place then, and what is lost stays lost. What two looks find is so.
fn settled(
    at: &Attached,
    reader: &Reader,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<(Report, packs::Known), VerifyError> {
    let mut version = reader.data_version()?;
    let (mut report, mut known) = structure(at, progress, stop)?;
    let mut confirmed = is_confirmed(&report, &Report::default());
    for _ in 0..AGAIN {
        if confirmed || stop.load(Ordering::Relaxed) {
            break;
        }
        replay::catch_up(at, progress)?;
        let before = std::mem::replace(&mut version, reader.data_version()?);
        if version == before {
            break;
        }
        let (now, found) = structure(at, progress, stop)?;
        confirmed = is_confirmed(&now, &report);
        (report, known) = (now, found);
    }
    Ok((report, known))
}

/// Whether all that is wrong was so in the look before.
fn is_confirmed(now: &Report, before: &Report) -> bool {
    let was_lost = |chains: &Chains| before.chains.iter().any(|was| (was.id, &was.lost) == (chains.id, &chains.lost));
    now.problems.iter().all(|problem| before.problems.contains(problem))
        && now.chains.iter().all(|chains| chains.lost.is_empty() || was_lost(chains))
}

/// Everything but the bytes of contents.
fn structure(at: &Attached, progress: &dyn Progress, stop: &AtomicBool) -> Result<(Report, packs::Known), VerifyError> {
    let mut report = Report::default();
    progress.start("checking keys", None);
    keys::check(at.repo(), &mut report)?;
    progress.start("checking packs", None);
    let reader = at.reader()?;
    let known = reader.hold(|index| packs::check(at.repo(), index, progress, stop, &mut report))?;
    progress.start("checking the journal", None);
    reader.hold(|index| journal::check(at.repo(), index, progress, stop, &mut report))?;
    progress.start("checking the rest", None);
    others::check(at, &mut report)?;
    Ok((report, known))
}
