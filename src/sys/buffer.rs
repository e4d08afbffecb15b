//! Large blocks of memory that are used again. The system gives every page of a new one with a fault and zeros in it, which
//! costs as much as decoding what goes there.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Blocks are made in multiples of this, so that one fits the next of about its size.
const STEP_BYTES: usize = 256 << 10;
/// Smaller blocks are as cheap from the allocator.
const KEPT_FROM_BYTES: usize = 128 << 10;
/// What all blocks that wait to be used hold together, at most.
const KEPT_MAX_BYTES: usize = 24 << 20;

static FREE: Mutex<Free> = Mutex::new(Free { blocks: Vec::new(), bytes: 0 });

struct Free {
    blocks: Vec<Vec<u8>>,
    bytes: usize,
}

/// Bytes in a block that is given back when they are dropped. Starts empty.
#[derive(Debug, Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty one with room for `len` bytes.
    pub fn with_capacity(len: usize) -> Buffer {
        if len < KEPT_FROM_BYTES {
            return Buffer(Vec::with_capacity(len));
        }
        let room = len.next_multiple_of(STEP_BYTES);
        let kept = {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            // The one given back last is the one that caches know best. One far too large would be lost to whoever needs it.
            let fits = |block: &Vec<u8>| (len..=room.saturating_mul(2)).contains(&block.capacity());
            let found = free.blocks.iter().rposition(fits);
            found.map(|at| {
                let block = free.blocks.remove(at);
                free.bytes -= block.capacity();
                block
            })
        };
        Buffer(kept.unwrap_or_else(|| Vec::with_capacity(room)))
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        Buffer(bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut block = std::mem::take(&mut self.0);
        if block.capacity() < KEPT_FROM_BYTES {
            return;
        }
        block.clear();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.bytes + block.capacity() <= KEPT_MAX_BYTES {
            free.bytes += block.capacity();
            free.blocks.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_empty_and_large_enough() {
        for len in [0, 1, 300_000, 1 << 20, 300_001, 3 << 20] {
            let mut one = Buffer::with_capacity(len);
            assert!(one.is_empty() && one.capacity() >= len);
            one.resize(len, 7);
            drop(one);
            let again = Buffer::with_capacity(len);
            assert!(again.is_empty() && again.capacity() >= len);
        }
        // More than are ever kept.
        drop((0..100).map(|_| Buffer::with_capacity(1 << 20)).collect::<Vec<_>>());
        assert!(FREE.lock().unwrap().bytes <= KEPT_MAX_BYTES);
        assert_eq!(*Buffer::from(vec![1, 2]), [1, 2]);
    }
}
