//! How the root of a source is reached. A directory whose path has become a symbolic link is another one, and may be one that whoever
//! put the link there can't read; a source that was reached through a link from the first may be led elsewhere by it.

use crate::capture::report::CaptureError;
use crate::repo::{error::RepoError, write::writer_lock};
use crate::sys::durable;
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

const DIRECT: &str = "direct\n";
const LINKED: &str = "through a link\n";

/// The way to a root.
pub(super) struct Way {
    /// Where it is noted on this host.
    note: PathBuf,
    noted: Option<String>,
    now: &'static str,
}

impl Way {
    /// The way to `root` now. Fails where it leads through a link and did not when the source was captured last on this host.
    pub(super) fn of(state: &Path, root: &[u8]) -> Result<Way, CaptureError> {
        let note = writer_lock(state, root).with_extension("way");
        let failed = |source| CaptureError::Root { root: root.to_vec(), source };
        let real = std::fs::canonicalize(OsStr::from_bytes(root)).map_err(failed)?;
        let noted = match std::fs::read_to_string(&note) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(state_failed("read", &note, source)),
        };
        let is_direct = real.as_os_str().as_bytes() == root;
        if !is_direct && noted.as_deref() == Some(DIRECT) {
            return Err(CaptureError::Linked { root: root.to_vec(), to: real.into_os_string().into_vec() });
        }
        Ok(Way { note, noted, now: if is_direct { DIRECT } else { LINKED } })
    }

    /// Notes it for the next time.
    pub(super) fn note(&self) -> Result<(), CaptureError> {
        if self.noted.as_deref() == Some(self.now) {
            return Ok(());
        }
        durable::replace(&self.note, self.now.as_bytes(), 0o600)
            .map_err(|e| state_failed("write", &self.note, e.into()))
    }
}

fn state_failed(doing: &'static str, path: &Path, source: io::Error) -> CaptureError {
    RepoError::State { doing, path: path.display().to_string(), source }.into()
}
