//! The paths that a restore begins with.

use crate::restore::{
    error::RestoreError,
    mapping::Mapping,
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
    let last_names = matches!(request.target, Target::To(_) | Target::Beside { .. }) && !request.mapping.full_paths;
    if !last_names {
        let whole = all.clone();
        all.retain(|p| !whole.iter().any(|other| other != p && path::is_within(p, other)));
        check_moves(&all, request.mapping)?;
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

/// Refuses moves that would take a part out of something that is restored as a whole, and paths that would get in one
/// another's way.
fn check_moves(all: &[Vec<u8>], mapping: &Mapping) -> Result<(), RestoreError> {
    for one in &mapping.moves {
        let inside = all.iter().find(|root| **root != one.from && path::is_within(&one.from, root));
        if let Some(root) = inside {
            return Err(RestoreError::MoveInside { from: path::show(&one.from), root: path::show(root) });
        }
    }
    let mut goes: Vec<(Vec<u8>, &Vec<u8>)> = all.iter().map(|root| (mapping.goes_to(root), root)).collect();
    goes.sort();
    for pair in goes.windows(2) {
        if path::is_within(&pair[1].0, &pair[0].0) {
            return Err(RestoreError::Collide {
                one: path::show(pair[0].1),
                other: path::show(pair[1].1),
                name: match pair[0].0 == pair[1].0 {
                    true => path::show(&pair[0].0),
                    false => format!("{} and what is in it", path::show(&pair[0].0)),
                },
            });
        }
    }
    Ok(())
}
