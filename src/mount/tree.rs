//! Inside a view: look-up, attributes, listing. Each directory is loaded by one range scan.

use crate::index::{rows::Row, tree::Reader};
use crate::mount::{
    errno::FsError,
    fs::{Fs, Known},
    inodes::{Ino, Tag},
    listing::Listing,
    node::{Found, Keep, NodeAttr},
};
use crate::types::{
    ids::{Node, Snap, SourceNum},
    path,
};
use crate::view::{
    content::link_target,
    instant::{Part, View},
};

impl Fs {
    /// The root directory of a view.
    pub(super) fn view_root(&self, index: &Reader, tag: Tag) -> Result<Ino, FsError> {
        let view = self.view(index, tag)?;
        view.check_place(b"/")?;
        match view.parts.iter().find(|part| part.source.root == b"/") {
            Some(part) => match root_row(index, part)? {
                Some(row) => Ok(Ino::Dir(tag, part.source.num, row.node)),
                None => self.above(tag, b"/"),
            },
            None => self.above(tag, b"/"),
        }
    }

    pub(super) fn look_up_in_view(&self, parent: u64, name: &[u8]) -> Result<Found, FsError> {
        if let Some(listing) = self.listings.get(parent) {
            let found = listing.find(name).map(|item| Found::Node(item.attr, item.keep));
            return Ok(found.unwrap_or(Found::Nothing(Keep::Forever)));
        }
        self.hold(|index| {
            let found = match self.decode(parent) {
                Ino::Above(tag, number) => {
                    let path = path::join(&self.above_path(number)?, name);
                    self.entry_above(index, tag, &path, parent)?
                }
                Ino::Dir(tag, source, node) => {
                    let view = self.view(index, tag)?;
                    let snap = part_of(&view, source)?.snapshot.number;
                    match index.child(source, node, name, snap)? {
                        Some(row) => Some(self.known_row(index, tag, snap, &row, parent)?),
                        None => None,
                    }
                }
                Ino::Place(_) | Ino::File(..) | Ino::OwnFile(..) => return Err(FsError::NotADirectory),
            };
            match found {
                Some(known) => {
                    self.remember(std::iter::once(known));
                    Ok(Found::Node(known.attr, Keep::Forever))
                }
                None => Ok(Found::Nothing(Keep::Forever)),
            }
        })
    }

    pub(super) fn list_in_view(&self, ino: u64) -> Result<Listing, FsError> {
        self.hold(|index| match self.decode(ino) {
            Ino::Above(tag, number) => self.list_above(index, tag, &self.above_path(number)?, ino),
            Ino::Dir(tag, source, node) => self.list_dir(index, ino, (tag, source, node)),
            Ino::Place(_) | Ino::File(..) | Ino::OwnFile(..) => Err(FsError::NotADirectory),
        })
    }

    fn list_above(&self, index: &Reader, tag: Tag, dir: &[u8], ino: u64) -> Result<Listing, FsError> {
        let view = self.view(index, tag)?;
        let mut listing = Listing::new(self.parent_above(tag, dir)?);
        for name in view.names_above(dir) {
            if let Some(known) = self.entry_above(index, tag, &path::join(dir, &name), ino)? {
                listing.push(&name, known.attr, Keep::Forever, None);
                self.remember(std::iter::once(known));
            }
        }
        Ok(listing)
    }

    fn list_dir(
        &self,
        index: &Reader,
        ino: u64,
        (tag, source, node): (Tag, SourceNum, Node),
    ) -> Result<Listing, FsError> {
        let view = self.view(index, tag)?;
        let part = part_of(&view, source)?;
        let snap = part.snapshot.number;
        let rows = index.children(source, node, snap)?;
        let parent = match self.known(ino) {
            Some(known) => known.parent,
            None => self.parent_of(index, tag, part, node)?,
        };
        let mut listing = Listing::new(parent);
        listing.reserve(rows.len(), rows.iter().map(|row| row.name.len()).sum());
        let mut known = Vec::with_capacity(rows.len());
        for row in &rows {
            let entry = self.known_row(index, tag, snap, row, ino)?;
            listing.push(&row.name, entry.attr, Keep::Forever, None);
            known.push(entry);
        }
        self.remember(known.into_iter());
        Ok(listing)
    }

    /// What stands at a path above, or at, the root of a source.
    fn entry_above(&self, index: &Reader, tag: Tag, path: &[u8], parent: u64) -> Result<Option<Known>, FsError> {
        let view = self.view(index, tag)?;
        if let Some(part) = view.parts.iter().find(|part| part.source.root == path) {
            let Some(row) = root_row(index, part)? else { return Ok(None) };
            return self.known_row(index, tag, part.snapshot.number, &row, parent).map(Some);
        }
        // Where a source is lost, it never looks as if nothing had been there.
        view.check_place(path)?;
        match view.is_above(path) {
            true => self.known_above(tag, &view, path, parent).map(Some),
            false => Ok(None),
        }
    }

    fn known_above(&self, tag: Tag, view: &View, path: &[u8], parent: u64) -> Result<Known, FsError> {
        let ino = self.encode(self.above(tag, path)?)?;
        Ok(Known { attr: NodeAttr::directory(ino, view.at, self.owner), xattr: 0, parent })
    }

    fn known_row(&self, index: &Reader, tag: Tag, snap: Snap, row: &Row, parent: u64) -> Result<Known, FsError> {
        let is_dir = row.node.is_dir();
        let nlink = match row.linked && !is_dir {
            true => index.link_count(row.source, row.node, snap)?,
            false => 1,
        };
        let ino = match is_dir {
            true => Ino::Dir(tag, row.source, row.node),
            false => self.file(tag, row.source, nlink, row.ver),
        };
        Ok(Known { attr: NodeAttr::captured(self.encode(ino)?, row, nlink), xattr: row.xattr, parent })
    }

    /// The attributes of a node of a view.
    pub(super) fn view_attr(&self, ino: u64) -> Result<Known, FsError> {
        match self.known(ino) {
            Some(known) => Ok(known),
            None => self.hold(|index| self.view_attr_with(index, ino)),
        }
    }

    /// The same, in a read transaction or outside of one.
    pub(super) fn view_attr_with(&self, index: &Reader, ino: u64) -> Result<Known, FsError> {
        let known = match self.decode(ino) {
            Ino::Above(tag, number) => {
                let (view, path) = (self.view(index, tag)?, self.above_path(number)?);
                self.known_above(tag, &view, &path, self.parent_above(tag, &path)?)?
            }
            Ino::Dir(tag, source, node) => {
                let view = self.view(index, tag)?;
                let part = part_of(&view, source)?;
                let row = index.node(source, node, part.snapshot.number)?.ok_or(FsError::Stale)?;
                let parent = self.parent_of_row(tag, part, &row)?;
                self.known_row(index, tag, part.snapshot.number, &row, parent)?
            }
            Ino::File(..) | Ino::OwnFile(..) => {
                let (source, ver) = self.version_of(ino)?;
                let row = index.entry_of(source, ver)?.ok_or(FsError::Stale)?;
                let nlink = match self.decode(ino) {
                    Ino::File(_, links, _) if links < u8::MAX => u32::from(links) + 1,
                    // The view is not known here: the names it had when this version began.
                    _ if row.linked => index.link_count(source, row.node, row.from)?,
                    _ => 1,
                };
                Known { attr: NodeAttr::captured(ino, &row, nlink), xattr: row.xattr, parent: 0 }
            }
            Ino::Place(_) => return Err(FsError::Stale),
        };
        self.remember(std::iter::once(known));
        Ok(known)
    }

    fn parent_of(&self, index: &Reader, tag: Tag, part: &Part, node: Node) -> Result<u64, FsError> {
        let row = index.node(part.source.num, node, part.snapshot.number)?.ok_or(FsError::Stale)?;
        self.parent_of_row(tag, part, &row)
    }

    fn parent_of_row(&self, tag: Tag, part: &Part, row: &Row) -> Result<u64, FsError> {
        match row.parent == Node::ABOVE {
            true if part.source.root == b"/" => self.above_the_view(),
            true => self.encode(self.above(tag, dir_name(&part.source.root))?),
            false => self.encode(Ino::Dir(tag, part.source.num, row.parent)),
        }
    }

    fn parent_above(&self, tag: Tag, dir: &[u8]) -> Result<u64, FsError> {
        match dir == b"/" {
            true => self.above_the_view(),
            false => self.encode(self.above(tag, dir_name(dir))?),
        }
    }

    /// What `..` of a view's root shows as its number: the mount's root. The kernel itself knows the way up.
    fn above_the_view(&self) -> Result<u64, FsError> {
        Ok(crate::mount::inodes::ROOT)
    }

    pub(super) fn view_link_target(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        let (source, ver) = self.version_of(ino)?;
        self.hold(|index| {
            let row = index.entry_of(source, ver)?.ok_or(FsError::Stale)?;
            Ok(link_target(index, &row)?)
        })
    }
}

/// The part of a view that shows a source.
pub(super) fn part_of(view: &View, source: SourceNum) -> Result<&Part, FsError> {
    view.parts.iter().find(|part| part.source.num == source).ok_or(FsError::Stale)
}

fn root_row(index: &Reader, part: &Part) -> Result<Option<Row>, FsError> {
    Ok(index.child(part.source.num, Node::ABOVE, b"", part.snapshot.number)?)
}

/// The directory that an absolute path stands in.
fn dir_name(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        Some(0) | None => b"/",
        Some(at) => &path[..at],
    }
}
