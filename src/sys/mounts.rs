//! The mount table of this process, from `/proc/self/mountinfo`.

use std::io;

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Its number, as `statx` gives it.
    pub id: u64,
    /// The number of the mount it is mounted on.
    pub parent: u64,
    /// Device number. On btrfs it is not the `st_dev` of the files, which differs from subvolume to subvolume.
    pub dev: u64,
    /// The directory of the file system that is the root of this mount (a subvolume, or what a bind mount shows).
    pub root: Vec<u8>,
    /// Where it is mounted, as this process sees it.
    pub point: Vec<u8>,
    /// `ext4`, `fuse.bygone`, ...
    pub fstype: String,
    /// The device, or what the mounter said.
    pub source: Vec<u8>,
    /// Options of the mount: `rw`, `nosuid`, ...
    pub options: Vec<u8>,
    /// Options of the file system.
    pub super_options: Vec<u8>,
}

/// File systems that show the kernel's state and hold no files of anyone.
const PSEUDO: [&str; 26] = [
    "proc",
    "sysfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "fusectl",
    "mqueue",
    "hugetlbfs",
    "binfmt_misc",
    "autofs",
    "efivarfs",
    "nsfs",
    "rpc_pipefs",
    "selinuxfs",
    "smackfs",
    "pipefs",
    "sockfs",
    "resctrl",
    "binder",
    "devtmpfs",
];

impl Mount {
    /// Whether it shows the kernel's state and holds no files of anyone.
    pub fn is_pseudo(&self) -> bool {
        PSEUDO.contains(&self.fstype.as_str())
    }

    /// Whether the mount is read-only.
    pub fn is_read_only(&self) -> bool {
        let has_ro = |options: &[u8]| options.split(|b| *b == b',').any(|o| o == b"ro");
        has_ro(&self.options) || has_ro(&self.super_options)
    }
}

/// All mounts this process sees, in the kernel's order: of two at one place, the later one lies on top.
pub fn mounts() -> io::Result<Vec<Mount>> {
    parse(&std::fs::read("/proc/self/mountinfo")?)
}

/// The mounts in the text of a `mountinfo` file.
pub fn parse(text: &[u8]) -> io::Result<Vec<Mount>> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> io::Result<Mount> {
    let wrong = || {
        let line = crate::types::path::show(line);
        io::Error::new(io::ErrorKind::InvalidData, format!("/proc/self/mountinfo has a line of unknown form: {line}"))
    };
    let mut fields = line.split(|b| *b == b' ');
    let mut next = || fields.next().ok_or_else(wrong);
    let id = number(next()?).ok_or_else(wrong)?;
    let parent = number(next()?).ok_or_else(wrong)?;
    let dev = device(next()?).ok_or_else(wrong)?;
    let (root, point, options) = (unescape(next()?), unescape(next()?), unescape(next()?));
    // Optional fields (propagation) end with a single dash.
    while next()? != b"-" {}
    let fstype = String::from_utf8(unescape(next()?)).map_err(|_| wrong())?;
    let (source, super_options) = (unescape(next()?), unescape(next()?));
    Ok(Mount { id, parent, dev, root, point, fstype, source, options, super_options })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// Space, tab, newline and backslash stand as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_with_escapes_and_any_number_of_optional_fields() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402/a\\134b\\012 rw,noatime master:1 shared:7 - ext3 /dev/ro\\011ot rw,errors=continue\n\
                     41 36 0:30 / /x ro - fuse.bygone bygone rw,user_id=0\n";
        let got = parse(text).unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].id, got[0].parent, got[0].dev), (36, 35, rustix::fs::makedev(98, 0)));
        assert_eq!(got[0].root, b"/mnt1");
        assert_eq!(got[0].point, b"/mnt 2/a\\b\n");
        assert_eq!(got[0].source, b"/dev/ro\tot");
        assert!(!got[0].is_read_only());
        assert_eq!((got[1].fstype.as_str(), got[1].is_read_only()), ("fuse.bygone", true));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for bad in [&b"36 35 98:0 / /"[..], b"x 35 98:0 / / rw - ext4 a rw", b"36 35 98 / / rw - ext4 a rw", b"36"] {
            assert_eq!(parse(bad).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(parse(b"").unwrap(), vec![]);
    }

    #[test]
    fn the_real_table_has_the_mount_of_proc() {
        let all = mounts().unwrap();
        let proc = all.iter().find(|m| m.point == b"/proc").unwrap();
        assert!(proc.is_pseudo());
        let fd = crate::sys::dir::open(std::path::Path::new("/proc")).unwrap();
        assert_eq!(crate::sys::stat::of(&fd).unwrap().mnt_id, Some(proc.id));
    }
}
