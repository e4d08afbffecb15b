//! What this host knows of copies of the repository at other sites, kept beside its index: how the last run ended, and what each site
//! has of each source, for telling recovery points without asking the site.

use crate::index::tree::Reader;
use crate::repo::{attach::Attached, error::RepoError, holding::Holding};
use crate::sys::durable;
use crate::types::{
    ids::Snap,
    path,
    snapshot::{Snapshot, Source, Tier},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The file, in the directory of a repository's state: an object in JSON, by the names of sites.
const FILE: &str = "sites.json";
/// The file that is locked while it changes.
const LOCK: &str = "sites.lock";

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it began (ns).
    pub begun_ns: i64,
    /// When it ended (ns).
    pub ended_ns: i64,
    /// Objects copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects deleted that were collected at the origin.
    pub removed: u64,
    /// Why not all was done, if not all was.
    pub error: Option<String>,
}

/// What is known of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The last run.
    pub last: Run,
    /// When a run did all that there was to do last.
    pub succeeded_ns: Option<i64>,
    /// How often runs have failed since.
    pub failures: u32,
    /// What it has of each source, by the source's id: the newest snapshot up to which nothing is missing.
    pub held: BTreeMap<String, u64>,
    /// The words of the tiers whose snapshots are whole there; all of them if none.
    #[serde(default)]
    pub tiers: Option<Vec<String>>,
    /// So many objects of histories it had, when they were compared last, that the repository lacks: both sides wrote.
    #[serde(default)]
    pub diverged: u64,
    /// The newest part of each history that it had after the last run, by the source's id: what tells that it was set back.
    #[serde(default)]
    pub tips: BTreeMap<String, String>,
    /// When it was found last that it had gone back, and how.
    #[serde(default)]
    pub gone_back: Option<GoneBack>,
}

/// A copy that had more once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneBack {
    /// When that was found (ns).
    pub at_ns: i64,
    /// How far, in words.
    pub how: String,
}

impl Site {
    /// What it holds, as it was noted, of the tiers of snapshots.
    pub fn holding(&self) -> Holding {
        let tiers = self.tiers.as_ref().map(|words| words.iter().filter_map(|word| Tier::parse(word)).collect());
        Holding { sources: None, tiers }
    }
}

/// Where a site stands with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The source.
    pub source: Source,
    /// The newest snapshot that the site has whole, with all before it that it is to have; `None` where it has none.
    pub held: Option<(Snap, Instant)>,
    /// The newest of the origin.
    pub newest: Snap,
    /// When the oldest snapshot behind that one was taken; `None` where there is none. What was captured from then on would be lost
    /// with the origin.
    pub lacks_since: Option<Instant>,
}

impl Point {
    /// What would be lost with the origin now, in nanoseconds back from `now`: none where the site has all.
    pub fn behind_ns(&self, now: Instant) -> i64 {
        self.lacks_since.map_or(0, |since| now.0.saturating_sub(since.0).max(0))
    }
}

/// All that is known, by the names of sites. A file that does not read is as none: the next run makes it anew.
pub fn all(dir: &Path) -> BTreeMap<String, Site> {
    let path = file(dir);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|e| {
            tracing::warn!("{} does not read, and is made anew with the next replication: {e}", path.display());
            BTreeMap::new()
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(e) => {
            tracing::warn!("cannot read {}: {e}", path.display());
            BTreeMap::new()
        }
    }
}

/// What a site has after a run.
pub struct Now {
    /// What it has of each source, as in [`Site::held`].
    pub held: BTreeMap<String, u64>,
    /// The tiers whose snapshots are whole; all if none.
    pub tiers: Option<Vec<Tier>>,
    /// As in [`Site::tips`].
    pub tips: BTreeMap<String, String>,
}

/// What was found out about a site.
#[derive(Default)]
pub struct Found {
    /// How much of it the repository lacks.
    pub diverged: Option<u64>,
    /// That it had more once, and how much.
    pub gone_back: Option<String>,
}

/// Notes a run, what the site has now, and what was found out about it.
pub fn note(dir: &Path, name: &str, run: Run, now: Option<Now>, found: Found) -> Result<(), RepoError> {
    let (path, lock) = (file(dir), dir.join(LOCK));
    let failed = |doing: &'static str, path: &Path, source: io::Error| RepoError::State {
        doing,
        path: path.display().to_string(),
        source,
    };
    let _alone = durable::lock_wait(&lock).map_err(|e| failed("lock", &lock, e.into()))?;
    let mut known = all(dir);
    let site = known.entry(name.to_owned()).or_default();
    match &run.error {
        None => (site.succeeded_ns, site.failures) = (Some(run.ended_ns), 0),
        Some(_) => site.failures = site.failures.saturating_add(1),
    }
    if let Some(now) = now {
        (site.held, site.tips) = (now.held, now.tips);
        site.tiers = now.tiers.map(|tiers| tiers.into_iter().map(|tier| tier.word().to_owned()).collect());
    }
    site.diverged = found.diverged.unwrap_or(site.diverged);
    if let Some(how) = found.gone_back {
        site.gone_back = Some(GoneBack { at_ns: run.ended_ns, how });
    }
    site.last = run;
    let bytes = serde_json::to_vec(&known).map_err(|e| failed("write", &path, e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(|e| failed("write", &path, e.into()))
}

/// What a site has of each source, where `is_there` says which objects it has: up to the first snapshot whose record it lacks.
pub fn held(at: &Attached, is_there: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, u64>, RepoError> {
    let reader = at.reader()?;
    let mut held = BTreeMap::new();
    for source in reader.sources()? {
        let rows = reader.segments(source.num)?;
        let lacks = rows.iter().filter(|row| !is_there(&row.name)).map(|row| row.first.0).min();
        let upto = rows.iter().filter(|row| lacks.is_none_or(|first| row.last.0 < first)).map(|row| row.last.0).max();
        held.extend(upto.map(|upto| (source.id.to_string(), upto)));
    }
    Ok(held)
}

/// The newest part of each history that the site has up to what it holds, by the source's id.
pub fn tips(at: &Attached, is_there: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, String>, RepoError> {
    let reader = at.reader()?;
    let mut tips = BTreeMap::new();
    for source in reader.sources()? {
        let rows = reader.segments(source.num)?;
        let newest = rows.into_iter().filter(|row| is_there(&row.name)).max_by_key(|row| row.last.0);
        tips.extend(newest.map(|row| (source.id.to_string(), row.name)));
    }
    Ok(tips)
}

/// Where a site had more of a history than it has now: the newest part that it had is gone there, and the repository has it. In words,
/// the first one of each source.
pub fn gone_back(at: &Attached, known: &Site, is_there: &dyn Fn(&str) -> bool) -> Result<Vec<String>, RepoError> {
    let (reader, now) = (at.reader()?, held(at, is_there)?);
    let mut all = Vec::new();
    for source in reader.sources()? {
        let id = source.id.to_string();
        let Some(tip) = known.tips.get(&id).filter(|tip| !is_there(tip)) else { continue };
        // What was merged meanwhile is in another part now, and says nothing.
        if !reader.segments(source.num)?.iter().any(|row| row.name == *tip) {
            continue;
        }
        let had = known.held.get(&id).map_or_else(|| "some".to_owned(), u64::to_string);
        let has = now.get(&id).map_or_else(|| "none".to_owned(), u64::to_string);
        all.push(format!("{}: from snapshot {had} to {has}", path::show(&source.root)));
    }
    Ok(all)
}

/// Where a site stands with each source that it has something of, or is to have, by this host's index.
pub fn points(reader: &Reader, site: &Site, is_wanted: impl Fn(&Source) -> bool) -> Result<Vec<Point>, RepoError> {
    let (mut points, holding) = (Vec::new(), site.holding());
    for source in reader.sources()? {
        let held = site.held.get(&source.id.to_string()).copied();
        if !is_wanted(&source) {
            continue;
        }
        let newest = reader.head(source.num)?.number;
        let held = match held {
            Some(number) => newest_whole(reader, &source, Snap(number), &holding)?.map(|s| (s.number, s.time)),
            None => None,
        };
        let after = held.map_or(Instant(i64::MIN), |(_, time)| Instant(time.0.saturating_add(1)));
        let lacking = reader.snapshots(source.num, after, Instant(i64::MAX), 1)?;
        let lacks_since = lacking.first().map(|snapshot| snapshot.time);
        points.push(Point { source, held, newest, lacks_since });
    }
    Ok(points)
}

/// The newest snapshot up to this number that is whole where that is held.
fn newest_whole(
    reader: &Reader,
    source: &Source,
    upto: Snap,
    holding: &Holding,
) -> Result<Option<Snapshot>, RepoError> {
    match reader.snapshot(source.num, upto)? {
        Some(last) if !holding.is_whole(last.tier) => {
            let before = reader.snapshots(source.num, Instant(i64::MIN), last.time, i64::MAX as usize)?;
            Ok(before.into_iter().rev().find(|snapshot| holding.is_whole(snapshot.tier)))
        }
        found => Ok(found),
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
