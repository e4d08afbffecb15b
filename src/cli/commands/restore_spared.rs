//! What a restore never removes.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::outcome::{Explain as _, Failure};
use crate::sys::mounts;

/// What a restore never removes: the repository, the state, and what bygone has mounted.
pub(super) fn guarded(context: &Context) -> Result<Vec<PathBuf>, Failure> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut all: Vec<PathBuf> = context.config.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).collect();
    let mounts = mounts::mounts().explain(|| "cannot read what is mounted")?;
    let own = mounts.into_iter().filter(|m| m.fstype == "fuse.bygone");
    all.extend(own.map(|m| PathBuf::from(std::ffi::OsString::from_vec(m.point))));
    Ok(all)
}
