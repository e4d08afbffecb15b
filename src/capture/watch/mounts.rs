//! The file systems mounted below a root, and what changes among them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::sys::overlay;
use crate::types::path::is_within;

/// File systems that hold no files of anybody: they are neither watched nor worth capturing. Listing some of them
/// mounts others or never ends.
pub const PSEUDO: &[&str] = &[
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.bygone",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// One mounted file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// A number that is not used again, where the kernel has such (6.8).
    pub id: u64,
    /// Its device, as `major:minor`.
    pub device: Vec<u8>,
    /// Where it is mounted, absolute.
    pub point: Vec<u8>,
    /// The kind of file system.
    pub kind: Vec<u8>,
    /// The device, or what the mounter said.
    pub source: Vec<u8>,
}

impl Mount {
    /// Whether it holds no files of anybody, or is captured only when it is a plain directory again.
    pub fn is_pseudo(&self) -> bool {
        PSEUDO.iter().any(|kind| kind.as_bytes() == self.kind) || overlay::gives_back(&self.kind, &self.source)
    }
}

/// What was mounted and unmounted between two looks.
#[derive(Debug, Default)]
pub struct Change {
    /// No longer there.
    pub gone: Vec<Mount>,
    /// There now.
    pub new: Vec<Mount>,
}

/// The mounts strictly below one root.
#[derive(Debug)]
pub struct Mounts {
    table: File,
    below: BTreeMap<Vec<u8>, Mount>,
}

impl Mounts {
    /// Opens the kernel's table; no mounts are known until the first [`Mounts::refresh`].
    pub fn open() -> io::Result<Mounts> {
        Ok(Mounts { table: File::open("/proc/self/mountinfo")?, below: BTreeMap::new() })
    }

    /// Whether the table has changed since the last time this was asked.
    pub fn changed(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.table, PollFlags::PRI)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(!fds[0].revents().is_empty())
    }

    /// Reads the table again and tells what is different below `root`.
    pub fn refresh(&mut self, root: &[u8]) -> io::Result<Change> {
        let mut text = Vec::new();
        self.table.rewind()?;
        self.table.read_to_end(&mut text)?;
        let mut below = BTreeMap::new();
        for mut mount in parse(&text).filter(|m| m.point != root && is_within(&m.point, root)) {
            if !mount.is_pseudo() {
                mount.id = unique_id(&mount.point).unwrap_or(mount.id);
            }
            // Of several at one point the last is on top.
            below.insert(mount.point.clone(), mount);
        }
        let missing_in = |a: &BTreeMap<Vec<u8>, Mount>, b: &BTreeMap<Vec<u8>, Mount>| {
            // A mount of our own history hides an empty directory: nothing is missed by it.
            let told = |m: &&Mount| b.get(&m.point) != Some(m) && m.kind != b"fuse.bygone";
            a.values().filter(told).cloned().collect::<Vec<_>>()
        };
        let change = Change { gone: missing_in(&self.below, &below), new: missing_in(&below, &self.below) };
        self.below = below;
        Ok(change)
    }

    /// The mounts found by the last [`Mounts::refresh`].
    pub fn below(&self) -> impl Iterator<Item = &Mount> {
        self.below.values()
    }
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.table.as_fd()
    }
}

/// The number in the table is given again at once: a file system unmounted and mounted anew would look the same.
fn unique_id(point: &[u8]) -> Option<u64> {
    /// STATX_MNT_ID_UNIQUE
    const MNT_ID_UNIQUE: u32 = 0x4000;
    let wanted = StatxFlags::from_bits_retain(MNT_ID_UNIQUE);
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let found = statx(CWD, OsStr::from_bytes(point), flags, wanted).ok()?;
    (found.stx_mask & MNT_ID_UNIQUE != 0).then_some(found.stx_mnt_id)
}

fn parse(text: &[u8]) -> impl Iterator<Item = Mount> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let dash = fields.iter().position(|f| *f == b"-")?;
        Some(Mount {
            id: std::str::from_utf8(fields.first()?).ok()?.parse().ok()?,
            device: fields.get(2)?.to_vec(),
            point: unescape(fields.get(4)?),
            kind: fields.get(dash + 1)?.to_vec(),
            source: unescape(fields.get(dash + 2)?),
        })
    })
}

/// `\040` and the like, back to bytes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let value = octal.and_then(|d| u8::try_from(d.iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0'))).ok());
        out.push(value.unwrap_or(first));
        rest = if value.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let text = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134 rw,noatime shared:1 master:2 - ext3 /dev/root rw\nbad\n\
                     27 1 0:5 / / rw - proc proc rw\n";
        let all: Vec<_> = parse(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].point.as_slice(), all[0].kind.as_slice()), (&b"/mnt/a b\\"[..], &b"ext3"[..]));
        assert!(all[1].is_pseudo() && !all[0].is_pseudo());
    }

    #[test]
    fn the_first_look_finds_what_is_below() {
        let mut mounts = Mounts::open().unwrap();
        assert!(!mounts.refresh(b"/").unwrap().new.is_empty());
        assert!(mounts.below().any(|m| m.point == b"/proc" && m.is_pseudo()));
        assert!(mounts.below().all(|m| m.point != b"/"));
    }
}
