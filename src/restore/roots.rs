//! The paths that a restore begins with.

use crate::restore::{
    error::RestoreError,
    plan::{Request, Target},
};
use crate::types::path;
use std::collections::HashMap;

/// The paths without doubles, and in place without those inside of another.
pub(super) fn roots(request: &Request<'_>) -> Result<Vec<Vec<u8>>, RestoreError> {
    let clean = |p: &Vec<u8>| {
        let mut out = vec![b'/'];
        out.extend(path::components(p).collect::<Vec<_>>().join(&b'/'));
        out
    };
    let mut all: Vec<Vec<u8>> = request.paths.iter().map(clean).collect();
    all.sort();
    all.dedup();
    if let Target::InPlace { .. } = request.target {
        let whole = all.clone();
        all.retain(|p| !whole.iter().any(|other| other != p && path::is_within(p, other)));
        return Ok(all);
    }
    let mut names: HashMap<Vec<u8>, &Vec<u8>> = HashMap::new();
    for one in &all {
        // The root stands for everything in it, so nothing goes beside it.
        let name = path::components(one).last().unwrap_or_default().to_vec();
        let other = names.get(&name).copied().or_else(|| {
            (name.is_empty() || names.contains_key(&b""[..])).then(|| names.values().next().copied()).flatten()
        });
        if let Some(other) = other {
            return Err(RestoreError::Collide {
                one: path::show(other),
                other: path::show(one),
                name: if name.is_empty() { "the directory itself".into() } else { path::show(&name) },
            });
        }
        names.insert(name, one);
    }
    Ok(all)
}
