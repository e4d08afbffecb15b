//! What came back, without a copy: the view shows through, and what is written lies in the scratch of the drill.

use super::order::Laid;
use crate::plan::stage::{Laying, Stage};
use crate::repo::audit::event::bytes_value;
use crate::sys::layered::{self, Layers};
use crate::types::{path, when::show::exact_name};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Overlays over a mounted history.
#[derive(Debug)]
pub struct Overlays {
    history: PathBuf,
    scratch: PathBuf,
    laid: Mutex<Vec<Laid>>,
}

impl Overlays {
    /// Over the history mounted at `history`; what is written lies in `scratch`.
    pub fn new(history: PathBuf, scratch: PathBuf) -> Overlays {
        Overlays { history, scratch, laid: Mutex::default() }
    }

    /// What has come back so far.
    pub fn laid(&self) -> Vec<Laid> {
        self.laid.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where a path is in the mounted history.
    pub fn in_history(&self, host: Option<&str>, at: crate::types::time::Instant, path: &[u8]) -> PathBuf {
        let mut dir = self.history.clone();
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            dir = dir.join("hosts").join(host);
        }
        let below: Vec<&[u8]> = path::components(path).collect();
        dir.join(format!("@{}", exact_name(at))).join(OsStr::from_bytes(&below.join(&b'/')))
    }

    fn show(&self, from: &Path, to: &Path, (number, alone): (usize, bool)) -> Result<(), String> {
        let cant = |what: &str, e: std::io::Error| format!("cannot {what} {}: {e}", to.display());
        let meta =
            std::fs::symlink_metadata(from).map_err(|e| format!("{} can't be seen in history: {e}", from.display()))?;
        let above = if meta.is_dir() { Some(to) } else { to.parent() };
        if let Some(above) = above {
            std::fs::create_dir_all(above).map_err(|e| cant("make the directory of", e))?;
        }
        if meta.is_dir() {
            let (upper, work) = (self.scratch.join(format!("{number}")), self.scratch.join(format!("{number}.work")));
            let is_empty = std::fs::read_dir(to).map_err(|e| cant("look at", e))?.next().is_none();
            let both = [from, to];
            let lower = if alone || is_empty { &both[..1] } else { &both[..] };
            return layered::mount(&Layers { lower, upper: &upper, work: &work, data: true }, to).map_err(|e| {
                format!(
                    "{}; the state directory has to be on a file system that can lie above an overlay, as ext4, xfs and btrfs can",
                    cant("show history at", e)
                )
            });
        }
        match std::fs::remove_file(to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(cant("replace", e)),
            _ => {}
        }
        match meta.is_symlink() {
            true => {
                let target = std::fs::read_link(from).map_err(|e| cant("read the link for", e))?;
                std::os::unix::fs::symlink(target, to).map_err(|e| cant("make the link", e))
            }
            // A single file is written whole or not at all, so it is one of its own.
            false => std::fs::copy(from, to).map(drop).map_err(|e| cant("copy to", e)),
        }
    }
}

impl Stage for Overlays {
    fn lay(&self, laying: &Laying<'_>) -> Result<(), String> {
        let from = self.in_history(laying.host, laying.at, laying.path);
        let mut laid = self.laid.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(&from, laying.to, (laid.len(), laying.alone))?;
        laid.push(Laid {
            host: laying.host.filter(|host| !host.is_empty()).map(str::to_owned),
            path: bytes_value(laying.path),
            to: bytes_value(laying.to.as_os_str().as_bytes()),
            at_ns: laying.at.0,
            alone: laying.alone,
        });
        Ok(())
    }
}
