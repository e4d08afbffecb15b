//! The digest of a tree: one BLAKE3 hash over the hashes of its entries, in order. `bygone.7` defines it, so that it can be made
//! from any copy of the tree by other means.

use crate::sys::{meta, stat::Stat};
use crate::types::{
    attr::{Kind, Xattrs},
    ids::Hash,
};
use crate::verify::tree::aspects::{Aspect, Ignored};
use std::fmt::Write as _;

/// What an entry is besides its attributes.
pub(super) enum Body<'a> {
    /// Nothing: a directory, a fifo.
    None,
    /// The BLAKE3 hash of the content of a file.
    Content(blake3::Hash),
    /// The target of a symbolic link.
    Target(&'a [u8]),
    /// Another name of a file: its first one.
    LinkTo(&'a [u8]),
}

/// The hash of an entry. Each field ends with a NUL byte; what is left out of the comparison, or means nothing for the type, is `-`.
pub(super) fn entry(path: &[u8], now: &Stat, xattrs: &Xattrs, flags: u32, body: &Body<'_>, ignored: &Ignored) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let mut field = |text: &[u8]| {
        hasher.update(text);
        hasher.update(&[0]);
    };
    let kept = |aspect: Aspect, text: String| if ignored.has(aspect) { "-".to_owned() } else { text };
    field(if path.is_empty() { b"." } else { path });
    let kind = now.kind().unwrap_or(Kind::Socket);
    field(word(kind).as_bytes());
    if let Body::LinkTo(first) = body {
        field(first);
        return Hash(*hasher.finalize().as_bytes());
    }
    let mode = if kind == Kind::Symlink { "-".into() } else { format!("{:04o}", now.mode & 0o7777) };
    field(kept(Aspect::Mode, mode).as_bytes());
    field(kept(Aspect::Owner, format!("{}:{}", now.uid, now.gid)).as_bytes());
    field(kept(Aspect::Times, format!("{}.{:09}", now.mtime.sec, now.mtime.nsec)).as_bytes());
    field(kept(Aspect::Xattrs, shown(xattrs)).as_bytes());
    field(kept(Aspect::Flags, format!("{:x}", flags & meta::SETTABLE_FLAGS)).as_bytes());
    match body {
        Body::Content(hash) => field(hash.to_hex().as_bytes()),
        Body::Target(target) => field(target),
        Body::None | Body::LinkTo(_) if matches!(kind, Kind::CharDevice | Kind::BlockDevice) => {
            let rdev = format!("{}:{}", rustix::fs::major(now.rdev), rustix::fs::minor(now.rdev));
            field(rdev.as_bytes());
        }
        Body::None | Body::LinkTo(_) => field(b"-"),
    }
    Hash(*hasher.finalize().as_bytes())
}

/// The hash of a directory above the roots of sources: it was not captured, only its name counts.
pub(super) fn above(path: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(if path.is_empty() { b"." } else { path }).update(b"\0above\0");
    Hash(*hasher.finalize().as_bytes())
}

/// The digest of the whole tree, from the hashes of its entries with their numbers.
pub(super) fn tree(mut entries: Vec<(u64, Hash)>) -> Hash {
    entries.sort_unstable_by_key(|(number, _)| *number);
    let mut hasher = blake3::Hasher::new();
    for (_, hash) in &entries {
        hasher.update(&hash.0);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// Extended attributes as text: names and values in hexadecimal digits.
pub(super) fn shown(xattrs: &Xattrs) -> String {
    let mut text = String::new();
    for (name, value) in xattrs {
        let (name, value) = (data_encoding::HEXLOWER.encode(name), data_encoding::HEXLOWER.encode(value));
        // Writing to a string does not fail.
        let _ = write!(text, "{name}={value},");
    }
    text
}

/// A type as a word.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Dir => "directory",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char-device",
        Kind::BlockDevice => "block-device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}
