//! A store in a bucket of an object store that speaks S3. The only file that knows how.

use crate::store::{
    api::{Object, Store, StoreError, is_object_name},
    counts::{Operation, counted},
    credentials::{CredentialsError, Profile},
    s3_lock::{Connector, LOCKED_UNTIL, Lock},
};
use crate::sys::{buffer::Buffer, clock};
use crate::types::{
    location::S3Url,
    time::Instant,
    when::{
        name::{Name, parse_name},
        zone::Zone,
    },
};
use futures_util::TryStreamExt;
use object_store::{
    Attribute, BackoffConfig, ClientOptions, CredentialProvider, Error, GetOptions, GetRange, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, Checksum},
    path::Path,
};
use std::{
    collections::BTreeMap,
    error::Error as _,
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
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

/// What is locked, where the settings say so: all that is never changed and only collection deletes.
const LOCKED: [&str; 4] = ["packs/", "journal/", "holds/", "audit/"];

/// Objects in a bucket, below a prefix. Clones of a connection pool: any number of threads may use it at once.
pub struct S3Store {
    url: S3Url,
    patient: AmazonS3,
    hasty: AmazonS3,
    writing: AmazonS3,
    /// The same for what is locked.
    locking: Option<AmazonS3>,
    /// Whether the last request that read got no answer: then the next one does not wait as long.
    away: AtomicBool,
    /// The same for the last one that read an object: what is short may come through where that does not.
    broken: AtomicBool,
    runtime: Runtime,
}

impl S3Store {
    /// A store at `url`. `settings` are the usual ones by their usual names: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, `AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `HOME`, ...; those that are not known are left alone.
    /// Without a key among them it comes from the files of [profiles](Profile), which are read again when they change; else the
    /// machine's own identity is asked for.
    ///
    /// Makes no request.
    pub fn open(url: S3Url, settings: &BTreeMap<String, String>) -> Result<S3Store, StoreError> {
        S3Store::open_locking(url, settings, None)
    }

    /// As [`S3Store::open`]; what is put carries a lock, in a bucket that has them.
    pub fn open_locking(
        url: S3Url,
        settings: &BTreeMap<String, String>,
        lock: Option<Lock>,
    ) -> Result<S3Store, StoreError> {
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
        let (settings, keys) = surroundings(settings).map_err(|e| failed(io::Error::other(e)))?;
        let client = |timeout: Duration, again: Duration| builder(&url, &settings, &keys, timeout, again);
        let made = |builder: AmazonS3Builder| builder.build().map_err(|e| failed(io::Error::other(e)));
        let (patient, hasty) = (made(client(READ, READ))?, made(client(HASTY, HASTY))?);
        let writing = made(client(WRITE, READ))?;
        let locking = lock.map(|lock| {
            let region = settings.get("AWS_REGION").map_or("us-east-1", String::as_str).to_owned();
            let credentials = Arc::new(OnceLock::new());
            let connector = Connector { lock, region, credentials: credentials.clone() };
            // A lock asks for a checksum of what it keeps.
            let client = client(WRITE, READ).with_checksum_algorithm(Checksum::SHA256).with_http_connector(connector);
            made(client).inspect(|client| drop(credentials.set(client.credentials().clone())))
        });
        let locking = locking.transpose()?;
        Ok(S3Store {
            url,
            patient,
            hasty,
            writing,
            locking,
            away: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            runtime,
        })
    }

    /// The next request that reads does not wait as long: the store did not answer the last process that asked.
    pub fn hurry(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    fn reading(&self) -> &AmazonS3 {
        if self.away.load(Ordering::Relaxed) { &self.hasty } else { &self.patient }
    }

    fn reading_object(&self) -> &AmazonS3 {
        if self.broken.load(Ordering::Relaxed) { &self.hasty } else { self.reading() }
    }

    /// As [`S3Store::read`], for what an object holds.
    fn read_object<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = self.read(request);
        self.broken.store(result.as_ref().is_err_and(is_unanswered), Ordering::Relaxed);
        result
    }

    /// Runs a request that reads, and remembers whether it was answered.
    fn read<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = counted(Operation::Read, self.runtime.block_on(request), is_answer);
        self.away.store(result.as_ref().is_err_and(is_unanswered), Ordering::Relaxed);
        result
    }

    /// Until when the store keeps an object, where that is still to come. A bucket with versions would take a deletion and
    /// only hide the object: so it is asked, where locks are used.
    fn locked_until(&self, path: &Path, name: &str) -> Result<Option<Instant>, StoreError> {
        let Some(client) = &self.locking else { return Ok(None) };
        let head = self.runtime.block_on(client.get_opts(path, GetOptions::new().with_head(true)));
        let attributes = match head {
            Ok(got) => got.attributes,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.error("read", name, e)),
        };
        let Some(text) = attributes.get(&Attribute::Metadata(LOCKED_UNTIL.into())) else { return Ok(None) };
        // A time that can't be read is one that may be to come.
        let until = match parse_name(text, &Zone::system()) {
            Some(Name::Period { end, .. }) => end,
            _ => Instant(i64::MAX),
        };
        Ok(Some(until).filter(|until| *until > clock::now()))
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

    fn write(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Result<(), Error>, StoreError> {
        let path = self.path(name)?;
        let options = PutOptions { mode, ..PutOptions::default() };
        let payload = PutPayload::from(bytes.to_vec());
        let locked = LOCKED.iter().any(|prefix| name.starts_with(prefix));
        let client = self.locking.as_ref().filter(|_| locked).unwrap_or(&self.writing);
        let put = self.runtime.block_on(client.put_opts(&path, payload, options));
        Ok(counted(Operation::Write, put, is_answer).map(drop))
    }

    /// Whether the object is there with these bytes: so it is after a write whose answer was lost.
    fn has(&self, path: &Path, bytes: &[u8]) -> bool {
        let got = self.read_object(async { self.reading_object().get(path).await?.bytes().await });
        got.is_ok_and(|got| got == bytes)
    }
}

/// An access key from the files of profiles, whatever it is at the time.
#[derive(Debug)]
struct FromFiles(Arc<Profile>);

impl CredentialProvider for FromFiles {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> Pin<Box<dyn Future<Output = Result<Arc<AwsCredential>, Error>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Unauthenticated {
                path: "the access key".into(),
                source,
            };
            let key = self.0.key().map_err(|e| failed(e.into()))?;
            let key = key.ok_or_else(|| failed("the files that had one have none any more".into()))?;
            Ok(Arc::new(AwsCredential { key_id: key.id, secret_key: key.secret, token: key.token }))
        })
    }
}

type Settings = BTreeMap<String, String>;

/// The settings with what the files of profiles add to them, and the profile where the key comes from it.
fn surroundings(given: &Settings) -> Result<(Settings, Option<Arc<Profile>>), CredentialsError> {
    let mut settings = given.clone();
    if let Some(region) = given.get("AWS_DEFAULT_REGION") {
        settings.entry("AWS_REGION".into()).or_insert_with(|| region.clone());
    }
    let profile = Profile::of(given);
    let names = [
        ("region", "AWS_REGION"),
        ("endpoint_url", "AWS_ENDPOINT_URL"),
        ("role_arn", "AWS_ROLE_ARN"),
        ("role_session_name", "AWS_ROLE_SESSION_NAME"),
        ("web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ];
    for (theirs, ours) in names {
        if let (false, Some(value)) = (settings.contains_key(ours), profile.setting(theirs)?) {
            settings.insert(ours.into(), value);
        }
    }
    if settings.contains_key("AWS_ACCESS_KEY_ID") {
        return Ok((settings, None));
    }
    let has_key = profile.key()?.is_some();
    Ok((settings, has_key.then(|| Arc::new(profile))))
}

fn builder(
    url: &S3Url,
    settings: &Settings,
    keys: &Option<Arc<Profile>>,
    timeout: Duration,
    again: Duration,
) -> AmazonS3Builder {
    let plain = settings.get("AWS_ENDPOINT_URL").or(settings.get("AWS_ENDPOINT"));
    let plain = plain.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let options = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(timeout).with_allow_http(plain);
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: TRIES, retry_timeout: again };
    let mut builder = AmazonS3Builder::new().with_retry(retry);
    for (name, value) in settings {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(keys) = keys {
        builder = builder.with_credentials(Arc::new(FromFiles(keys.clone())));
    }
    builder.with_client_options(options).with_bucket_name(&url.bucket)
}

/// One run of bytes on its way into the parts of it that were asked for.
struct Scattered<'a> {
    ranges: &'a [(u64, usize)],
    out: Vec<Buffer>,
    begin: u64,
    end: u64,
    /// The next byte that comes.
    at: u64,
    /// The first part that is not whole yet.
    next: usize,
}

impl Scattered<'_> {
    fn new(ranges: &[(u64, usize)]) -> Scattered<'_> {
        let out = ranges.iter().map(|(_, len)| Buffer::with_capacity(*len)).collect();
        let begin = ranges.first().map_or(0, |(offset, _)| *offset);
        let end = ranges.last().map_or(0, |(offset, len)| offset.saturating_add(*len as u64));
        Scattered { ranges, out, begin, end, at: begin, next: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((offset, len)) = self.ranges.get(self.next).filter(|_| !bytes.is_empty()) {
            let between = offset.saturating_sub(self.at).min(bytes.len() as u64);
            let rest = &bytes[between as usize..];
            let part = &mut self.out[self.next];
            let more = rest.len().min(len - part.len());
            part.extend_from_slice(&rest[..more]);
            self.next += usize::from(part.len() == *len);
            self.at += between + more as u64;
            bytes = &rest[more..];
        }
        self.at += bytes.len() as u64;
    }
}

impl Store for S3Store {
    fn location(&self) -> String {
        self.url.to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        tracing::debug!("writing {name}: {} B", bytes.len());
        // Some stores take the condition and ignore it: it spares names that are taken where it can, and nothing rests on it.
        match self.write(name, bytes, PutMode::Create)? {
            Ok(()) => Ok(()),
            Err(e) => match self.error("write", name, e) {
                StoreError::Exists { .. } if self.has(&self.path(name)?, bytes) => Ok(()),
                e => Err(e),
            },
        }
    }

    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        tracing::debug!("replacing {name}: {} B", bytes.len());
        self.write(name, bytes, PutMode::Overwrite)?.map_err(|e| self.error("replace", name, e))
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name)?;
        let read = async {
            let got = self.reading_object().get(&path).await?;
            let len = got.meta.size;
            if len > max {
                return Err(Error::Generic { store: "S3", source: TooLong { len, max }.into() });
            }
            got.bytes().await
        };
        let bytes = self.read_object(read).map_err(|e| self.error("read", name, e))?;
        Ok(bytes.into())
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        Ok(self.get_ranges(name, &[(offset, len)])?.pop().unwrap_or_default())
    }

    fn get_ranges(&self, name: &str, ranges: &[(u64, usize)]) -> Result<Vec<Buffer>, StoreError> {
        let path = self.path(name)?;
        let mut parts = Scattered::new(ranges);
        let end = parts.end;
        if parts.begin == end {
            return Ok(parts.out);
        }
        let short = || StoreError::Short { store: self.location(), name: name.to_owned(), end };
        let request = async {
            let range = GetRange::Bounded(parts.begin..end);
            let got = self.reading_object().get_opts(&path, GetOptions::new().with_range(Some(range))).await?;
            let mut bytes = got.into_stream();
            while let Some(some) = bytes.try_next().await? {
                parts.take(&some);
            }
            Ok(())
        };
        match self.read_object(request) {
            Ok(()) if parts.at == end => Ok(parts.out),
            Ok(()) => Err(short()),
            // A range behind the end is refused in several ways: the length of the object tells.
            Err(e) if is_unanswered(&e) => Err(self.error("read", name, e)),
            Err(e) => match self.size(name) {
                Ok(size) if size < end => Err(short()),
                _ => Err(self.error("read", name, e)),
            },
        }
    }

    fn far(&self) -> bool {
        true
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
        let locked = |until| StoreError::Locked { store: self.location(), name: name.to_owned(), until };
        if let Some(until) = self.locked_until(&path, name)? {
            return Err(locked(Some(until)));
        }
        match counted(Operation::Delete, self.runtime.block_on(self.writing.delete(&path)), is_answer) {
            // Whether it was there makes no difference.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e @ Error::PermissionDenied { .. }) if is_lock(&e) => Err(locked(None)),
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

/// Whether a request got no answer, or only that the service can't answer now: whatever is no refusal.
fn is_unanswered(e: &Error) -> bool {
    let Error::Generic { source, .. } = e else { return false };
    let mut next = Some(source.as_ref() as &(dyn std::error::Error + 'static));
    while let Some(e) = next {
        // The library tells a status in words only.
        if e.is::<TooLong>() || e.to_string().contains("status code: 4") {
            return false;
        }
        next = e.source();
    }
    true
}

/// Whether what is refused is refused by a lock, as far as the words tell.
fn is_lock(e: &Error) -> bool {
    let text = advised(e).to_ascii_lowercase();
    ["object lock", "objectlock", "worm protected", "retention", "retain"].iter().any(|word| text.contains(word))
}

/// An object that is longer than its reader takes.
#[derive(Debug, thiserror::Error)]
#[error("it has {len} bytes, more than the {max} it may have")]
struct TooLong {
    len: u64,
    max: u64,
}

fn kind(e: &Error) -> io::ErrorKind {
    match e {
        e if is_unanswered(e) => io::ErrorKind::TimedOut,
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
