//! Changing the configuration file, safely.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::outcome::{Explain as _, Failure};
use crate::config::edit::EditError;
use crate::config::model::Config;
use crate::config::{check, load};
use crate::sys::durable;

/// Changes the text of the file by `edit` and writes it, if the result reads well and its sources do not overlap. The file
/// and its directory are made if they are not there; permissions stay, and a link stays a link. The new settings.
pub fn change(context: &Context, edit: impl FnOnce(&str) -> Result<String, EditError>) -> Result<Config, Failure> {
    change_if_needed(context, edit).map(|(config, _)| config)
}

/// As [`change`], and whether anything was written: a text that says everything already stays as it is.
pub fn change_if_needed(
    context: &Context,
    edit: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<(Config, bool), Failure> {
    let path = target(&context.config.path)?;
    let old = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Failure::new(format!("cannot read the configuration {}", path.display())).because(&e)),
    };
    let new = edit(&old).explain(|| format!("cannot change the configuration {}", path.display()))?;
    let config = load::parse(&new, &context.config.path, &context.places).into_failure()?;
    let problems = check::overlaps(&config.sources).into_iter().chain(check::own(&config));
    if let Some(problem) = problems.into_iter().next() {
        return Err(Failure::new(problem.what).hint(problem.cure));
    }
    let is_written = new == old && path.exists();
    if !is_written {
        write(&path, &new)?;
    }
    Ok((config, !is_written))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let what = || format!("cannot write the configuration {}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).explain(what)?;
    }
    let mode = std::fs::metadata(path).map_or(0o644, |m| m.permissions().mode() & 0o7777);
    durable::replace(path, text.as_bytes(), mode).explain(what)
}

/// The file behind the links of `path`; `path` itself where there is none yet.
fn target(path: &Path) -> Result<PathBuf, Failure> {
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(e) => Err(Failure::new(format!("cannot find the configuration {}", path.display())).because(&e)),
    }
}
