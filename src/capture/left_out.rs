//! What capture leaves out of the sources, and so a view says nothing about.

use crate::capture::once::{self, ScopeError};
use crate::capture::scope::{CACHEDIR_SIGNATURE, CACHEDIR_TAG, Scope};
use crate::config::model::{Config, Source};
use crate::types::path;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What capture leaves out of the sources of the settings that are there.
pub struct LeftOut(Vec<(Source, Scope)>);

impl LeftOut {
    /// As the settings have it. A source that is not there now has nothing.
    pub fn of(config: &Config) -> Result<LeftOut, ScopeError> {
        let there = config.sources.iter().filter(|s| s.path.is_dir());
        there.map(|s| Ok((s.clone(), once::scope(config, s)?))).collect::<Result<_, _>>().map(LeftOut)
    }

    /// Whether what stands at an absolute path is left out.
    pub fn has(&self, path: &[u8], is_dir: bool) -> bool {
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
