//! The snapshots of a history by day and time of day.

use crate::index::{error::IndexError, tree::Reader};
use crate::types::{
    time::Instant,
    when::{
        name::{Name, parse_name},
        show::{day, day_range, time_of_day_name},
        zone::Zone,
    },
};
use crate::view::whose::Whose;
use std::collections::{BTreeMap, BTreeSet};

/// How many snapshots are read at a time.
const PAGE: usize = 4096;

/// The days that have snapshots of a history, from the one that `from` lies in, each with its last instant. Costs one look-up a
/// day and source, however many snapshots a day has.
pub fn days(index: &Reader, whose: &Whose, from: Instant, zone: &Zone) -> Result<Vec<(String, Instant)>, IndexError> {
    let first = day_range(&day(from, zone), zone).map_or(Instant(i64::MIN), |(start, _)| start);
    let mut found = BTreeMap::new();
    for line in whose.lines(index)? {
        let mut after = Instant(first.0.saturating_sub(1));
        while let Some(snapshot) = line.snapshot_after(index, after)? {
            let name = day(snapshot.time, zone);
            // A day that reaches outside the range of instants has no name, and its snapshots only exact ones.
            after = match day_range(&name, zone) {
                Some((_, end)) if end > after => {
                    found.insert(end, name);
                    end
                }
                _ => snapshot.time,
            };
        }
    }
    Ok(found.into_iter().map(|(end, name)| (name, end)).collect())
}

/// Whether any snapshot of a history lies in a day.
pub fn has_snapshots(index: &Reader, whose: &Whose, day: &str, zone: &Zone) -> Result<bool, IndexError> {
    let Some((start, end)) = day_range(day, zone) else { return Ok(false) };
    for line in whose.lines(index)? {
        if line.snapshot_after(index, Instant(start.0.saturating_sub(1)))?.is_some_and(|s| s.time <= end) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The snapshots of a day by their times of day, in the order of time.
pub fn times(index: &Reader, whose: &Whose, day: &str, zone: &Zone) -> Result<Vec<(String, Instant)>, IndexError> {
    let Some((start, end)) = day_range(day, zone) else { return Ok(Vec::new()) };
    let mut times = BTreeSet::new();
    for line in whose.lines(index)? {
        let (mut from, to) = (start, Instant(line.cut(end).0.saturating_add(1)));
        loop {
            let page = index.snapshots(line.source.num, from, to, PAGE)?;
            times.extend(page.iter().map(|s| s.time));
            match page.last() {
                Some(last) if page.len() == PAGE => from = Instant(last.time.0 + 1),
                _ => break,
            }
        }
    }
    Ok(times.into_iter().map(|at| (time_of_day_name(at, zone), at)).collect())
}

/// The snapshot of a day that [`times`] lists as `time`.
pub fn at_time(
    index: &Reader,
    whose: &Whose,
    day: &str,
    time: &str,
    zone: &Zone,
) -> Result<Option<Instant>, IndexError> {
    let Some(Name::Period { end, .. }) = parse_name(&format!("{day}T{time}"), zone) else { return Ok(None) };
    if time_of_day_name(end, zone) != time {
        return Ok(None);
    }
    for line in whose.lines(index)? {
        if line.snapshot_at(index, end)?.is_some_and(|s| s.time == end) {
            return Ok(Some(end));
        }
    }
    Ok(None)
}
