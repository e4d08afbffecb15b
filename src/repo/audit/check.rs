//! Reading the whole trail, and checking that nothing of it was altered, removed or put elsewhere.

use crate::repo::{
    audit::{
        entry::{self, Stored, parse_hash},
        error::AuditError,
        event::Kind,
        known::State,
        place::{Place, Run},
    },
    error::RepoError,
    names::AUDIT,
    open::Repository,
};
use crate::types::{ids::Hash, time::Instant};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Something wrong with the trail.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// The object.
    pub object: String,
    /// The number of the entry in its run; `None` where the object is no entry at all.
    pub number: Option<u64>,
    /// What is wrong with it.
    pub what: String,
    /// The entry was written at this time or later, as far as others tell.
    pub after: Option<Instant>,
    /// The entry was written at this time or earlier.
    pub before: Option<Instant>,
}

/// The trail as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Trail {
    /// All entries that can be read, in the order of their times.
    pub entries: Vec<Stored>,
    /// The runs they belong to.
    pub runs: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is wrong and somebody has accepted, as an entry tells.
    pub accepted: Vec<Problem>,
}

/// What one entry or this host says of another one.
struct Claim {
    hash: Option<Hash>,
    time: Instant,
    by: String,
}

#[derive(Default)]
struct Check {
    /// What each object holds, or why it can't be read.
    there: BTreeMap<Place, Result<Stored, String>>,
    claims: BTreeMap<Place, Vec<Claim>>,
    problems: BTreeSet<Problem>,
}

/// Reads every entry and follows every link. `dir` is the directory of the repository's state: what this host has seen must be there.
///
/// An error says that the store could not be read; what is wrong with the trail is in the result.
pub fn check(repo: &Repository, dir: &Path) -> Result<Trail, AuditError> {
    let state = State::in_dir(dir);
    // Before the objects are listed: what is known by then was stored by then.
    let known = state.load()?;
    let mut check = Check::default();
    check.read(repo)?;
    for (run, newest) in &known.runs {
        let place = Place { run: run.clone(), number: newest.number };
        let claim = Claim { hash: Some(newest.hash), time: newest.time, by: "this host has seen it".into() };
        check.claims.entry(place).or_default().push(claim);
    }
    check.follow();
    check.compare();
    let runs: BTreeSet<&Run> = check.there.keys().map(|place| &place.run).collect();
    let runs = runs.len() as u64;
    let mut entries: Vec<Stored> = check.there.into_values().filter_map(Result::ok).collect();
    entries.sort_by(|a, b| (a.entry.time_ns, &a.place).cmp(&(b.entry.time_ns, &b.place)));
    let names = entries.iter().flat_map(|stored| entry::accepted(&stored.entry)).collect::<BTreeSet<String>>();
    let (accepted, problems): (Vec<Problem>, Vec<Problem>) =
        check.problems.into_iter().partition(|problem| names.contains(&problem.object));
    if problems.is_empty() {
        state.update(|known| known.take(&entries))?;
    }
    Ok(Trail { entries, runs, problems, accepted })
}

impl Check {
    fn read(&mut self, repo: &Repository) -> Result<(), RepoError> {
        for object in repo.store().list(AUDIT)? {
            let Some(place) = Place::parse(&object.name) else {
                let what = "it is no entry of the trail: something else was put there".to_owned();
                let problem = Problem { object: object.name, number: None, what, after: None, before: None };
                self.problems.insert(problem);
                continue;
            };
            let read = match entry::read(repo, &place) {
                Ok(stored) => Ok(stored),
                Err(e @ RepoError::Damaged { .. }) => {
                    let why = e.why_of(&object.name, "entry");
                    Err(format!("it was altered, or put in the place of another: {why}"))
                }
                Err(e) if e.is_damage() => Err(format!("it can't be read: {}", e.why_of(&object.name, "entry"))),
                Err(e) => return Err(e),
            };
            self.there.insert(place, read);
        }
        Ok(())
    }

    /// Notes what each entry says of others.
    fn follow(&mut self) {
        for stored in self.there.values().filter_map(|read| read.as_ref().ok()) {
            let Stored { place, entry, .. } = stored;
            let by = format!("the entry {} names it", place.name());
            if let Some(number) = place.number.checked_sub(1) {
                let before = Place { run: place.run.clone(), number };
                let claim = Claim { hash: parse_hash(&entry.previous), time: entry.time(), by: by.clone() };
                self.claims.entry(before).or_default().push(claim);
            }
            for link in &entry.parents {
                let Some(run) = Run::parse(&link.run) else {
                    let what = format!("it names an entry of a run that can't be: {:?}", link.run);
                    let at = Some(entry.time());
                    let object = place.name();
                    let problem = Problem { object, number: Some(place.number), what, after: at, before: at };
                    self.problems.insert(problem);
                    continue;
                };
                let claim = Claim { hash: parse_hash(&link.hash), time: Instant(link.time_ns), by: by.clone() };
                self.claims.entry(Place { run, number: link.number }).or_default().push(claim);
            }
        }
    }

    /// Compares what is said of entries with what is there.
    fn compare(&mut self) {
        let mut found = Vec::new();
        for (place, read) in &self.there {
            if let Err(why) = read {
                found.push((place.clone(), why.clone()));
            } else if let Ok(stored) = read
                && place.number == 0
                && parse_hash(&stored.entry.previous) != Some(Hash::ZERO)
            {
                found.push((place.clone(), "it is the first of its run, and names one before it".to_owned()));
            }
        }
        for (place, claims) in &self.claims {
            match self.there.get(place) {
                None => {
                    let by = claims.first().map_or("", |claim| &claim.by);
                    found.push((place.clone(), format!("it is missing: {by}")));
                }
                Some(Ok(stored)) => {
                    if let Some(claim) = claims.iter().find(|claim| claim.hash != Some(stored.hash)) {
                        found.push((place.clone(), format!("it is not what it was: {}, with another hash", claim.by)));
                    }
                }
                Some(Err(_)) => {}
            }
        }
        found.extend(self.holes());
        for (place, what) in found {
            let (after, before) = self.span(&place);
            self.problems.insert(Problem { object: place.name(), number: Some(place.number), what, after, before });
        }
    }

    /// Entries that must have been, since there is a later one or one is said to be, and that nothing names.
    fn holes(&self) -> Vec<(Place, String)> {
        let mut last: BTreeMap<&Run, u64> = BTreeMap::new();
        for place in self.there.keys().chain(self.claims.keys()) {
            let last = last.entry(&place.run).or_default();
            *last = place.number.max(*last);
        }
        let mut holes = Vec::new();
        for (run, last) in last {
            let from = |number| Place { run: (*run).clone(), number };
            let mut next = 0;
            let numbers = self.there.range(from(0)..=from(last)).map(|(place, _)| place.number);
            for number in numbers.chain([last.saturating_add(1)]) {
                // A number may be any in an entry that was forged: one problem is told for all that are missing.
                if number > next && !self.claims.contains_key(&from(next)) {
                    let what = match number - next {
                        1 => "it is missing: a later entry of its run is known".to_owned(),
                        n => format!("it is missing, with {} more behind it: a later entry is known", n - 1),
                    };
                    holes.push((from(next), what));
                }
                next = number.saturating_add(1);
            }
        }
        holes
    }

    /// Between which times an entry was written: by its own word where others confirm it, else by its neighbours.
    fn span(&self, place: &Place) -> (Option<Instant>, Option<Instant>) {
        let at = |number| Place { run: place.run.clone(), number };
        let time = |(_, read): (&Place, &Result<Stored, String>)| read.as_ref().ok().map(|s| s.entry.time());
        let mut after = self.there.range(at(0)..place.clone()).rev().find_map(time);
        let behind = place.number.checked_add(1).map(|next| self.there.range(at(next)..=at(u64::MAX)));
        let mut before = behind.and_then(|mut behind| behind.find_map(time));
        // What is said of it or of a later one of its run was said of something that was there.
        let later = self.claims.range(place.clone()..=at(u64::MAX)).flat_map(|(_, claims)| claims);
        for claim in later {
            before = Some(before.map_or(claim.time, |before| before.min(claim.time)));
        }
        // Where nothing of the run is left before it: the entries that the next one names are older than that one only.
        if after > before {
            after = None;
        }
        (after, before)
    }
}

/// The objects that entries of this kind name as made; `what` they are, for people. A trail that can't be read is for its own check to
/// name.
pub fn objects_of(repo: &Repository, dir: &Path, (kind, what): (Kind, &str)) -> Vec<String> {
    let entries = match check(repo, dir) {
        Ok(trail) => trail.entries,
        Err(e) => {
            tracing::warn!("whether a {what} is missing can't be told from the audit trail: {e}");
            return Vec::new();
        }
    };
    let made = entries.iter().filter(|stored| stored.entry.kind == kind.word());
    made.filter_map(|stored| stored.entry.details.get("object")?.as_str().map(str::to_owned)).collect()
}
