//! What the kernel asks, of which node: sorted here and answered in `top`, `tree`, `read` and `xattr`.

use crate::index::tree::Reader;
use crate::mount::{
    errno::FsError,
    fuse::Changes,
    inodes::{self, Ino, Split, Tag},
    listing::{Item, Listing, Listings},
    node::{Found, Keep, NodeAttr, Owner},
    places::{Place, Places},
    read::Contents,
    tags::{Tags, stable_hash},
};
use crate::repo::attach::Attached;
use crate::types::{
    ids::{Snap, SourceNum, Ver},
    time::Instant,
    when::{show::day, zone::Zone},
};
use crate::view::{instant::View, names::Names, whose::Whose};
use lru::LruCache;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of decoded listings.
const LISTINGS_MAX: usize = 24 << 20;
/// Nodes whose attributes are remembered.
const KNOWN_MAX: usize = 1 << 15;
/// Names that move and are noted for the next change.
const TOLD_MAX: usize = 4096;
/// Names of views that the kernel may keep until they are released.
const KEPT_MAX: usize = 1024;
/// Views whose sources are remembered.
const VIEWS_MAX: usize = 1024;

/// What a mount shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The host whose history stands at the root.
    pub host: String,
    /// Just the history of that name, also where this machine goes on under another one.
    pub exact: bool,
    /// The host that this process runs on.
    pub this_host: String,
    /// The time zone of names.
    pub zone: Zone,
    /// Only the view of this instant, at the root itself; the newest settled one before it where it is not settled.
    pub at: Option<Instant>,
    /// How files are numbered.
    pub split: Split,
}

/// The mounted tree.
pub struct Fs {
    pub(super) attached: Arc<Attached>,
    pub(super) names: Names,
    pub(super) shown: Shown,
    /// Whose history stands at the root.
    pub(super) whose: Whose,
    pub(super) owner: Owner,
    pub(super) contents: Contents,
    pub(super) listings: Listings,
    pub(super) places: Mutex<Places>,
    pub(super) days: Mutex<crate::mount::top::Days>,
    /// Names that move and that the kernel was told of.
    told: Mutex<HashSet<(u64, Vec<u8>)>>,
    views: Mutex<Views>,
    known: Mutex<LruCache<u64, Known>>,
    readers: Mutex<Vec<Reader>>,
    /// What the number of the root means, where it is a view.
    root: Option<Ino>,
}

/// A view by what its number stands for.
#[derive(Clone, PartialEq, Eq)]
struct ViewKey {
    host: Whose,
    at: Instant,
    /// Of the name: two names of one instant are two views.
    hash: u64,
    /// What it shows: once retention has released some of that, its name is another view.
    parts: Vec<(SourceNum, Snap)>,
}

impl ViewKey {
    fn is_shown_by(&self, view: &View) -> bool {
        let now = parts_of(view);
        self.parts.iter().all(|part| now.contains(part))
    }
}

struct Views {
    tags: Tags<ViewKey>,
    above: Tags<Vec<u8>>,
    open: LruCache<Tag, Arc<View>>,
    slots: Vec<SourceNum>,
    /// The names of views that the kernel was told to keep, each with the directory it stands in.
    kept: HashMap<(u64, Vec<u8>), Tag>,
}

fn parts_of(view: &View) -> Vec<(SourceNum, Snap)> {
    view.parts.iter().map(|part| (part.source.num, part.snapshot.number)).collect()
}

/// The space of a file system, in blocks of `block_bytes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// All blocks.
    pub blocks: u64,
    /// Free ones.
    pub free: u64,
    /// Free ones for users.
    pub available: u64,
    /// All inodes.
    pub files: u64,
    /// Free ones.
    pub files_free: u64,
    /// The length of a block.
    pub block_bytes: u32,
}

/// What was told of a node.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) attr: NodeAttr,
    /// Its set of extended attributes.
    pub(super) xattr: i64,
    /// Of a directory: the one above.
    pub(super) parent: u64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fs {
    /// The tree of a repository.
    pub fn new(attached: Arc<Attached>, shown: Shown) -> Result<Fs, FsError> {
        let size = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let names = Names::new(attached.clone(), shown.zone.clone(), &shown.this_host)?;
        let mut fs = Fs {
            whose: if shown.exact { Whose::named(&shown.host) } else { names.of_host(&shown.host) },
            names,
            owner: Owner::this_process(),
            contents: Contents::new(&attached)?,
            listings: Listings::new(LISTINGS_MAX),
            places: Mutex::default(),
            days: Mutex::default(),
            told: Mutex::default(),
            views: Mutex::new(Views {
                tags: Tags::new(Tag::COUNT),
                above: Tags::new(inodes::ABOVE_COUNT),
                open: LruCache::new(size(VIEWS_MAX)),
                slots: Vec::new(),
                kept: HashMap::new(),
            }),
            known: Mutex::new(LruCache::new(size(KNOWN_MAX))),
            readers: Mutex::default(),
            root: None,
            attached,
            shown,
        };
        if let Some(at) = fs.shown.at {
            fs.root = Some(fs.settle_root(at)?);
        }
        Ok(fs)
    }

    /// The view that is the root of a mount of one instant.
    fn settle_root(&self, at: Instant) -> Result<Ino, FsError> {
        let host = self.whose.clone();
        self.with_index(|index| {
            let settled = match self.names.is_settled(index, &host, at)? {
                true => crate::view::names::newest(index, &host, at)?.map(|_| at),
                false => self.names.newest_settled(index, &host, at)?,
            };
            let settled = settled.ok_or(FsError::NoSnapshot)?;
            let tag = self.view_tag(index, &host, settled, "")?;
            self.view_root(index, tag)
        })
    }

    /// Runs `f` with a reader of the index.
    pub(super) fn with_index<T>(&self, f: impl FnOnce(&Reader) -> Result<T, FsError>) -> Result<T, FsError> {
        let pooled = lock(&self.readers).pop();
        let reader = match pooled {
            Some(reader) => reader,
            None => self.attached.reader()?,
        };
        let result = f(&reader);
        lock(&self.readers).push(reader);
        result
    }

    /// Runs `f` with a reader of the index in one read transaction.
    pub(super) fn hold<T>(&self, f: impl FnOnce(&Reader) -> Result<T, FsError>) -> Result<T, FsError> {
        self.with_index(|index| index.hold(f))
    }

    /// The number of a view by its name; without a name, of the one view there is.
    pub(super) fn view_tag(&self, index: &Reader, host: &Whose, at: Instant, name: &str) -> Result<Tag, FsError> {
        let view = View::of(index, host, at)?;
        let tag = self.tag(host, at, name, parts_of(&view))?;
        lock(&self.views).open.put(tag, Arc::new(view));
        Ok(tag)
    }

    /// The number of what is shown under a name of an instant.
    pub(super) fn tag(
        &self,
        host: &Whose,
        at: Instant,
        name: &str,
        parts: Vec<(SourceNum, Snap)>,
    ) -> Result<Tag, FsError> {
        let hash = stable_hash(&[host.host().as_bytes(), &at.0.to_le_bytes(), name.as_bytes()]);
        let key = ViewKey { host: host.clone(), at, hash, parts };
        lock(&self.views).tags.number(hash, key).map(Tag).ok_or(FsError::TooManyViews)
    }

    /// The view with a number.
    pub(super) fn view(&self, index: &Reader, tag: Tag) -> Result<Arc<View>, FsError> {
        let key = {
            let mut views = lock(&self.views);
            if let Some(view) = views.open.get(&tag) {
                return Ok(view.clone());
            }
            views.tags.key(tag.0).ok_or(FsError::Stale)?.clone()
        };
        let view = Arc::new(View::of(index, &key.host, key.at)?);
        if !key.is_shown_by(&view) {
            return Err(FsError::Stale);
        }
        lock(&self.views).open.put(tag, view.clone());
        Ok(view)
    }

    /// The number of a directory above the roots of sources.
    pub(super) fn above(&self, tag: Tag, path: &[u8]) -> Result<Ino, FsError> {
        let number = lock(&self.views).above.number(stable_hash(&[path]), path.to_vec());
        Ok(Ino::Above(tag, number.ok_or(FsError::TooManyViews)?))
    }

    /// The path of a directory above the roots of sources.
    pub(super) fn above_path(&self, number: u32) -> Result<Vec<u8>, FsError> {
        lock(&self.views).above.key(number).cloned().ok_or(FsError::Stale)
    }

    /// What a version is numbered as in a view in which it has `nlink` names.
    pub(super) fn file(&self, tag: Tag, source: SourceNum, nlink: u32, ver: Ver) -> Ino {
        match self.shown.split {
            Split::Shared => Ino::File(source, u8::try_from(nlink.saturating_sub(1)).unwrap_or(u8::MAX), ver),
            Split::PerView => {
                let slots = &mut lock(&self.views).slots;
                let at = slots.iter().position(|s| *s == source).unwrap_or_else(|| {
                    slots.push(source);
                    slots.len() - 1
                });
                Ino::OwnFile(tag, u8::try_from(at).unwrap_or(u8::MAX), ver)
            }
        }
    }

    /// The source and version behind a number of a file.
    pub(super) fn version_of(&self, ino: u64) -> Result<(SourceNum, Ver), FsError> {
        match self.decode(ino) {
            Ino::File(source, _, ver) => Ok((source, ver)),
            Ino::OwnFile(_, slot, ver) => {
                let source = lock(&self.views).slots.get(usize::from(slot)).copied();
                Ok((source.ok_or(FsError::Stale)?, ver))
            }
            Ino::Dir(..) | Ino::Above(..) => Err(FsError::IsADirectory),
            Ino::Place(_) => Err(FsError::WrongKind),
        }
    }

    pub(super) fn decode(&self, ino: u64) -> Ino {
        match self.root {
            Some(root) if ino == inodes::ROOT => root,
            _ => Ino::decode(ino, self.shown.split),
        }
    }

    pub(super) fn encode(&self, ino: Ino) -> Result<u64, FsError> {
        if self.root == Some(ino) { Ok(inodes::ROOT) } else { Ok(ino.encode()?) }
    }

    pub(super) fn place(&self, number: u64) -> Result<Place, FsError> {
        lock(&self.places).get(number).cloned().ok_or(FsError::Stale)
    }

    pub(super) fn known(&self, ino: u64) -> Option<Known> {
        lock(&self.known).get(&ino).copied()
    }

    pub(super) fn remember(&self, nodes: impl Iterator<Item = Known>) {
        let mut known = lock(&self.known);
        for node in nodes {
            known.put(node.attr.ino, node);
        }
    }

    /// Who owns what the mount makes up.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// A reader of the index for a thread of its own.
    pub fn reader(&self) -> Result<Reader, FsError> {
        Ok(self.attached.reader()?)
    }

    /// Whether anything in this mount can change.
    pub fn moves(&self) -> bool {
        self.root.is_none()
    }

    /// The day it is.
    pub fn today(&self) -> String {
        day(self.names.now(), self.names.zone())
    }

    /// Tells the kernel to ask again for everything that moves.
    pub fn moved(&self, changes: &Changes) {
        if let Err(e) = self.names.refresh() {
            tracing::warn!("cannot tell whether this machine goes on under another name: {e}");
        }
        let (directories, names) = {
            let places = lock(&self.places);
            (places.moving(), std::mem::take(&mut *lock(&self.told)))
        };
        for ino in directories {
            changes.directory(ino);
        }
        for (parent, name) in names {
            changes.name(parent, &name);
        }
    }

    /// How long the kernel may keep a name of a view in a directory: as long as its snapshots are kept, where that can be noted.
    pub(super) fn keep_of_view(&self, parent: u64, name: &[u8], tag: Tag) -> Keep {
        let kept = &mut lock(&self.views).kept;
        let key = (parent, name.to_vec());
        if kept.len() >= KEPT_MAX && !kept.contains_key(&key) {
            return Keep::Shortly;
        }
        kept.insert(key, tag);
        Keep::Forever
    }

    /// Tells the kernel to forget the views of which retention has released something.
    pub fn released(&self, index: &Reader, changes: &Changes) -> Result<(), FsError> {
        let open: HashMap<Tag, ViewKey> = {
            let views = lock(&self.views);
            let tags = views.kept.values().chain(views.open.iter().map(|(tag, _)| tag));
            tags.filter_map(|tag| Some((*tag, views.tags.key(tag.0)?.clone()))).collect()
        };
        let mut gone = HashSet::new();
        for (tag, key) in open {
            if !key.is_shown_by(&View::of(index, &key.host, key.at)?) {
                gone.insert(tag);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let names: Vec<(u64, Vec<u8>)> = {
            let views = &mut *lock(&self.views);
            gone.iter().for_each(|tag| drop(views.open.pop(tag)));
            views.kept.extract_if(|_, tag| gone.contains(tag)).map(|(name, _)| name).collect()
        };
        *lock(&self.days) = crate::mount::top::Days::default();
        names.iter().for_each(|(parent, name)| changes.name(*parent, name));
        Ok(())
    }

    /// Notes a name that the kernel was told of and that moves.
    pub(super) fn told(&self, parent: u64, name: &[u8]) {
        let mut told = lock(&self.told);
        // What is not noted is asked for again after a quarter of a second.
        if told.len() < TOLD_MAX {
            told.insert((parent, name.to_vec()));
        }
    }

    /// Looks up a name in a directory.
    pub fn look_up(&self, parent: u64, name: &[u8]) -> Result<Found, FsError> {
        match self.decode(parent) {
            Ino::Place(number) => self.look_up_place(parent, &self.place(number)?, name),
            Ino::Above(..) | Ino::Dir(..) => self.look_up_in_view(parent, name),
            Ino::File(..) | Ino::OwnFile(..) => Err(FsError::NotADirectory),
        }
    }

    /// The attributes of a node.
    pub fn attr(&self, ino: u64) -> Result<(NodeAttr, Keep), FsError> {
        match self.decode(ino) {
            Ino::Place(number) => self.place_attr(number),
            Ino::Above(..) | Ino::Dir(..) | Ino::File(..) | Ino::OwnFile(..) => {
                Ok((self.view_attr(ino)?.attr, Keep::Forever))
            }
        }
    }

    /// The listing of a directory; `again` where the kernel goes on with what it was given before.
    pub fn list(&self, ino: u64, again: bool) -> Result<Arc<Listing>, FsError> {
        let moves = match self.decode(ino) {
            Ino::Place(_) => true,
            Ino::Above(..) | Ino::Dir(..) => false,
            Ino::File(..) | Ino::OwnFile(..) => return Err(FsError::NotADirectory),
        };
        if (again || !moves)
            && let Some(listing) = self.listings.get(ino)
        {
            return Ok(listing);
        }
        let listing = Arc::new(match self.decode(ino) {
            Ino::Place(number) => self.list_place(&self.place(number)?)?,
            _ => self.list_in_view(ino)?,
        });
        self.listings.put(ino, listing.clone());
        Ok(listing)
    }

    /// The attributes of an entry that the kernel is about to be told of: a place gets its number, and is counted.
    pub fn tell(&self, item: &Item) -> NodeAttr {
        match &item.place {
            Some(place) => NodeAttr { ino: lock(&self.places).look_up(place), ..item.attr },
            None => item.attr,
        }
    }

    /// The kernel forgot a node, or was not told of it after all.
    pub fn forget(&self, ino: u64, lookups: u64) {
        if let Ino::Place(number) = self.decode(ino) {
            lock(&self.places).forget(number, lookups);
        }
    }

    /// The space of the file system that the repository lies on; nothing where it lies elsewhere.
    pub fn space(&self) -> Result<Space, FsError> {
        let location = self.attached.repo().store().location();
        if !location.starts_with('/') {
            return Ok(Space { block_bytes: 4096, ..Space::default() });
        }
        let vfs = rustix::fs::statvfs(location.as_str())
            .map_err(|e| FsError::System { doing: "ask for the space of the repository", source: e.into() })?;
        Ok(Space {
            blocks: vfs.f_blocks,
            free: vfs.f_bfree,
            available: vfs.f_bavail,
            files: vfs.f_files,
            files_free: vfs.f_ffree,
            block_bytes: u32::try_from(vfs.f_frsize).unwrap_or(4096),
        })
    }

    /// The target of a symbolic link.
    pub fn link_target(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        match self.decode(ino) {
            Ino::Place(number) => match self.place(number)? {
                Place::Link { target, .. } => Ok(target.into_bytes()),
                _ => Err(FsError::WrongKind),
            },
            Ino::Above(..) | Ino::Dir(..) => Err(FsError::WrongKind),
            Ino::File(..) | Ino::OwnFile(..) => self.view_link_target(ino),
        }
    }
}
