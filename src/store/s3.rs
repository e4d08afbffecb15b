//! A store in a bucket of an object store that speaks S3. The only file that knows how.

use crate::store::{
    api::{Object, Store, StoreError, is_object_name},
    counts::{Operation, counted},
};
use crate::sys::buffer::Buffer;
use crate::types::location::S3Url;
use futures_util::TryStreamExt;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
};
use std::{
    collections::BTreeMap,
    error::Error as _,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read may take, and how long it is tried again: together what a reader waits for a store that is away.
const READ: Duration = Duration::from_secs(15);
/// The same for the requests that follow one that got no answer.
const HASTY: Duration = Duration::from_secs(2);
/// How long a write may take: an object of 16 MiB over a slow line.
const WRITE: Duration = Duration::from_secs(600);
/// How often a request is made again within that time: a server that resets connections uses up a few within a second.
const TRIES: usize = 20;

/// Objects in a bucket, below a prefix. Clones of a connection pool: any number of threads may use it at once.
pub struct S3Store {
    url: S3Url,
    patient: AmazonS3,
    hasty: AmazonS3,
    writing: AmazonS3,
    /// Whether the last request that read got no answer: then the next one does not wait as long.
    away: AtomicBool,
    runtime: Runtime,
}

impl S3Store {
    /// A store at `url`. `settings` are the usual ones by their usual names: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, ...; those that are not known are left alone. Without a key among
    /// them, the machine's own identity is asked for.
    ///
    /// Makes no request.
    pub fn open(url: S3Url, settings: &BTreeMap<String, String>) -> Result<S3Store, StoreError> {
        let failed = |source: io::Error| StoreError::Io {
            store: url.to_string(),
            doing: "set up",
            name: "the connection".into(),
            source,
        };
        // A second provider is as good as the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("s3").enable_all().build().map_err(failed)?;
        let client = |timeout: Duration, again: Duration| {
            let plain = settings.get("AWS_ENDPOINT_URL").or(settings.get("AWS_ENDPOINT"));
            let plain = plain.is_some_and(|endpoint| endpoint.starts_with("http://"));
            let options =
                ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(timeout).with_allow_http(plain);
            let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: TRIES, retry_timeout: again };
            let mut builder = AmazonS3Builder::new().with_retry(retry);
            for (name, value) in settings {
                if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
            builder.with_client_options(options).with_bucket_name(&url.bucket).build()
        };
        let made = |built: Result<AmazonS3, Error>| built.map_err(|e| failed(io::Error::other(e)));
        let (patient, hasty) = (made(client(READ, READ))?, made(client(HASTY, HASTY))?);
        let writing = made(client(WRITE, READ))?;
        Ok(S3Store { url, patient, hasty, writing, away: AtomicBool::new(false), runtime })
    }

    fn reading(&self) -> &AmazonS3 {
        if self.away.load(Ordering::Relaxed) { &self.hasty } else { &self.patient }
    }

    /// Runs a request that reads, and remembers whether it was answered.
    fn read<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = counted(Operation::Read, self.runtime.block_on(request), is_answer);
        self.away.store(matches!(result, Err(Error::Generic { .. })), Ordering::Relaxed);
        result
    }

    fn path(&self, name: &str) -> Result<Path, StoreError> {
        match is_object_name(name) {
            true => Ok(Path::from(self.url.key(name))),
            false => Err(StoreError::Name { name: name.to_owned() }),
        }
    }

    fn error(&self, doing: &'static str, name: &str, e: Error) -> StoreError {
        let (store, name) = (self.location(), name.to_owned());
        match e {
            Error::NotFound { .. } => StoreError::Missing { store, name },
            Error::AlreadyExists { .. } | Error::Precondition { .. } => StoreError::Exists { store, name },
            e => StoreError::Io { store, doing, name, source: io::Error::new(kind(&e), advised(&e)) },
        }
    }

    /// Whether the object is there with these bytes: so it is after a write whose answer was lost.
    fn has(&self, path: &Path, bytes: &[u8]) -> bool {
        let got = self.read(async { self.reading().get(path).await?.bytes().await });
        got.is_ok_and(|got| got == bytes)
    }
}

impl Store for S3Store {
    fn location(&self) -> String {
        self.url.to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name)?;
        tracing::debug!("writing {name}: {} B", bytes.len());
        // Some stores take the condition and ignore it: it spares names that are taken where it can, and nothing rests on it.
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = PutPayload::from(bytes.to_vec());
        match counted(
            Operation::Write,
            self.runtime.block_on(self.writing.put_opts(&path, payload, options)),
            is_answer,
        ) {
            Ok(_) => Ok(()),
            Err(e) => match self.error("write", name, e) {
                StoreError::Exists { .. } if self.has(&path, bytes) => Ok(()),
                e => Err(e),
            },
        }
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name)?;
        let read = async {
            let got = self.reading().get(&path).await?;
            let len = got.meta.size;
            if len > max {
                let source = format!("it has {len} bytes, more than the {max} it may have").into();
                return Err(Error::Generic { store: "S3", source });
            }
            got.bytes().await
        };
        let bytes = self.read(read).map_err(|e| self.error("read", name, e))?;
        Ok(bytes.into())
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        let path = self.path(name)?;
        let mut out = Buffer::with_capacity(len);
        if len == 0 {
            return Ok(out);
        }
        let end = offset.saturating_add(len as u64);
        let short = || StoreError::Short { store: self.location(), name: name.to_owned(), end };
        match self.read(self.reading().get_range(&path, offset..end)) {
            Ok(bytes) if bytes.len() == len => out.extend_from_slice(&bytes),
            Ok(_) => return Err(short()),
            // A range behind the end is refused in several ways: the length of the object tells.
            Err(e) => match self.size(name) {
                Ok(size) if size < end => return Err(short()),
                _ => return Err(self.error("read", name, e)),
            },
        }
        Ok(out)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let dir = prefix.strip_suffix('/');
        let below = match dir {
            Some(dir) => self.path(dir)?,
            None if prefix.is_empty() => Path::from(self.url.prefix.as_str()),
            None => return Err(StoreError::Name { name: prefix.to_owned() }),
        };
        let listed = self.read(self.reading().list(Some(&below)).try_collect::<Vec<_>>());
        let found = listed.map_err(|e| self.error("list", prefix, e))?;
        let named = |meta: object_store::ObjectMeta| {
            let name = self.url.name(meta.location.as_ref())?.to_owned();
            is_object_name(&name).then_some(Object { name, len: meta.size })
        };
        let mut out: Vec<Object> = found.into_iter().filter_map(named).collect();
        out.sort();
        Ok(out)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        match counted(Operation::Delete, self.runtime.block_on(self.writing.delete(&path)), is_answer) {
            // Whether it was there makes no difference.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.error("delete", name, e)),
        }
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        let path = self.path(name)?;
        let meta = self.read(self.reading().head(&path)).map_err(|e| self.error("read", name, e))?;
        Ok(meta.size)
    }
}

/// Whether the store has answered, and the answer is no.
fn is_answer(e: &Error) -> bool {
    matches!(e, Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Precondition { .. })
}

fn kind(e: &Error) -> io::ErrorKind {
    match e {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    }
}

/// The error with all that is behind it, and what to do where that can be told.
fn advised(e: &Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(e) = source {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = e.source();
    }
    if matches!(e, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) {
        text.push_str("; check the access key, its rights to the bucket, and whether it has expired");
    }
    text
}
