//! What legal holds touch of the history that there is.

use crate::index::{error::IndexError, tree::Reader};
use crate::types::{
    hold::{Hold, Shown},
    path,
    snapshot::{Snapshot, Source},
    time::Instant,
};
use std::collections::BTreeSet;

/// A snapshot that is touched, and the paths of it that are in scope.
pub type Touched = (Snapshot, BTreeSet<Vec<u8>>);

/// The snapshots of a source that any of the holds touches, each with the paths that are in scope.
pub fn touched(index: &Reader, holds: &[Hold], source: &Source) -> Result<Vec<Touched>, IndexError> {
    let all = index.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), i64::MAX as usize)?;
    let mut found = Vec::new();
    for (n, snapshot) in all.iter().enumerate() {
        let shown = Shown { from: snapshot.time, next: all.get(n + 1).map(|next| next.time) };
        let touching = holds.iter().filter(|hold| hold.touches(shown, source));
        let paths: BTreeSet<Vec<u8>> = touching.flat_map(|hold| within(hold, source)).collect();
        if !paths.is_empty() {
            found.push((snapshot.clone(), paths));
        }
    }
    Ok(found)
}

/// How many snapshots a hold touches, of all hosts.
pub fn count(index: &Reader, hold: &Hold) -> Result<u64, IndexError> {
    let mut count = 0;
    for source in index.sources()? {
        count += touched(index, std::slice::from_ref(hold), &source)?.len() as u64;
    }
    Ok(count)
}

/// The paths of a source that a hold is about.
fn within(hold: &Hold, source: &Source) -> Vec<Vec<u8>> {
    if hold.scope.paths.iter().any(|p| path::is_within(&source.root, p)) || hold.scope.paths.is_empty() {
        return vec![source.root.clone()];
    }
    hold.scope.paths.iter().filter(|p| path::is_within(p, &source.root)).cloned().collect()
}
