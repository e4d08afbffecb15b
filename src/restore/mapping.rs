//! What a restore makes different from what was captured: owners, modes, and where paths go.

use crate::index::rows::Row;
use crate::restore::mode::ModeChange;
use crate::types::{
    attr::{Attr, Kind, Xattrs},
    path,
};
use std::{borrow::Cow, collections::BTreeMap};

/// The ACLs of the kernel, as extended attributes: they name users and groups too.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
/// Tags of entries in an ACL, of linux/posix_acl.h.
const ACL_USER_OBJ: u16 = 0x01;
const ACL_USER: u16 = 0x02;
const ACL_GROUP_OBJ: u16 = 0x04;
const ACL_GROUP: u16 = 0x08;
const ACL_MASK: u16 = 0x10;
const ACL_OTHER: u16 = 0x20;

/// Numbers of users or of groups, and what becomes of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ids {
    /// Single ones.
    pub each: BTreeMap<u32, u32>,
    /// All others; as they were, if none.
    pub rest: Option<u32>,
}

impl Ids {
    /// What becomes of a number.
    pub fn map(&self, id: u32) -> u32 {
        self.each.get(&id).copied().or(self.rest).unwrap_or(id)
    }

    fn is_none(&self) -> bool {
        self.each.is_empty() && self.rest.is_none()
    }
}

/// One part of the tree that goes elsewhere: both absolute and clean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Where it was.
    pub from: Vec<u8>,
    /// Where it goes.
    pub to: Vec<u8>,
}

/// What becomes of owners, modes and paths.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mapping {
    /// Users.
    pub users: Ids,
    /// Groups.
    pub groups: Ids,
    /// Changes of permissions, one after the other.
    pub modes: Vec<ModeChange>,
    /// Where paths go that do not go where they were.
    pub moves: Vec<Move>,
    /// With [`crate::restore::plan::Target::To`]: below the directory as they were below `/`, and not by their last names.
    pub full_paths: bool,
}

impl Mapping {
    /// Whether attributes are changed at all.
    pub(super) fn changes_attributes(&self) -> bool {
        !(self.users.is_none() && self.groups.is_none() && self.modes.is_empty())
    }

    /// The row as it is to be here.
    pub(super) fn row<'a>(&self, row: &'a Row) -> Cow<'a, Row> {
        match self.changes_attributes() {
            true => Cow::Owned(Row { attr: self.attr(&row.attr), ..row.clone() }),
            false => Cow::Borrowed(row),
        }
    }

    /// Attributes as they are to be here, but for the extended ones.
    pub(super) fn attr(&self, attr: &Attr) -> Attr {
        let mut attr = attr.clone();
        if !self.changes_attributes() {
            return attr;
        }
        let (uid, gid) = (self.users.map(attr.uid), self.groups.map(attr.gid));
        // As chown(2) does it: a set-id bit was given for one owner, and is no other's.
        attr.mode &= !(if uid == attr.uid { 0 } else { libc::S_ISUID });
        attr.mode &= !(if gid == attr.gid || attr.kind() == Kind::Dir { 0 } else { libc::S_ISGID });
        (attr.uid, attr.gid) = (uid, gid);
        if attr.kind() != Kind::Symlink {
            attr.mode = self.modes.iter().fold(attr.mode, |mode, change| change.apply(mode));
        }
        attr
    }

    /// Extended attributes as they are to be here, of what is to have this mode: ACLs with the users and groups that are meant,
    /// and with those permissions.
    pub(super) fn xattrs(&self, mut xattrs: Xattrs, mode: u32) -> Xattrs {
        if self.changes_attributes() {
            for (name, value) in xattrs.iter_mut().filter(|(name, _)| ACLS.contains(&name.as_slice())) {
                self.acl(value);
                if !self.modes.is_empty() && *name == ACLS[0] {
                    permissions(value, mode);
                }
            }
        }
        xattrs
    }

    /// The form of the kernel: a version of four bytes, then entries of tag (2), permissions (2) and number (4), little endian.
    fn acl(&self, value: &mut [u8]) {
        let Some(entries) = value.get_mut(4..) else { return };
        for entry in entries.chunks_exact_mut(8) {
            let ids = match u16::from_le_bytes([entry[0], entry[1]]) {
                ACL_USER => &self.users,
                ACL_GROUP => &self.groups,
                _ => continue,
            };
            let id = ids.map(u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]));
            entry[4..].copy_from_slice(&id.to_le_bytes());
        }
    }

    /// The way to where an absolute path goes, by names, and for each name the path in the view whose attributes a directory
    /// made there gets, if there is one.
    pub(super) fn way(&self, absolute: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let longest = self.moves.iter().filter(|m| path::is_within(absolute, &m.from)).max_by_key(|m| m.from.len());
        let (to, from) = longest.map_or((&b"/"[..], &b"/"[..]), |m| (m.to.as_slice(), m.from.as_slice()));
        let mut way: Vec<_> = path::components(to).map(|name| (name.to_vec(), None)).collect();
        let mut seen = from.strip_suffix(b"/").unwrap_or(from).to_vec();
        let rest = path::components(absolute).skip(path::components(from).count());
        for name in rest {
            seen.push(b'/');
            seen.extend_from_slice(name);
            way.push((name.to_vec(), Some(seen.clone())));
        }
        way
    }

    /// Where an absolute path goes, below the target.
    pub fn goes_to(&self, absolute: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, _) in self.way(absolute) {
            out.push(b'/');
            out.extend_from_slice(&name);
        }
        if out.is_empty() { b"/".to_vec() } else { out }
    }
}

/// As chmod(2) does it to the ACL of a file: what the mode says of the group goes to the mask, where there is one.
fn permissions(value: &mut [u8], mode: u32) {
    let Some(entries) = value.get_mut(4..) else { return };
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    let has_mask = entries.chunks_exact(8).any(|entry| tag(entry) == ACL_MASK);
    for entry in entries.chunks_exact_mut(8) {
        let bits = match tag(entry) {
            ACL_USER_OBJ => mode >> 6,
            ACL_GROUP_OBJ if !has_mask => mode >> 3,
            ACL_MASK => mode >> 3,
            ACL_OTHER => mode,
            _ => continue,
        };
        entry[2..4].copy_from_slice(&((bits & 7) as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(all: &[(&str, &str)]) -> Mapping {
        let moves = all.iter().map(|(from, to)| Move { from: from.as_bytes().into(), to: to.as_bytes().into() });
        Mapping { moves: moves.collect(), ..Mapping::default() }
    }

    #[test]
    fn the_longest_prefix_of_whole_names_says_where_a_path_goes() {
        let mapping = moves(&[("/home", "/mnt/home"), ("/home/me", "/data"), ("/srv", "/")]);
        let cases = [
            ("/home/you/x", "/mnt/home/you/x"),
            ("/home/me/x/y", "/data/x/y"),
            ("/home/me", "/data"),
            ("/homes/a", "/homes/a"),
            ("/srv/a", "/a"),
            ("/srv", "/"),
            ("/", "/"),
        ];
        for (path, to) in cases {
            assert_eq!(String::from_utf8(mapping.goes_to(path.as_bytes())).unwrap(), to, "{path}");
        }
        let way = mapping.way(b"/home/me/x");
        assert_eq!(way, [(b"data".to_vec(), None), (b"x".to_vec(), Some(b"/home/me/x".to_vec()))]);
    }

    #[test]
    fn owners_are_mapped_in_acls_too_and_set_id_bits_are_nobody_elses() {
        let users = Ids { each: BTreeMap::from([(7, 70)]), rest: None };
        let mapping = Mapping { users, groups: Ids { each: BTreeMap::new(), rest: Some(5) }, ..Mapping::default() };
        let mut attr = Attr {
            mode: libc::S_IFREG | 0o6755,
            uid: 7,
            gid: 9,
            size: 0,
            blocks: 0,
            rdev: 0,
            mtime: crate::types::time::Time { sec: 0, nsec: 0 },
            ctime: crate::types::time::Time { sec: 0, nsec: 0 },
            btime: None,
            flags: 0,
            xattrs: Vec::new(),
        };
        let mapped = mapping.attr(&attr);
        assert_eq!((mapped.uid, mapped.gid, mapped.mode & 0o7777), (70, 5, 0o755));
        (attr.uid, attr.gid) = (8, 5);
        assert_eq!(mapping.attr(&attr).mode & 0o7777, 0o6755, "the owners are as they were");
        let acl = |user: u8, group: u8| {
            [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, user, 0, 0, 0, 8, 0, 4, 0, group, 0, 0, 0].to_vec()
        };
        let name = b"system.posix_acl_access".to_vec();
        let mapped = mapping.xattrs(vec![(name.clone(), acl(7, 3)), (b"user.x".to_vec(), acl(7, 3))], 0o640);
        assert_eq!(mapped, [(name.clone(), acl(70, 5)), (b"user.x".to_vec(), acl(7, 3))]);
        let short = mapping.xattrs(vec![(name, vec![2, 0, 0, 0, 2, 0, 4])], 0);
        assert_eq!(short[0].1.len(), 7, "what is no ACL is left as it is");
    }
}
