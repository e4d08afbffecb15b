//! Comparing a directory with a view: one thread walks, several read files.

use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::attach::Attached;
use crate::sys::{dir, process};
use crate::types::path;
use crate::verify::tree::{
    aspects::Ignored,
    beside::Walk,
    digest,
    readers::Readers,
    report::{Report, TreeError},
};
use crate::view::instant::{Object, View};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

/// How many files may wait for a reader; each may hold its directory open.
const WAITING_FILES: usize = 256;

/// What is compared with what.
pub struct Request<'a> {
    /// The tree as of the time.
    pub view: &'a View,
    /// The directory in it, absolute.
    pub path: &'a [u8],
    /// The directory on disk.
    pub dir: &'a Path,
    /// What is left out.
    pub ignored: &'a Ignored,
}

/// Compares the directory with the view, by the index and the keys alone: no pack is read. `stop` ends it early.
///
/// All that differs and all that can't be read is in the report. An error means that nothing is known.
pub fn verify(
    at: &Attached,
    request: &Request<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Report, TreeError> {
    // An auditor's key can't: said once, and not of each file.
    at.repo().keys().chunk_hasher()?;
    let index = at.reader()?;
    let shown = || path::show(request.path);
    let object = request.view.look_up(&index, request.path)?.ok_or_else(|| TreeError::NotThere { path: shown() })?;
    if matches!(&object, Object::Node(_, row) if !row.node.is_dir()) {
        return Err(TreeError::NotADirectory { path: shown() });
    }
    let root = dir::open_root(request.dir)
        .map_err(|source| TreeError::Directory { path: request.dir.display().to_string(), source })?;
    progress.start("comparing", None);
    let (send, receive) = sync_channel(WAITING_FILES);
    let receive = Arc::new(Mutex::new(receive));
    let failed = AtomicBool::new(false);
    let readers = Readers { at, ignored: request.ignored, progress, stop, failed: &failed };
    let threads = (2 * process::cpus()).clamp(2, 16);
    let (walked, read) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let (receive, readers) = (receive.clone(), &readers);
                scope.spawn(move || readers.run(&receive))
            })
            .collect();
        drop(receive);
        let walk = Walk::new(&index, request, root, &readers, send);
        let walked = walk.run(object);
        let read: Vec<_> =
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect();
        (walked, read)
    });
    progress.finish();
    let (mut report, mut entries) = walked?;
    for result in read {
        let (more, hashes) = result?;
        report.merge(more);
        entries.extend(hashes);
    }
    still_there(&index, request)?;
    report.stopped |= stop.load(Ordering::Relaxed);
    report.differences.sort_by(|a, b| a.path.cmp(&b.path));
    report.digest = report.is_equal().then(|| digest::tree(entries));
    Ok(report)
}

/// A snapshot that is released meanwhile takes rows with it.
fn still_there(index: &Reader, request: &Request<'_>) -> Result<(), TreeError> {
    for part in request.view.parts_at(request.path) {
        if index.snapshot(part.source.num, part.snapshot.number)?.as_ref() != Some(&part.snapshot) {
            return Err(TreeError::Released { path: path::show(&part.source.root) });
        }
    }
    Ok(())
}
