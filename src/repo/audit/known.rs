//! What this host knows of the trail: the newest entry of each run, and how far other entries name it. Kept in the state directory, it
//! tells of entries that were there and are not any more, and which ones the next entry has to name.

use crate::repo::{
    audit::{
        entry::{self, Link, Stored},
        error::AuditError,
        place::{Place, Run},
    },
    names::AUDIT,
    open::Repository,
};
use crate::sys::{durable, shared::SharedWords};
use crate::types::{ids::Hash, time::Instant};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The file, one line a run: run, number, hash, time, and the number up to which other entries name it or `-`.
const FILE: &str = "audit.known";
/// The file whose lock is held while that one changes.
const LOCK: &str = "audit.lock";

/// The newest entry of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Newest {
    pub(super) number: u64,
    pub(super) hash: Hash,
    pub(super) time: Instant,
    /// Another run names the entry with this number, and so all before it.
    pub(super) named: Option<u64>,
}

/// The runs that this host knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Known(pub(super) BTreeMap<Run, Newest>);

impl Known {
    /// Takes an entry in, and what it names.
    pub(super) fn add(&mut self, stored: &Stored) {
        let Stored { place, hash, entry, .. } = stored;
        let new = Newest { number: place.number, hash: *hash, time: entry.time(), named: None };
        match self.0.get_mut(&place.run) {
            None => drop(self.0.insert(place.run.clone(), new)),
            Some(old) if old.number < place.number => *old = Newest { named: old.named, ..new },
            Some(_) => {}
        }
        for link in &entry.parents {
            let newest = Run::parse(&link.run).and_then(|run| self.0.get_mut(&run));
            if let Some(newest) = newest {
                newest.named = newest.named.max(Some(link.number));
            }
        }
    }

    /// The newest entries of other runs that no entry names.
    pub(super) fn unnamed(&self, own: &Run) -> Vec<Link> {
        let open = self.0.iter().filter(|(run, n)| *run != own && n.named.is_none_or(|named| named < n.number));
        open.map(|(run, n)| n.link(run)).collect()
    }

    /// Takes in what the store has and is not known; gives the names of what is known and not there.
    pub(super) fn learn(&mut self, repo: &Repository) -> Result<Vec<String>, crate::repo::error::RepoError> {
        let there: Vec<Place> = repo.store().list(AUDIT)?.iter().filter_map(|o| Place::parse(&o.name)).collect();
        // In the order of names: the last one of a run counts.
        let last: BTreeMap<&Run, u64> = there.iter().map(|place| (&place.run, place.number)).collect();
        let gone = self.0.iter().filter(|(run, n)| last.get(run).is_none_or(|last| *last < n.number));
        let gone = gone.map(|(run, n)| Place { run: run.clone(), number: n.number }.name()).collect();
        let mut new = Vec::new();
        for place in &there {
            if self.0.get(&place.run).is_some_and(|n| place.number <= n.number) {
                continue;
            }
            match entry::read(repo, place) {
                Ok(stored) => new.push(stored),
                Err(e) if e.is_damage() => {
                    tracing::error!("an entry of the audit trail can't be read: {e}; `bygone audit verify` tells more");
                }
                Err(e) => return Err(e),
            }
        }
        // Twice, since what an entry names may come behind it.
        new.iter().chain(&new).for_each(|stored| self.add(stored));
        Ok(gone)
    }

    fn parse(text: &str) -> Option<Known> {
        let line = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next();
            let run = Run::parse(word()?)?;
            let number = word()?.parse().ok()?;
            let hash = parse_hash(word()?)?;
            let time = Instant(word()?.parse().ok()?);
            let named = match word()? {
                "-" => None,
                number => Some(number.parse().ok()?),
            };
            Some((run, Newest { number, hash, time, named }))
        };
        text.lines().map(line).collect::<Option<_>>().map(Known)
    }

    fn text(&self) -> String {
        let line = |(run, n): (&Run, &Newest)| {
            let named = n.named.map_or("-".to_owned(), |named| named.to_string());
            format!("{run} {} {} {} {named}\n", n.number, n.hash, n.time.0)
        };
        self.0.iter().map(line).collect()
    }
}

impl Newest {
    /// It, as an entry names it.
    pub(super) fn link(&self, run: &Run) -> Link {
        Link { run: run.to_string(), number: self.number, hash: self.hash.to_string(), time_ns: self.time.0 }
    }
}

/// A hash of 64 hexadecimal digits.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    Some(Hash(bytes.try_into().ok()?))
}

/// The file of [`Known`], in the directory of a repository's state.
#[derive(Clone)]
pub(super) struct State {
    dir: PathBuf,
}

impl State {
    pub(super) fn in_dir(dir: &Path) -> State {
        State { dir: dir.to_owned() }
    }

    /// What is known now.
    pub(super) fn load(&self) -> Result<Known, AuditError> {
        let path = self.dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
            Err(e) => return Err(failed("read", &path)(e)),
        };
        Ok(Known::parse(&text).unwrap_or_else(|| {
            tracing::error!(
                "{} is damaged, and with it what this host knew of the audit trail; it is made anew from what is stored now",
                path.display()
            );
            Known::default()
        }))
    }

    /// Changes what is known, while no other process does.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Known) -> T) -> Result<T, AuditError> {
        durable::create_dirs(&self.dir, 0o700).map_err(|e| failed("create", &self.dir)(e.into()))?;
        let lock = self.dir.join(LOCK);
        let words = SharedWords::open(&lock, 1).map_err(failed("open", &lock))?;
        let changed = words.with(|_| {
            let mut known = self.load()?;
            let before = known.clone();
            let result = change(&mut known);
            if known != before {
                let path = self.dir.join(FILE);
                durable::replace(&path, known.text().as_bytes(), 0o600)
                    .map_err(|e| failed("write", &path)(e.into()))?;
            }
            Ok(result)
        });
        changed.map_err(failed("lock", &lock))?
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    move |source| AuditError::State { doing, path: path.display().to_string(), source }
}
