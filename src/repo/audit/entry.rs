//! An entry as it is stored: one line of JSON, whose hash is that of its bytes.

use crate::crypto::seal::ObjectKind;
use crate::repo::{
    audit::{place::Place, who::Who},
    error::{Damage, RepoError},
    open::Repository,
    sealed,
};
use crate::types::{
    ids::{Hash, Id},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version that is written.
const VERSION: u32 = 1;

/// Another entry, named by its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Its run, `<host>/<epoch>`.
    pub run: String,
    /// Its number.
    pub number: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Its time.
    pub time_ns: i64,
}

/// What an entry states.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The version of its form.
    pub version: u32,
    /// The id of the repository.
    pub repository: String,
    /// Its run, `<host>/<epoch>`.
    pub run: String,
    /// Its number in the run, from 0.
    pub number: u64,
    /// The hash of the entry before it in the run; zeros for the first.
    pub previous: String,
    /// The newest entries of other runs that were known and that no other entry known here names.
    pub parents: Vec<Link>,
    /// When it was written.
    pub time_ns: i64,
    /// By whom.
    pub who: Who,
    /// What was done.
    pub kind: String,
    /// What it was done to.
    pub subject: Map<String, Value>,
    /// How it ended.
    pub outcome: String,
    /// More about it.
    pub details: Map<String, Value>,
}

impl Entry {
    /// Its time.
    pub fn time(&self) -> Instant {
        Instant(self.time_ns)
    }

    /// A number of its details, 0 where there is none.
    pub fn count(&self, detail: &str) -> u64 {
        self.details.get(detail).and_then(Value::as_u64).unwrap_or(0)
    }

    pub(super) fn version() -> u32 {
        VERSION
    }
}

/// An entry with what it was read from.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    /// Where it stands.
    pub place: Place,
    /// The text whose hash it has.
    pub text: String,
    /// The hash.
    pub hash: Hash,
    /// What it states.
    pub entry: Entry,
}

/// The detail of an entry in which the names of entries stand that are missing or altered, and accepted to be.
pub const ACCEPTED: &str = "accepted_entries";

/// The names of the entries that are missing or altered and that this one says are accepted to be.
pub fn accepted(entry: &Entry) -> Vec<String> {
    let names = entry.details.get(ACCEPTED).and_then(Value::as_array);
    names.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

/// The hash of an entry's text: BLAKE3 without a key, so that whoever has the text can compute it.
pub fn hash(text: &[u8]) -> Hash {
    Hash(*blake3::hash(text).as_bytes())
}

/// A hash of 64 hexadecimal digits.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    Some(Hash(bytes.try_into().ok()?))
}

/// Reads the entry at a place. What it states of its own place must be true.
pub fn read(repo: &Repository, place: &Place) -> Result<Stored, RepoError> {
    let name = place.name();
    let plain = sealed::read(repo, ObjectKind::Audit, &name)?;
    let damaged = |what: &str| repo.damaged(&name, "entry", Damage::other(what));
    let text = String::from_utf8(plain).map_err(|_| damaged("it is no text"))?;
    let entry: Entry = serde_json::from_str(&text).map_err(|e| damaged(&format!("it is no entry: {e}")))?;
    if entry.version != VERSION {
        return Err(damaged(&format!("it has version {}, and this program reads version {VERSION}", entry.version)));
    }
    if entry.run != place.run.to_string() || entry.number != place.number {
        return Err(damaged("it states another place than its own"));
    }
    if Id::parse(&entry.repository) != Some(repo.id()) {
        return Err(damaged("it belongs to another repository"));
    }
    Ok(Stored { place: place.clone(), hash: hash(text.as_bytes()), text, entry })
}
