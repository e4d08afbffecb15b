//! Small numbers for keys, the same after each mount: a number is found from a hash of its key, and the next free one is
//! taken where two keys meet.

use std::collections::HashMap;

/// Keys that have a number.
pub struct Tags<K> {
    count: u32,
    by_number: HashMap<u32, K>,
}

impl<K: PartialEq> Tags<K> {
    /// Numbers below `count`.
    pub fn new(count: u32) -> Tags<K> {
        Tags { count, by_number: HashMap::new() }
    }

    /// The number of a key, whose hash is `hash`; a new one where it has none. `None` where all are taken.
    pub fn number(&mut self, hash: u64, key: K) -> Option<u32> {
        if self.by_number.len() as u64 * 2 > u64::from(self.count) {
            // Half full: the search would become long, and a view more would be the half-millionth in this mount.
            return None;
        }
        let mut at = (hash % u64::from(self.count)) as u32;
        loop {
            match self.by_number.get(&at) {
                Some(found) if *found == key => return Some(at),
                Some(_) => at = (at + 1) % self.count,
                None => {
                    self.by_number.insert(at, key);
                    return Some(at);
                }
            }
        }
    }

    /// The key with this number.
    pub fn key(&self, number: u32) -> Option<&K> {
        self.by_number.get(&number)
    }
}

/// A hash that is the same in every process.
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_meet_get_different_numbers_and_keep_them() {
        let mut tags = Tags::new(8);
        assert_eq!(tags.number(7, "a"), Some(7));
        assert_eq!(tags.number(15, "b"), Some(0), "the next free one");
        assert_eq!(tags.number(7, "a"), Some(7));
        assert_eq!(tags.number(15, "b"), Some(0));
        assert_eq!((tags.key(0), tags.key(1)), (Some(&"b"), None));
        for (i, key) in ["c", "d", "e"].into_iter().enumerate() {
            assert!(tags.number(i as u64 + 2, key).is_some());
        }
        assert_eq!(tags.number(1, "f"), None, "too full");
    }

    #[test]
    fn hashes_tell_where_parts_end() {
        assert_ne!(stable_hash(&[b"ab", b"c"]), stable_hash(&[b"a", b"bc"]));
        assert_eq!(stable_hash(&[b"ab"]), stable_hash(&[b"ab"]));
    }
}
