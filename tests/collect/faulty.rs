//! A store that fails: before it does what it is asked, or after it did.

use bygone::store::api::{Object, Store, StoreError};
use bygone::sys::buffer::Buffer;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a store fails from now on. Shared with the test.
#[derive(Default)]
pub(crate) struct Faults {
    /// Of a thousand calls that change something, so many fail.
    pub(crate) rate: AtomicU64,
    /// A state of a generator of random numbers.
    seed: AtomicU64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Arc<Faults> {
        Arc::new(Faults { rate: AtomicU64::new(0), seed: AtomicU64::new(seed | 1) })
    }

    pub(crate) fn set(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Whether this call fails; and if so, whether it has done its work before.
    fn strikes(&self) -> Option<bool> {
        let mut x = self.seed.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.store(x, Ordering::Relaxed);
        (x >> 20 & 1023 < self.rate.load(Ordering::Relaxed)).then_some(x >> 40 & 1 == 1)
    }
}

pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) faults: Arc<Faults>,
}

fn failed(doing: &'static str, name: &str) -> StoreError {
    StoreError::Io { store: "faulty".into(), doing, name: name.into(), source: io::Error::other("struck by the test") }
}

impl Store for FaultyStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match self.faults.strikes() {
            None => self.inner.put(name, bytes),
            Some(done) => {
                if done {
                    self.inner.put(name, bytes)?;
                }
                Err(failed("write", name))
            }
        }
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        match self.faults.strikes() {
            None => self.inner.get(name, max),
            Some(_) => Err(failed("read", name)),
        }
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        match self.faults.strikes() {
            None => self.inner.get_range(name, offset, len),
            Some(_) => Err(failed("read", name)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        match self.faults.strikes() {
            None => self.inner.list(prefix),
            Some(_) => Err(failed("list", prefix)),
        }
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.faults.strikes() {
            None => self.inner.delete(name),
            Some(done) => {
                if done {
                    self.inner.delete(name)?;
                }
                Err(failed("delete", name))
            }
        }
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.inner.size(name)
    }
}
