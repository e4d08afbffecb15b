//! What a restore never removes.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::capture::scope::{CACHEDIR_SIGNATURE, CACHEDIR_TAG, Scope};
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure};
use crate::config::model::Source;
use crate::sys::mounts;
use crate::types::path;

/// What a restore never removes: the repository, the state, and what bygone has mounted.
pub(super) fn guarded(context: &Context) -> Result<Vec<PathBuf>, Failure> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut all: Vec<PathBuf> = context.config.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).collect();
    let mounts = mounts::mounts().explain(|| "cannot read what is mounted")?;
    let own = mounts.into_iter().filter(|m| m.fstype == "fuse.bygone");
    all.extend(own.map(|m| PathBuf::from(std::ffi::OsString::from_vec(m.point))));
    Ok(all)
}

/// What capture leaves out of the sources, and so a view says nothing about.
pub(super) struct LeftOut(Vec<(Source, Scope)>);

impl LeftOut {
    pub(super) fn of(context: &Context) -> Result<LeftOut, Failure> {
        // A source that is not there now has nothing to remove.
        let there = context.config.sources.iter().filter(|s| s.path.is_dir());
        there.map(|s| Ok((s.clone(), open::scope(context, s)?))).collect::<Result<_, _>>().map(LeftOut)
    }

    pub(super) fn has(&self, path: &[u8], is_dir: bool) -> bool {
        self.0.iter().any(|(source, scope)| {
            let root = source.path.as_os_str().as_bytes();
            if path == root || !path::is_within(path, root) {
                return false;
            }
            scope.is_excluded_below(&path[root.len()..], is_dir) || (scope.cachedir_tag && in_cache(path, root))
        })
    }
}

/// Whether a directory above, inside of the source, says that it is a cache.
fn in_cache(path: &[u8], root: &[u8]) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let mut above = path.ancestors().skip(1).take_while(|dir| path::is_within(dir.as_os_str().as_bytes(), root));
    above.any(|dir| {
        let tag = std::fs::File::open(dir.join(std::ffi::OsStr::from_bytes(CACHEDIR_TAG)));
        let mut start = vec![0; CACHEDIR_SIGNATURE.len()];
        tag.is_ok_and(|mut tag| std::io::Read::read_exact(&mut tag, &mut start).is_ok()) && start == CACHEDIR_SIGNATURE
    })
}
