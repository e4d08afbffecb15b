//! A store that is used at a bounded rate: what goes out and what comes in is taken from two buckets.

use crate::store::api::{Away, Object, Store, StoreError, Waiting};
use crate::sys::{bucket::Throttle, buffer::Buffer};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

/// What may go to a store and come from it, in bytes a second.
#[derive(Debug)]
pub struct Rates {
    upload: Throttle,
    download: Throttle,
}

impl Rates {
    /// Rates in bytes a second; none: no limit.
    pub fn new(upload: Option<u64>, download: Option<u64>) -> Rates {
        Rates { upload: Throttle::new(upload), download: Throttle::new(download) }
    }

    /// Those of this process: whoever speaks to a far store in it shares them. No limit until they are set.
    pub fn of_process() -> Arc<Rates> {
        static RATES: LazyLock<Arc<Rates>> = LazyLock::new(|| Arc::new(Rates::new(None, None)));
        RATES.clone()
    }

    /// How long who spoke to the store has waited, all together.
    pub fn waited(&self) -> Duration {
        self.upload.waited() + self.download.waited()
    }

    /// Other rates from now on.
    pub fn set(&self, upload: Option<u64>, download: Option<u64>) {
        self.upload.set(upload);
        self.download.set(download);
    }
}

/// A store behind two buckets. Everything else is as the store behind it does it.
///
/// A request waits before it is sent where its length is known, and after it was answered where it is not: then the next ones pay.
pub struct Limited {
    behind: Arc<dyn Store>,
    rates: Arc<Rates>,
}

impl Limited {
    /// Before `behind`.
    pub fn new(behind: Arc<dyn Store>, rates: Arc<Rates>) -> Limited {
        Limited { behind, rates }
    }
}

impl Store for Limited {
    fn location(&self) -> String {
        self.behind.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.rates.upload.take(bytes.len() as u64, || true);
        self.behind.put(name, bytes)
    }

    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.rates.upload.take(bytes.len() as u64, || true);
        self.behind.mend(name, bytes)
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = self.behind.get(name, max)?;
        self.rates.download.take(bytes.len() as u64, || true);
        Ok(bytes)
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        self.rates.download.take(len as u64, || true);
        self.behind.get_range(name, offset, len)
    }

    fn get_ranges(&self, name: &str, ranges: &[(u64, usize)]) -> Result<Vec<Buffer>, StoreError> {
        self.rates.download.take(ranges.iter().map(|(_, len)| *len as u64).sum(), || true);
        self.behind.get_ranges(name, ranges)
    }

    fn far(&self) -> bool {
        self.behind.far()
    }

    fn away(&self) -> Option<Away> {
        self.behind.away()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.behind.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.behind.delete(name)
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.behind.size(name)
    }

    fn start(&self) {
        self.behind.start();
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.behind.settle()
    }

    fn waiting(&self) -> Result<Option<Waiting>, StoreError> {
        self.behind.waiting()
    }
}
