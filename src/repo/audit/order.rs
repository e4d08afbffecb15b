//! The order in which entries are copied: each behind those that it names and the one before it in its run, so that what is there of
//! them never names what is not.

use crate::repo::{
    audit::{
        entry,
        place::{Place, Run},
    },
    error::RepoError,
    open::Repository,
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The names of entries in such an order. Reads the entries, unless all are of one run. What does not read comes as it can.
pub fn in_order(repo: &Repository, names: &[String]) -> Result<Vec<String>, RepoError> {
    let places: BTreeSet<Place> = names.iter().filter_map(|name| Place::parse(name)).collect();
    let runs: BTreeSet<&Run> = places.iter().map(|place| &place.run).collect();
    let mut before: HashMap<Place, Vec<Place>> = HashMap::new();
    if runs.len() > 1 {
        for place in &places {
            before.insert(place.clone(), named(repo, place)?);
        }
    }
    let strangers = names.iter().filter(|name| Place::parse(name).is_none());
    let mut out: Vec<String> = strangers.cloned().collect();
    let mut done: HashSet<&Place> = HashSet::new();
    for place in &places {
        // What is open waits for what is above it. A circle, which no writer makes, ends where it meets what was begun.
        let mut open: Vec<(&Place, bool)> = vec![(place, false)];
        let mut begun: HashSet<&Place> = HashSet::new();
        while let Some((place, is_ready)) = open.pop() {
            if done.contains(place) {
                continue;
            }
            if is_ready {
                done.insert(place);
                out.push(place.name());
                continue;
            }
            if !begun.insert(place) {
                continue;
            }
            open.push((place, true));
            let of_run = Place { number: place.number.wrapping_sub(1), ..place.clone() };
            let needs = before.get(place).into_iter().flatten().chain([&of_run]);
            open.extend(needs.filter_map(|need| places.get(need)).map(|need| (need, false)));
        }
    }
    Ok(out)
}

/// The entries that one names; none where it does not read.
fn named(repo: &Repository, place: &Place) -> Result<Vec<Place>, RepoError> {
    let stored = match entry::read(repo, place) {
        Err(e) if e.is_away() => return Err(e),
        Err(_) => return Ok(Vec::new()),
        Ok(stored) => stored,
    };
    let of = |link: &entry::Link| Some(Place { run: Run::parse(&link.run)?, number: link.number });
    Ok(stored.entry.parents.iter().filter_map(of).collect())
}
