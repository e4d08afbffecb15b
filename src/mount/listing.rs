//! Decoded directory listings. The kernel asks for a directory in pieces, by number and offset and without a handle: the
//! listing it is being given is kept until it has all of it, and the ones used last for look-ups.

use crate::mount::{
    node::{Keep, NodeAttr},
    places::Place,
};
use lru::LruCache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One entry of a listing.
pub struct Item {
    start: u32,
    len: u32,
    /// Its attributes; of a place, all but the number.
    pub attr: NodeAttr,
    /// How long they hold.
    pub keep: Keep,
    /// The place it is, where it has no number of its own.
    pub place: Option<Box<Place>>,
}

/// The entries of a directory, in the order of names.
pub struct Listing {
    names: Vec<u8>,
    items: Vec<Item>,
    /// The number of the directory above.
    pub parent: u64,
}

impl Listing {
    /// An empty listing of a directory below `parent`.
    pub fn new(parent: u64) -> Listing {
        Listing { names: Vec::new(), items: Vec::new(), parent }
    }

    /// Room for `count` entries.
    pub fn reserve(&mut self, count: usize, name_bytes: usize) {
        self.items.reserve_exact(count);
        self.names.reserve_exact(name_bytes);
    }

    /// Adds an entry; the caller keeps to the order of names.
    pub fn push(&mut self, name: &[u8], attr: NodeAttr, keep: Keep, place: Option<Place>) {
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.items.push(Item { start, len: name.len() as u32, attr, keep, place: place.map(Box::new) });
    }

    /// The entries from number `first` on.
    pub fn from(&self, first: usize) -> impl Iterator<Item = (usize, &[u8], &Item)> {
        let items = self.items.get(first..).unwrap_or_default();
        items.iter().enumerate().map(move |(i, item)| (first + i, self.name(item), item))
    }

    /// The entry with this name.
    pub fn find(&self, name: &[u8]) -> Option<&Item> {
        let at = self.items.binary_search_by(|item| self.name(item).cmp(name)).ok()?;
        self.items.get(at)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn name(&self, item: &Item) -> &[u8] {
        &self.names[item.start as usize..(item.start + item.len) as usize]
    }

    fn weight(&self) -> usize {
        self.names.capacity() + self.items.capacity() * size_of::<Item>() + size_of::<Listing>()
    }
}

/// Listings that were used last, up to a number of bytes, but always one.
pub struct Listings {
    cache: Mutex<Cache>,
    max_bytes: usize,
}

struct Cache {
    listings: LruCache<u64, Arc<Listing>>,
    bytes: usize,
}

impl Listings {
    /// At most `max_bytes` of them.
    pub fn new(max_bytes: usize) -> Listings {
        Listings { cache: Mutex::new(Cache { listings: LruCache::unbounded(), bytes: 0 }), max_bytes }
    }

    /// The listing of a directory.
    pub fn get(&self, ino: u64) -> Option<Arc<Listing>> {
        self.lock().listings.get(&ino).cloned()
    }

    /// Keeps a listing.
    pub fn put(&self, ino: u64, listing: Arc<Listing>) {
        let mut cache = self.lock();
        cache.bytes += listing.weight();
        if let Some(before) = cache.listings.put(ino, listing) {
            cache.bytes -= before.weight();
        }
        while cache.bytes > self.max_bytes && cache.listings.len() > 1 {
            match cache.listings.pop_lru() {
                Some((_, listing)) => cache.bytes -= listing.weight(),
                None => break,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::node::Owner;
    use crate::types::time::Instant;

    fn listing(names: &[&[u8]]) -> Listing {
        let mut listing = Listing::new(1);
        for (i, name) in names.iter().enumerate() {
            let attr = NodeAttr::directory(i as u64, Instant(0), Owner { uid: 0, gid: 0 });
            listing.push(name, attr, Keep::Forever, None);
        }
        listing
    }

    #[test]
    fn entries_by_number_and_by_name() {
        let l = listing(&[b"a", b"bb", b"\xff"]);
        assert_eq!(
            l.from(1).map(|(i, name, _)| (i, name.to_vec())).collect::<Vec<_>>(),
            [(1, b"bb".to_vec()), (2, b"\xff".to_vec())]
        );
        assert_eq!(l.from(9).count(), 0);
        assert_eq!(l.find(b"bb").unwrap().attr.ino, 1);
        assert!(l.find(b"b").is_none());
    }

    #[test]
    fn the_oldest_goes_and_the_last_stays() {
        let one = listing(&[b"a"]).weight();
        let cache = Listings::new(one * 2);
        for ino in 0..3 {
            cache.put(ino, Arc::new(listing(&[b"a"])));
        }
        assert!(cache.get(0).is_none() && cache.get(1).is_some() && cache.get(2).is_some());
        let large: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i]).collect();
        let names: Vec<&[u8]> = large.iter().map(Vec::as_slice).collect();
        cache.put(9, Arc::new(listing(&names)));
        assert!(cache.get(9).is_some() && cache.get(2).is_none());
    }
}
