//! What was measured of a source when a snapshot of it was taken. It stands in the entry of that snapshot: the names for every role,
//! what was measured and the values for those only who read content.

use crate::index::error::IndexError;
use crate::repo::{
    audit::{
        entry,
        event::{Kind, value_bytes},
        place::{Place, Run, host_id},
    },
    error::RepoError,
    names::AUDIT,
    open::Repository,
};
use crate::types::{
    ids::{Generation, Snap},
    snapshot::Snapshot,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The detail of an entry in which it stands.
pub const DETAIL: &str = "invariants";

/// One value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Value {
    /// The name of the invariant.
    pub name: String,
    /// What was measured, in a line.
    pub definition: String,
    /// What it came to.
    pub value: String,
}

/// The values of one snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// The snapshot.
    pub snapshot: Snap,
    /// Its time in nanoseconds.
    pub time_ns: i64,
    /// The values.
    pub values: Vec<Value>,
}

/// The values of a snapshot, as they stand in an entry.
pub fn seal(repo: &Repository, snapshot: &Snapshot, values: &[Value]) -> Result<Json, RepoError> {
    let plain = serde_json::to_vec(values).map_err(|_| IndexError::Damaged("a value can't be written"))?;
    let (generation, sealed) = repo.keys().seal_to_readers(&place(&snapshot.hash.to_string()), &plain)?;
    Ok(json!({
        "snapshot": snapshot.number.0, "time_ns": snapshot.time.0, "hash": snapshot.hash.to_string(),
        "names": values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(),
        "generation": generation.to_string(), "sealed_base64": data_encoding::BASE64.encode(&sealed),
    }))
}

/// Where sealed values stand: with the snapshot whose record has this hash.
fn place(hash: &str) -> Vec<u8> {
    format!("invariants {hash}").into_bytes()
}

/// The newest values of a source of a host that were measured with a snapshot up to this one. What can't be read of the trail is
/// told, and passed over.
pub fn newest(repo: &Repository, host: &str, root: &[u8], upto: Snap) -> Result<Option<Measured>, RepoError> {
    let mut runs: BTreeMap<Run, Vec<u64>> = BTreeMap::new();
    for object in repo.store().list(&format!("{AUDIT}{}/", host_id(repo, host)))? {
        if let Some(Place { run, number }) = Place::parse(&object.name) {
            runs.entry(run).or_default().push(number);
        }
    }
    // Runs may overlap: within each, entries are in the order of their times, and so of the snapshots of a source.
    let mut best: Option<(i64, Measured)> = None;
    for (run, mut numbers) in runs.into_iter().rev() {
        numbers.sort_unstable();
        for number in numbers.into_iter().rev() {
            let place = Place { run: run.clone(), number };
            let entry = match entry::read(repo, &place) {
                Ok(stored) => stored.entry,
                Err(e) if e.is_damage() => {
                    tracing::error!(
                        "an entry of the audit trail can't be read, and what it may say of invariants: {e}"
                    );
                    continue;
                }
                Err(e) => return Err(e),
            };
            if best.as_ref().is_some_and(|(time, _)| entry.time_ns <= *time) {
                break;
            }
            let is_of = entry.kind == Kind::Snapshot.word()
                && entry.subject.get("host").and_then(Json::as_str) == Some(host)
                && entry.subject.get("source").and_then(value_bytes).as_deref() == Some(root);
            let Some(detail) = entry.details.get(DETAIL).filter(|_| is_of) else { continue };
            if detail.get("snapshot").and_then(Json::as_u64).is_none_or(|snapshot| snapshot > upto.0) {
                continue;
            }
            let measured = open(repo, detail)?.ok_or_else(|| {
                let why = crate::repo::error::Damage::other("what it says of invariants is not what was written");
                repo.damaged(&place.name(), "entry", why)
            })?;
            best = Some((entry.time_ns, measured));
            break;
        }
    }
    Ok(best.map(|(_, measured)| measured))
}

fn open(repo: &Repository, detail: &Json) -> Result<Option<Measured>, RepoError> {
    let text = |name: &str| detail.get(name).and_then(Json::as_str);
    let (Some(snapshot), Some(time_ns), Some(hash), Some(generation), Some(sealed)) = (
        detail.get("snapshot").and_then(Json::as_u64),
        detail.get("time_ns").and_then(Json::as_i64),
        text("hash"),
        text("generation").and_then(Generation::parse),
        text("sealed_base64").and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok()),
    ) else {
        return Ok(None);
    };
    let plain = repo.keys().open_as_reader(generation, &place(hash), &sealed)?;
    Ok(serde_json::from_slice(&plain).ok().map(|values| Measured { snapshot: Snap(snapshot), time_ns, values }))
}
