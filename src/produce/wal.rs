//! WAL segments: pushed by the server, looked for by one that recovers, and looked at for gaps.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{dir, durable, make};

/// Why a file of WAL was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The server names its files otherwise.
    #[error("{0:?} is not the name of a file of WAL: give %p and %f, as the server replaces them")]
    Name(String),
    /// There is another file of that name.
    #[error(
        "{} is there already with another content: two servers push to one source, or a restored one goes on with the \
         timeline of the first. Nothing was changed; give each server a source of its own",
        .0.display()
    )]
    Differs(PathBuf),
    /// A file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] durable::Error),
}

/// The largest segment that a server can be built to write.
const SEGMENT_MAX: u64 = 1 << 30;

/// Takes the file `path` of the server as `name` into `to`. When it returns, the file and its name are on the disk. The
/// same file once more is fine; another one of that name is an error, and changes nothing.
pub fn push(path: &Path, name: &str, to: &Path) -> Result<(), WalError> {
    if !is_wal(name) {
        return Err(WalError::Name(name.to_owned()));
    }
    let target = to.join(name);
    let bytes = read(path)?;
    durable::create_dirs(to, 0o700)?;
    match durable::write_new(&target, &bytes, 0o600) {
        Err(durable::Error::Exists { .. }) => {}
        other => return Ok(other?),
    }
    if read(&target)? != bytes {
        return Err(WalError::Differs(target));
    }
    // The one before may have been cut off between the rename and its end.
    durable::sync_file(&target)?;
    Ok(durable::sync_dir(to)?)
}

fn read(path: &Path) -> Result<Vec<u8>, WalError> {
    let failed = |source| WalError::Read { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > SEGMENT_MAX {
        return Err(failed(io::Error::other("it is larger than any segment")));
    }
    std::fs::read(path).map_err(failed)
}

/// Copies the file `name` of the directory `from` to `to`, durably and whole. False where it is not there.
///
/// A segment that was being received when it was captured is given as the segment: recovery ends where it ends.
pub fn fetch(from: &Path, name: &str, to: &Path) -> Result<bool, WalError> {
    for name in candidates(name)? {
        let path = from.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => {
                durable::replace(to, &read(&path)?, 0o600)?;
                return Ok(true);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(WalError::Read { path, source }),
        }
    }
    Ok(false)
}

/// The names under which a file of WAL may be kept, the best first.
pub fn candidates(name: &str) -> Result<Vec<String>, WalError> {
    if !is_wal(name) {
        return Err(WalError::Name(name.to_owned()));
    }
    let mut names = vec![name.to_owned()];
    if is_segment(name) {
        names.push(format!("{name}.partial"));
    }
    Ok(names)
}

/// Whether it is the name of a whole segment.
pub fn is_segment(name: &str) -> bool {
    is_hex(name, 24)
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
}

/// Whether it is the name of any file that a server archives: a segment, part of one, a history of timelines, the note of a
/// base backup.
pub fn is_wal(name: &str) -> bool {
    match name.split_once('.') {
        None => is_segment(name),
        Some((timeline, "history")) => is_hex(timeline, 8),
        Some((segment, "partial")) => is_segment(segment),
        Some((segment, rest)) => {
            is_segment(segment) && rest.strip_suffix(".backup").is_some_and(|offset| is_hex(offset, 8))
        }
    }
}

/// The names in a directory; none where it is not there.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let fd = match dir::open_root(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let (mut listing, mut buf) = (dir::Listing::new(), Vec::new());
    dir::list(fd, &mut buf, &mut listing)?;
    listing.sort_by_name();
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).ok();
    Ok(listing.iter().filter_map(|n| text(n.name)).filter(|n| !n.starts_with(make::TEMP_PREFIX)).collect())
}

/// Whether a segment is there, or what was received of it.
pub(super) fn has(dir: &Path, segment: &str) -> bool {
    dir.join(segment).exists() || dir.join(format!("{segment}.partial")).exists()
}

/// The segments that are missing between those that are there, from `first` on, a line for each gap.
pub fn gaps(dir: &Path, first: Option<&str>) -> io::Result<Vec<String>> {
    let all = names(dir)?;
    let mut size = 16 << 20;
    let mut timelines: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    if let Some(segment) = all.iter().find(|name| is_segment(name)) {
        size = std::fs::metadata(dir.join(segment))?.len();
    }
    if !size.is_power_of_two() || !(1 << 20..=SEGMENT_MAX).contains(&size) {
        return Err(io::Error::other(format!("a segment of WAL has {size} bytes, which none can have")));
    }
    let per_log = (1 << 32) / size;
    for name in all.iter().filter(|name| is_wal(name)) {
        let segment = name.strip_suffix(".partial").unwrap_or(name);
        if is_segment(segment) && first.is_none_or(|first| segment[8..] >= first[8..]) {
            timelines.entry(&segment[..8]).or_default().push(number(segment, per_log));
        }
    }
    let mut gaps = Vec::new();
    for (timeline, mut numbers) in timelines {
        numbers.sort_unstable();
        numbers.dedup();
        for pair in numbers.windows(2).filter(|pair| pair[1] - pair[0] > 1) {
            let name = |n: u64| format!("{timeline}{:08X}{:08X}", n / per_log, n % per_log);
            let count = pair[1] - pair[0] - 1;
            gaps.push(format!(
                "timeline {timeline}: {count} segment(s) are missing between {} and {}: recovery can't pass there; a new base \
                 (`bygone snapshot --tier full`) is needed to recover to later times",
                name(pair[0]),
                name(pair[1])
            ));
        }
    }
    Ok(gaps)
}

/// The number of a segment on its timeline. The name has been looked at.
fn number(segment: &str, per_log: u64) -> u64 {
    let part = |range| u64::from_str_radix(&segment[range], 16).unwrap_or(0);
    part(8..16) * per_log + part(16..24)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = dir.join(name);
        durable::replace(&path, content, 0o600).unwrap();
        path
    }

    #[test]
    fn names_that_a_server_gives() {
        for good in [
            "000000010000000000000002",
            "000000010000000000000002.partial",
            "00000002.history",
            "000000010000000000000002.00000028.backup",
        ] {
            assert!(is_wal(good), "{good}");
        }
        for wrong in ["", "../x", "00000001000000000000000g", "x.history", "000000010000000000000002.tmp", "a/b"] {
            assert!(!is_wal(wrong), "{wrong}");
        }
    }

    #[test]
    fn pushing_is_idempotent_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let (name, to) = ("000000010000000000000002", dir.path().join("wal"));
        let one = write(dir.path(), "one", b"one");
        push(&one, name, &to).unwrap();
        push(&one, name, &to).unwrap();
        let two = write(dir.path(), "two", b"two");
        assert!(matches!(push(&two, name, &to), Err(WalError::Differs(_))));
        assert_eq!(std::fs::read(to.join(name)).unwrap(), b"one");
        assert!(matches!(push(&one, "../evil", &to), Err(WalError::Name(_))));
    }

    #[test]
    fn fetching_says_what_is_not_there_and_takes_part_of_a_segment() {
        let dir = tempfile::tempdir().unwrap();
        let (name, to) = ("000000010000000000000002", dir.path().join("to"));
        assert!(!fetch(dir.path(), name, &to).unwrap() && !to.exists());
        write(dir.path(), &format!("{name}.partial"), b"part");
        assert!(fetch(dir.path(), name, &to).unwrap());
        assert_eq!(std::fs::read(&to).unwrap(), b"part");
        write(dir.path(), name, b"whole");
        assert!(fetch(dir.path(), name, &to).unwrap());
        assert_eq!(std::fs::read(&to).unwrap(), b"whole");
    }

    #[test]
    fn gaps_are_found_on_each_timeline() {
        let dir = tempfile::tempdir().unwrap();
        let segment = |name: &str| {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_len(16 << 20).unwrap();
        };
        for name in ["0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000000"] {
            segment(name);
        }
        assert_eq!(gaps(dir.path(), None).unwrap(), [""; 0], "the next log file follows");
        segment("000000010000000100000003.partial");
        segment("000000020000000100000009");
        write(dir.path(), "00000002.history", b"x");
        let found = gaps(dir.path(), None).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("2 segment(s) are missing between 000000010000000100000000 and"), "{found:?}");
        assert_eq!(gaps(dir.path(), Some("000000010000000100000003")).unwrap(), [""; 0]);
        assert!(!names(&dir.path().join("none")).unwrap().iter().any(|_| true));
    }
}
