//! `history/<path>`: every directory that ever was, and below the name of a file one readable file a version, named by the
//! local time of the snapshot that captured it.

use crate::index::{rows::Row, tree::Reader};
use crate::mount::{
    errno::FsError,
    fs::Fs,
    listing::Listing,
    node::{Found, Keep, NodeAttr},
    places::Place,
};
use crate::types::{
    path,
    time::Instant,
    when::{
        show::{show, time_of_day_name},
        zone::Zone,
    },
};
use crate::view::{
    history, names,
    whose::{Line, Whose},
};
use std::collections::BTreeMap;

/// What is below a path of the history.
struct Ever {
    /// Names that were in directories at this path.
    names: Vec<Vec<u8>>,
    /// Versions of what stood at this path and was no directory.
    versions: BTreeMap<Vec<u8>, NodeAttr>,
}

impl Fs {
    /// Looks up a name below a path of the history. What was stays: only what was not may come.
    pub(super) fn look_up_ever(&self, index: &Reader, host: &Whose, at: &[u8], name: &[u8]) -> Result<Found, FsError> {
        let ever = self.ever(index, host, at)?;
        if ever.names.binary_search_by(|n| n.as_slice().cmp(name)).is_ok() {
            return self.tell_place(index, &Place::Ever(host.clone(), path::join(at, name)), Keep::Forever);
        }
        let version = ever.versions.get(name).map(|attr| Found::Node(*attr, Keep::Forever));
        Ok(version.unwrap_or(Found::Nothing(Keep::Shortly)))
    }

    /// Lists a path of the history.
    pub(super) fn list_ever(&self, index: &Reader, host: &Whose, at: &[u8]) -> Result<Listing, FsError> {
        let ever = self.ever(index, host, at)?;
        let mut listing = Listing::new(self.peek(&self.above_ever(host, at)));
        let newest = names::newest(index, host, Instant(i64::MAX))?.unwrap_or(Instant(0));
        for name in &ever.names {
            let place = Place::Ever(host.clone(), path::join(at, name));
            listing.push(name, NodeAttr::directory(0, newest, self.owner), Keep::Forever, Some(place));
        }
        for (name, attr) in &ever.versions {
            // A file of this name in a directory that stood here too is found by that name.
            if ever.names.binary_search(name).is_err() {
                listing.push(name, *attr, Keep::Forever, None);
            }
        }
        Ok(listing)
    }

    fn above_ever(&self, host: &Whose, at: &[u8]) -> Place {
        match at.iter().rposition(|b| *b == b'/') {
            Some(0) | None if at.len() <= 1 => self.host_or_root(host),
            Some(0) | None => Place::Ever(host.clone(), b"/".to_vec()),
            Some(slash) => Place::Ever(host.clone(), at[..slash].to_vec()),
        }
    }

    fn ever(&self, index: &Reader, host: &Whose, at: &[u8]) -> Result<Ever, FsError> {
        let mut lines = host.lines(index)?;
        // Stable: of one root, the history that goes first stays first.
        lines.sort_by(|a, b| a.source.root.cmp(&b.source.root));
        if let Some(first) = lines.iter().find(|line| path::is_within(at, &line.source.root)) {
            let mut ever = Ever { names: Vec::new(), versions: BTreeMap::new() };
            for line in lines.iter().filter(|line| line.source.root == first.source.root) {
                self.add_line(index, line, at, &mut ever)?;
            }
            ever.names.sort();
            ever.names.dedup();
            return Ok(ever);
        }
        let depth = path::components(at).count();
        let below = lines.iter().map(|line| &line.source).filter(|source| path::is_within(&source.root, at));
        let mut names: Vec<Vec<u8>> =
            below.filter_map(|s| path::components(&s.root).nth(depth).map(<[u8]>::to_vec)).collect();
        names.sort();
        names.dedup();
        Ok(Ever { names, versions: BTreeMap::new() })
    }

    fn add_line(&self, index: &Reader, line: &Line, at: &[u8], ever: &mut Ever) -> Result<(), FsError> {
        for name in history::names_ever(index, &line.source, at)? {
            let first = index.snapshot(line.source.num, name.first)?;
            if first.is_none_or(|first| line.shows(first.time)) {
                ever.names.push(name.name);
            }
        }
        self.versions_at(index, line, at, &mut ever.versions)
    }

    fn versions_at(
        &self,
        index: &Reader,
        line: &Line,
        at: &[u8],
        found: &mut BTreeMap<Vec<u8>, NodeAttr>,
    ) -> Result<(), FsError> {
        let source = &line.source;
        // Where each view has its own numbers, the history is one more view.
        let tag = self.tag(&Whose::named(&source.host), Instant(i64::MIN), "history", Vec::new())?;
        for version in history::versions(index, source, at)? {
            let shows = |row: &Row| !row.node.is_dir() && line.shows(version.from.time);
            let Some(row) = version.row.filter(shows) else { continue };
            let nlink = match row.linked {
                true => index.link_count(source.num, row.node, version.from.number)?,
                false => 1,
            };
            let ino = self.encode(self.file(tag, source.num, nlink, row.ver))?;
            let mut name = version_name(version.from.time, self.names.zone(), false);
            if found.contains_key(name.as_bytes()) {
                name = version_name(version.from.time, self.names.zone(), true);
            }
            // Several versions may begin with one snapshot, where nodes changed places.
            let (plain, mut n) = (name.clone(), 2);
            while found.contains_key(name.as_bytes()) {
                name = format!("{plain}~{n}");
                n += 1;
            }
            found.insert(name.into_bytes(), NodeAttr::captured(ino, &row, nlink));
        }
        Ok(())
    }
}

/// `2025-09-20T14:30:05.123+02:00`, with all digits where `exact` is set.
fn version_name(at: Instant, zone: &Zone, exact: bool) -> String {
    let shown = show(at, zone);
    let mut parts = shown.split(' ');
    let (day, time, offset) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match exact {
        true => {
            let digits = time_of_day_name(at, zone);
            format!("{day}T{}{offset}", digits.split(['+', '-']).next().unwrap_or_default())
        }
        false => format!("{day}T{time}{offset}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_by_local_time() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = Instant(1_758_371_405_123_999_999);
        assert_eq!(version_name(at, &zone, false), "2025-09-20T14:30:05.123+02:00");
        assert_eq!(version_name(at, &zone, true), "2025-09-20T14:30:05.123999999+02:00");
        // The hour that the clock shows twice has its offset anyway.
        assert_eq!(
            version_name(Instant(1_761_440_399_000_000_000), &zone, true),
            "2025-10-26T02:59:59.000000000+02:00"
        );
    }
}
