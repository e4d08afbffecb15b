//! An object store that speaks S3, in this process, and a line to it that can fail.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use bygone::store::s3::S3Store;
use bygone::types::location::S3Url;
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    HttpError, HttpResponse, S3Result,
    auth::{S3Auth, SecretKey},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// The bucket that is there.
pub const BUCKET: &str = "bucket";
const KEY: (&str, &str) = ("AKEXAMPLE", "secret-of-the-example");

/// A server with one bucket, and a line in front of it.
pub struct Server {
    dir: tempfile::TempDir,
    line: SocketAddr,
    state: Arc<Line>,
    _runtime: Runtime,
}

/// What the line does with connections, those that are open too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// They pass.
    Up,
    /// They are refused, and open ones end.
    Cut,
    /// They are taken and nothing ever comes.
    Hole,
}

#[derive(Default)]
struct Line {
    mode: AtomicU8,
    /// Connections that were made.
    connections: AtomicU64,
    /// Connections that pass now.
    passing: AtomicU64,
    /// What is added to each request, in milliseconds.
    delay: AtomicU64,
    /// So many requests more are told to slow down.
    refuse: AtomicU64,
    /// The bodies of objects end in the middle.
    breaking: std::sync::atomic::AtomicBool,
    /// The requests that were made: method and path.
    requests: Mutex<Vec<String>>,
    /// Requests that are being answered, and the most there were at once.
    under_way: AtomicU64,
    most: AtomicU64,
    /// What the secret is now.
    secret: Mutex<String>,
}

/// The service behind the line, which counts, waits and refuses.
#[derive(Clone)]
struct Front {
    service: S3Service,
    state: Arc<Line>,
    dir: PathBuf,
}

impl Front {
    fn of(dir: &Path, state: &Arc<Line>) -> Front {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir).unwrap());
        builder.set_auth(Auth(state.clone()));
        *state.secret.lock().unwrap() = KEY.1.to_owned();
        Front { service: builder.build(), state: state.clone(), dir: dir.to_owned() }
    }

    /// The bytes of an answer that has an object or a part of it: the service itself would read them from the file 4 KiB at a time.
    async fn bytes(&self, path: &str, head: &hyper::http::response::Parts) -> Option<Vec<u8>> {
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        let len: usize = header("content-length")?.parse().ok()?;
        let from = match header("content-range") {
            Some(range) => range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()?,
            None => 0,
        };
        let file = std::fs::File::open(self.dir.join(path)).ok().filter(|_| head.status.is_success())?;
        let read = move || {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, from).ok().map(|()| bytes)
        };
        tokio::task::spawn_blocking(read).await.ok()?
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (front, state, service) = (self.clone(), self.state.clone(), self.service.clone());
        Box::pin(async move {
            state.requests.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            let now = state.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            state.most.fetch_max(now, Ordering::SeqCst);
            // Counted out also where the client goes away.
            let _counted = Counted(state.clone());
            let delay = state.delay.load(Ordering::SeqCst);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            let refuse = |n: u64| n.checked_sub(1);
            if state.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
                let text = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
                let mut answer = HttpResponse::new(s3s::Body::from(text.to_owned()));
                *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                return Ok(answer);
            }
            let path = request.uri().path().trim_start_matches('/').to_owned();
            let of_object = request.method() == hyper::Method::GET
                && path.split_once('/').is_some_and(|(_, key)| !key.is_empty())
                && request.uri().query().is_none();
            let cut = of_object && state.breaking.load(Ordering::SeqCst);
            let answer = Service::call(&service, request).await?;
            let (head, body) = answer.into_parts();
            let len = head.headers.get("content-length").and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
            // The length that was promised stays, so the connection is closed where it is short.
            let bytes = match len.filter(|len| cut && *len > 1) {
                Some(len) => Some(vec![b'x'; len / 2]),
                None if of_object => front.bytes(&path, &head).await,
                None => None,
            };
            Ok(HttpResponse::from_parts(head, bytes.map_or(body, s3s::Body::from)))
        })
    }
}

struct Counted(Arc<Line>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One key, whose secret may change.
struct Auth(Arc<Line>);

impl S3Auth for Auth {
    fn get_secret_key<'a, 'b, 'c>(
        &'a self,
        key: &'b str,
    ) -> Pin<Box<dyn Future<Output = S3Result<SecretKey>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            match key == KEY.0 {
                true => Ok(SecretKey::from(self.0.secret.lock().unwrap().clone())),
                false => Err(s3_error!(InvalidAccessKeyId)),
            }
        })
    }
}

impl Server {
    /// Starts it on a free port of 127.0.0.1.
    pub fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let state = Arc::new(Line::default());
        let service = Front::of(dir.path(), &state);
        let server = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let behind = server.local_addr().unwrap();
        runtime.spawn(answer(server, service));
        let front = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let line = front.local_addr().unwrap();
        runtime.spawn(pass(front, behind, state.clone()));
        Server { dir, line, state, _runtime: runtime }
    }

    /// The settings of a client of it.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let settings = [
            ("AWS_ACCESS_KEY_ID", KEY.0.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", KEY.1.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.line)),
        ];
        settings.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// A store in it.
    pub fn store(&self, prefix: &str) -> S3Store {
        let url: S3Url = format!("s3://{BUCKET}/{prefix}").parse().unwrap();
        S3Store::open(url, &self.settings()).unwrap()
    }

    /// The file behind an object.
    pub fn file(&self, key: &str) -> PathBuf {
        Path::new(self.dir.path()).join(BUCKET).join(key)
    }

    /// Adds so much to each request from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Tells the next so many requests to slow down.
    pub fn refuse(&self, count: u64) {
        self.state.refuse.store(count, Ordering::SeqCst);
    }

    /// Lets the bodies of objects end in the middle, or not any more.
    pub fn break_bodies(&self, on: bool) {
        self.state.breaking.store(on, Ordering::SeqCst);
    }

    /// How many requests are still told so.
    pub fn refusing(&self) -> u64 {
        self.state.refuse.load(Ordering::SeqCst)
    }

    /// The requests since the last call: method and path each.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.requests.lock().unwrap())
    }

    /// The most requests that were answered at once since the last call.
    pub fn most_at_once(&self) -> u64 {
        self.state.most.swap(0, Ordering::SeqCst)
    }

    /// Changes the secret of the key: what was signed with the one before is refused.
    pub fn rotate(&self, secret: &str) {
        *self.state.secret.lock().unwrap() = secret.to_owned();
    }

    /// What the line does from now on: when this returns, nothing passes in another way any more.
    pub fn set(&self, mode: Mode) {
        self.state.mode.store(mode as u8, Ordering::SeqCst);
        while mode != Mode::Up && self.state.passing.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

async fn answer(server: TcpListener, service: Front) {
    let http = Builder::new(TokioExecutor::new());
    while let Ok((socket, _)) = server.accept().await {
        let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        // How one connection ends is no matter to the others.
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// Serves a directory at an address until the process is killed, and keeps what is there.
pub fn serve(dir: &Path, at: SocketAddr) {
    std::fs::create_dir_all(dir.join(BUCKET)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let service = Front::of(dir, &Arc::new(Line::default()));
    runtime.block_on(async {
        let server = TcpListener::bind(at).await.unwrap();
        answer(server, service).await;
    });
}

async fn pass(front: TcpListener, behind: SocketAddr, state: Arc<Line>) {
    while let Ok((mut near, _)) = front.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let state = state.clone();
        tokio::spawn(async move {
            // Counted first: whoever changes the mode sees it, or it sees the mode.
            state.passing.fetch_add(1, Ordering::SeqCst);
            if state.mode.load(Ordering::SeqCst) == Mode::Up as u8 {
                let through = async {
                    let mut far = TcpStream::connect(behind).await?;
                    copy_bidirectional(&mut near, &mut far).await
                };
                let interrupted = async {
                    while state.mode.load(Ordering::SeqCst) == Mode::Up as u8 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    _ = through => {}
                    () = interrupted => {}
                }
            }
            state.passing.fetch_sub(1, Ordering::SeqCst);
            while state.mode.load(Ordering::SeqCst) == Mode::Hole as u8 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
}
