//! What this host knows of the trail: the newest entry of each run, and how far other entries name it. Kept in the state directory, it
//! tells of entries that were there and are not any more, and which ones the next entry has to name.

use crate::repo::{
    audit::{
        entry::{self, Entry, Link, Stored, parse_hash},
        error::AuditError,
        named::{self, Named},
        place::{Place, Run},
    },
    error::RepoError,
    names::AUDIT,
    open::Repository,
};
use crate::sys::{durable, shared::SharedWords};
use crate::types::{
    ids::{Hash, Snap},
    time::Instant,
};
use data_encoding::BASE64;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The file. One line a run: run, number, hash, time, and the number up to which other entries name it or `-`; and one a snapshot
/// that the trail names: `snapshot`, or `found`, host and root in base64, number, hash, time.
const FILE: &str = "audit.known";
/// What a line about a snapshot begins with that is named, and not found yet.
const NAMED: &str = "snapshot ";
/// The same where it was found.
const FOUND: &str = "found ";
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

/// What this host knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Known {
    /// The runs.
    pub(super) runs: BTreeMap<Run, Newest>,
    /// The snapshots that the trail names, and whether each was found in the journals: of those that were found in the journals, the newest of each source only, since an index may
    /// be made anew from less than there was.
    pub(super) named: BTreeMap<Named, bool>,
}

impl Known {
    /// Takes in an entry of this process; which snapshots it names, the journals have.
    pub(super) fn add_own(&mut self, stored: &Stored) {
        self.add(stored);
        self.named.extend(named::named(&stored.entry).into_iter().map(|named| (named, true)));
        self.forget_older();
    }

    /// Notes which of some snapshots were found, which is all but the missing ones. Of others, learnt meanwhile, nothing is known.
    pub(super) fn looked_for(&mut self, named: &[Named], missing: &[Named]) {
        for one in named {
            if let Some(found) = self.named.get_mut(one) {
                *found = !missing.contains(one);
            }
        }
        self.forget_older();
    }

    /// What was found is looked for again.
    pub(super) fn look_again(&mut self) {
        self.named.values_mut().for_each(|found| *found = false);
    }

    /// Of the snapshots that were found, the newest of each source is enough.
    fn forget_older(&mut self) {
        let mut newest: BTreeMap<(String, Vec<u8>), u64> = BTreeMap::new();
        for (named, _) in self.named.iter().filter(|(_, found)| **found) {
            let number = newest.entry((named.host.clone(), named.root.clone())).or_default();
            *number = named.number.0.max(*number);
        }
        let is_newest = |n: &Named| newest.get(&(n.host.clone(), n.root.clone())) == Some(&n.number.0);
        self.named.retain(|named, found| !*found || is_newest(named));
    }

    /// Takes an entry in, and which entries it names.
    fn add(&mut self, stored: &Stored) {
        let Stored { place, hash, entry, .. } = stored;
        // Of a run of which something is accepted to be missing, what is there counts from now on.
        for place in entry::accepted(entry).iter().filter_map(|name| Place::parse(name)) {
            if self.runs.get(&place.run).is_some_and(|newest| newest.number >= place.number) {
                self.runs.remove(&place.run);
            }
        }
        let given_up = named::given_up(entry);
        self.named.retain(|named, _| !given_up.contains(&named.hash));
        let new = Newest { number: place.number, hash: *hash, time: entry.time(), named: None };
        match self.runs.get_mut(&place.run) {
            None => drop(self.runs.insert(place.run.clone(), new)),
            Some(old) if old.number < place.number => *old = Newest { named: old.named, ..new },
            Some(_) => {}
        }
        for link in &entry.parents {
            let newest = Run::parse(&link.run).and_then(|run| self.runs.get_mut(&run));
            if let Some(newest) = newest {
                newest.named = newest.named.max(Some(link.number));
            }
        }
    }

    /// The newest entries of other runs that no entry names.
    pub(super) fn unnamed(&self, own: &Run) -> Vec<Link> {
        let open = self.runs.iter().filter(|(run, n)| *run != own && n.named.is_none_or(|named| named < n.number));
        open.map(|(run, n)| n.link(run)).collect()
    }

    /// Takes in entries of others, and the snapshots that those name which were not known.
    pub(super) fn take(&mut self, entries: &[Stored]) {
        let is_new = |stored: &&Stored| self.runs.get(&stored.place.run).is_none_or(|n| n.number < stored.place.number);
        let new: Vec<&Entry> = entries.iter().filter(is_new).map(|stored| &stored.entry).collect();
        let named = named::all(new.iter().copied());
        // Twice, since what an entry names may come behind it.
        entries.iter().chain(entries).for_each(|stored| self.add(stored));
        for named in named {
            self.named.entry(named).or_insert(false);
        }
    }

    /// Takes in what the store has and is not known; gives the names of what is known and not there.
    pub(super) fn learn(&mut self, repo: &Repository) -> Result<Vec<String>, RepoError> {
        let there: Vec<Place> = repo.store().list(AUDIT)?.iter().filter_map(|o| Place::parse(&o.name)).collect();
        // In the order of names: the last one of a run counts.
        let last: BTreeMap<&Run, u64> = there.iter().map(|place| (&place.run, place.number)).collect();
        let gone = self.runs.iter().filter(|(run, n)| last.get(run).is_none_or(|last| *last < n.number));
        let gone = gone.map(|(run, n)| Place { run: run.clone(), number: n.number }.name()).collect();
        let mut new = Vec::new();
        for place in &there {
            if self.runs.get(&place.run).is_some_and(|n| place.number <= n.number) {
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
        self.take(&new);
        Ok(gone)
    }

    fn parse(text: &str) -> Option<Known> {
        let mut known = Known::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(NAMED) {
                known.named.insert(parse_named(rest)?, false);
            } else if let Some(rest) = line.strip_prefix(FOUND) {
                known.named.insert(parse_named(rest)?, true);
            } else {
                let (run, newest) = parse_newest(line)?;
                known.runs.insert(run, newest);
            }
        }
        Some(known)
    }

    fn text(&self) -> String {
        let run = |(run, n): (&Run, &Newest)| {
            let named = n.named.map_or("-".to_owned(), |named| named.to_string());
            format!("{run} {} {} {} {named}\n", n.number, n.hash, n.time.0)
        };
        let snapshot = |(n, found): (&Named, &bool)| {
            let (host, root) = (BASE64.encode(n.host.as_bytes()), BASE64.encode(&n.root));
            let state = if *found { FOUND } else { NAMED };
            format!("{state}{host} {root} {} {} {}\n", n.number, n.hash, n.time.0)
        };
        self.runs.iter().map(run).chain(self.named.iter().map(snapshot)).collect()
    }
}

fn parse_newest(line: &str) -> Option<(Run, Newest)> {
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
}

fn parse_named(line: &str) -> Option<Named> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let host = String::from_utf8(BASE64.decode(word()?.as_bytes()).ok()?).ok()?;
    let root = BASE64.decode(word()?.as_bytes()).ok()?;
    let number = Snap(word()?.parse().ok()?);
    let hash = parse_hash(word()?)?;
    Some(Named { host, root, number, hash, time: Instant(word()?.parse().ok()?) })
}

impl Newest {
    /// It, as an entry names it.
    pub(super) fn link(&self, run: &Run) -> Link {
        Link { run: run.to_string(), number: self.number, hash: self.hash.to_string(), time_ns: self.time.0 }
    }
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

/// The snapshots that the trail names, as far as the state in `dir` knows; of `repo`, where it is given, what it has not read is read.
pub(in crate::repo) fn named(dir: &Path, repo: Option<&Repository>) -> Result<Vec<Named>, RepoError> {
    let state = State::in_dir(dir);
    let known = match repo {
        Some(repo) => state.update(|known| known.learn(repo).map(|_| known.clone())),
        None => state.load().map(Ok),
    };
    match known {
        Ok(known) => Ok(known?.named.into_keys().collect()),
        Err(AuditError::Repo(e)) => Err(e),
        Err(AuditError::State { doing, path, source }) => Err(RepoError::State { doing, path, source }),
        Err(e) => {
            // Nothing else happens to a state.
            tracing::error!("what the audit trail names is not known: {e}");
            Ok(Vec::new())
        }
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    move |source| AuditError::State { doing, path: path.display().to_string(), source }
}
