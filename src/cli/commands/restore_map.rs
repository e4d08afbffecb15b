//! What a restore is to make different, as it was said on the command line.

use std::path::Path;

use crate::cli::args::restore::Restore;
use crate::cli::outcome::Failure;
use crate::cli::past::clean;
use crate::restore::{
    mapping::{Ids, Mapping, Move},
    mode::ModeChange,
};
use crate::sys::users;

/// Reads it.
pub(super) fn mapping(args: &Restore) -> Result<Mapping, Failure> {
    if !args.map_path.is_empty() && !args.in_place && !args.full_paths {
        return Err(Failure::usage(
            "--map-path says where paths go that go where they were: give --in-place or --full-paths",
        ));
    }
    let mut modes = Vec::new();
    for text in &args.chmod {
        modes.extend(ModeChange::parse_all(text).map_err(Failure::usage)?);
    }
    Ok(Mapping {
        users: ids(&args.map_owner, "--map-owner", "user", users::uid_of)?,
        groups: ids(&args.map_group, "--map-group", "group", users::gid_of)?,
        modes,
        moves: args.map_path.iter().map(|text| one_move(text)).collect::<Result<_, _>>()?,
        full_paths: args.full_paths,
    })
}

fn one_move(text: &str) -> Result<Move, Failure> {
    let wrong = || Failure::usage(format!("--map-path {text:?}: write OLD=NEW, both as absolute paths"));
    let (from, to) = text.split_once('=').ok_or_else(wrong)?;
    if !from.starts_with('/') || !to.starts_with('/') {
        return Err(wrong());
    }
    Ok(Move { from: clean(Path::new(from))?, to: clean(Path::new(to))? })
}

fn ids(
    all: &[String],
    option: &str,
    what: &str,
    find: impl Fn(&str) -> std::io::Result<Option<u32>>,
) -> Result<Ids, Failure> {
    let number = |text: &str| -> Result<u32, Failure> {
        // All ones means "leave it" to the kernel.
        if let Some(number) = text.parse().ok().filter(|number| *number != u32::MAX) {
            return Ok(number);
        }
        match find(text) {
            Ok(Some(number)) => Ok(number),
            Ok(None) => Err(Failure::usage(format!("{option}: this machine has no {what} {text:?}"))
                .hint("give its number, or another name")),
            Err(e) => Err(Failure::new(format!("cannot look up the {what} {text:?}")).because(&e)),
        }
    };
    let mut ids = Ids::default();
    for text in all {
        let (old, new) =
            text.split_once('=').filter(|(old, new)| !old.is_empty() && !new.is_empty()).ok_or_else(|| {
                Failure::usage(format!("{option} {text:?}: write OLD=NEW, or all=NEW for everybody else"))
            })?;
        let new = number(new)?;
        let again = match old {
            "all" => ids.rest.replace(new).is_some(),
            old => ids.each.insert(number(old)?, new).is_some(),
        };
        if again {
            return Err(Failure::usage(format!("{option}: what becomes of {old} is said twice")));
        }
    }
    Ok(ids)
}
