//! Holding one node against its entry in the view.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::sys::{
    apply, meta,
    read::{self, Segments},
    stat::{self, Stat},
};
use crate::types::{
    attr::{Kind, Xattrs},
    ids::Hash,
    path,
};
use crate::verify::tree::{
    aspects::{Aspect, Ignored},
    content::{Proof, ProofError, Prover},
    digest::{self, Body},
    report::{Field, Report, TreeError, What},
};
use crate::view::content::{Content, link_target};
use rustix::fd::OwnedFd;
use std::io;

/// A name of the tree with its entry in the view.
pub(super) struct Pair<'a> {
    pub(super) dir: &'a OwnedFd,
    pub(super) name: &'a [u8],
    /// Below the directory that is compared.
    pub(super) path: &'a [u8],
    pub(super) row: &'a Row,
    pub(super) now: &'a Stat,
}

/// What of a node is compared, and against what.
pub(super) struct Comparer<'a> {
    pub(super) index: &'a Reader,
    pub(super) ignored: &'a Ignored,
}

impl Comparer<'_> {
    /// Compares what is no regular file. The hash of its entry, if nothing differs; else it is in the report.
    pub(super) fn plain(&self, pair: &Pair<'_>, report: &mut Report) -> Result<Option<Hash>, IndexError> {
        let (row, now) = (pair.row, pair.now);
        let target = match now.kind() {
            Some(Kind::Symlink) => match meta::link_target(pair.dir, pair.name) {
                Ok(target) => Some(target),
                Err(e) => return unread(report, pair, "read the link", e),
            },
            _ => None,
        };
        let mut fields = Vec::new();
        if let Some(target) = &target {
            let was = link_target(self.index, row)?;
            if was != *target {
                fields.push(field(Aspect::Content, path::show(&was), path::show(target)));
            }
        }
        if matches!(row.attr.kind(), Kind::CharDevice | Kind::BlockDevice) && row.attr.rdev != now.rdev {
            let shown = |rdev| format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
            fields.push(field(Aspect::Content, shown(row.attr.rdev), shown(now.rdev)));
        }
        let read = match now.kind() {
            Some(Kind::Dir) => open_dir(pair).and_then(|fd| Ok((meta::xattrs(&fd)?, meta::flags(&fd)?))),
            _ => meta::xattrs_at(pair.dir, pair.name).map(|xattrs| (xattrs, 0)),
        };
        let (xattrs, flags) = match read {
            Ok(read) => read,
            Err(e) => return unread(report, pair, "read its attributes", e),
        };
        let xattrs = self.attributes(row, now, xattrs, flags, &mut fields)?;
        if !fields.is_empty() {
            report.differs(pair.path, What::Differs(fields));
            return Ok(None);
        }
        let body = target.as_deref().map_or(Body::None, Body::Target);
        Ok(Some(digest::entry(pair.path, now, &xattrs, flags, &body, self.ignored)))
    }

    /// Compares a regular file, its content too.
    pub(super) fn file(
        &self,
        pair: &Pair<'_>,
        prover: &mut Prover<'_>,
        report: &mut Report,
    ) -> Result<Option<Hash>, TreeError> {
        let (row, now) = (pair.row, pair.now);
        let opened = read::open(pair.dir, pair.name).and_then(|fd| {
            let same = stat::of(&fd)?.same_content(now);
            if same { Ok(fd) } else { Err(changed()) }
        });
        let read = opened.and_then(|fd| Ok((meta::xattrs(&fd)?, meta::flags(&fd)?, fd)));
        let (xattrs, flags, fd) = match read {
            Ok(read) => read,
            Err(e) => return Ok(unread(report, pair, "open it", e)?),
        };
        let mut fields = Vec::new();
        let content = match self.content(pair, &fd, prover, &mut fields) {
            Ok(content) => content,
            Err(ProofError::Index(e)) => return Err(e.into()),
            Err(ProofError::Denied(e)) => return Err(e.into()),
            Err(ProofError::Io(e)) => return Ok(unread(report, pair, "read it", e)?),
        };
        match stat::of(&fd) {
            Ok(after) if after.same_content(now) => {}
            Ok(_) => return Ok(unread(report, pair, "read it", changed())?),
            Err(e) => return Ok(unread(report, pair, "look at it again", e)?),
        }
        let xattrs = self.attributes(row, now, xattrs, flags, &mut fields)?;
        if !fields.is_empty() {
            report.differs(pair.path, What::Differs(fields));
            return Ok(None);
        }
        let Some(content) = content else {
            report.stopped = true;
            return Ok(None);
        };
        report.counts.bytes += now.size;
        Ok(Some(digest::entry(pair.path, now, &xattrs, flags, &Body::Content(content), self.ignored)))
    }

    fn content(
        &self,
        pair: &Pair<'_>,
        fd: &OwnedFd,
        prover: &mut Prover<'_>,
        fields: &mut Vec<Field>,
    ) -> Result<Option<blake3::Hash>, ProofError> {
        let (row, now) = (pair.row, pair.now);
        if row.attr.size != now.size {
            let shown = |size| format!("{size} bytes");
            fields.push(field(Aspect::Content, shown(row.attr.size), shown(now.size)));
            return Ok(None);
        }
        let content = Content::open(self.index, row.source, row.ver)?;
        match prover.prove(fd, &content.pieces, Segments::new(fd, now), now.size)? {
            Proof::Equal(hash) => Ok(Some(hash)),
            Proof::Stopped => Ok(None),
            Proof::Differs(from, to) => {
                let is = format!("other bytes between {from} and {to}");
                fields.push(field(Aspect::Content, format!("{} bytes", row.attr.size), is));
                Ok(None)
            }
        }
    }

    /// Mode, owner, times, extended attributes, flags. The extended attributes that count.
    fn attributes(
        &self,
        row: &Row,
        now: &Stat,
        mut xattrs: Xattrs,
        flags: u32,
        fields: &mut Vec<Field>,
    ) -> Result<Xattrs, IndexError> {
        let attr = &row.attr;
        let mut note = |aspect: Aspect, differs: bool, was: String, is: String| {
            if differs && !self.ignored.has(aspect) {
                fields.push(field(aspect, was, is));
            }
        };
        let (was, is) = (attr.mode & 0o7777, now.mode & 0o7777);
        // A symbolic link has no mode of its own.
        let mode = was != is && attr.kind() != Kind::Symlink;
        note(Aspect::Mode, mode, format!("{was:04o}"), format!("{is:04o}"));
        let owner = (attr.uid, attr.gid) != (now.uid, now.gid);
        note(Aspect::Owner, owner, format!("{}:{}", attr.uid, attr.gid), format!("{}:{}", now.uid, now.gid));
        let time = |t: crate::types::time::Time| format!("{}.{:09}", t.sec, t.nsec);
        note(Aspect::Times, attr.mtime != now.mtime, time(attr.mtime), time(now.mtime));
        let want = self.index.xattrs(row.xattr)?;
        xattrs.retain(|(name, _)| !apply::is_host_label(name) || want.iter().any(|(n, _)| n == name));
        note(Aspect::Xattrs, want != xattrs, names(&want), names(&xattrs));
        let (was, is) = (attr.flags & meta::SETTABLE_FLAGS, flags & meta::SETTABLE_FLAGS);
        note(Aspect::Flags, was != is, meta::flag_names(was), meta::flag_names(is));
        Ok(xattrs)
    }
}

fn open_dir(pair: &Pair<'_>) -> io::Result<OwnedFd> {
    match pair.name.is_empty() {
        true => crate::sys::dir::open_beneath(pair.dir, b""),
        false => crate::sys::dir::open_at(pair.dir, pair.name),
    }
}

/// Extended attributes for people: names, and values as far as they are short.
fn names(xattrs: &Xattrs) -> String {
    let one = |(name, value): &(Vec<u8>, Vec<u8>)| match value.len() {
        0..=32 => format!("{}={}", path::show(name), path::show(value)),
        len => format!("{} ({len} bytes)", path::show(name)),
    };
    match xattrs.is_empty() {
        true => "none".into(),
        false => xattrs.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

pub(super) fn field(aspect: Aspect, was: String, is: String) -> Field {
    Field { aspect, was, is }
}

fn changed() -> io::Error {
    io::Error::other("it was changed while it was read: compare it again when nothing writes to it")
}

fn unread(report: &mut Report, pair: &Pair<'_>, doing: &'static str, e: io::Error) -> Result<Option<Hash>, IndexError> {
    report.unreadable(pair.path, doing, e);
    Ok(None)
}
