//! Real servers on this machine that take notifications: one of mail, one of requests. They end with the test.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

/// What came: a mail with its login, a request with its head.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    pub(crate) refuse: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn smtp() -> Server {
        Server::new(|stream, refuse| mail(stream, refuse, true, None))
    }

    pub(crate) fn http() -> Server {
        Server::new(request)
    }

    pub(crate) fn smtps(tls: &Tls) -> Server {
        let tls = tls.clone();
        Server::new(move |stream, refuse| mail(tls.over(stream), refuse, true, None))
    }

    pub(crate) fn starttls(tls: &Tls) -> Server {
        let tls = tls.clone();
        Server::new(move |stream, refuse| mail(stream, refuse, true, Some(&tls)))
    }

    pub(crate) fn https(tls: &Tls) -> Server {
        let tls = tls.clone();
        Server::new(move |stream, refuse| request(tls.over(stream), refuse))
    }

    fn new(serve: impl Fn(TcpStream, bool) -> std::io::Result<Option<Came>> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            came: Arc::default(),
            refuse: Arc::default(),
            stop: Arc::default(),
        };
        let (came, refuse, stop) = (server.came.clone(), server.refuse.clone(), server.stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                // A client that goes away in the middle has sent nothing.
                if let Ok(Some(one)) = serve(stream, refuse.load(Ordering::SeqCst)) {
                    came.lock().unwrap().push(one);
                }
            }
        });
        server
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A certificate for 127.0.0.1, made anew, and that of who issued it in a file `ca.pem`.
#[derive(Clone)]
pub(crate) struct Tls(Arc<rustls::ServerConfig>);

impl Tls {
    pub(crate) fn new(dir: &Path) -> Tls {
        let openssl = |line: &str| {
            let out = Command::new("openssl").args(line.split(' ')).current_dir(dir).output().unwrap();
            assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=ca"));
        openssl(&format!("req {key} -keyout key.pem -out csr.pem -subj /CN=here"));
        std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        openssl("x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out cert.pem");
        let chain = CertificateDer::pem_file_iter(dir.join("cert.pem")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Tls(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
    }

    fn over<S: Read + Write>(&self, stream: S) -> rustls::StreamOwned<rustls::ServerConnection, S> {
        rustls::StreamOwned::new(rustls::ServerConnection::new(self.0.clone()).unwrap(), stream)
    }
}

/// A stream of both directions, whatever it goes through.
trait Both: Read + Write {}

impl<T: Read + Write> Both for T {}

/// SMTP as a server speaks it that wants a login, and TLS first where it has it to offer.
fn mail<S: Read + Write>(stream: S, refuse: bool, greet: bool, tls: Option<&Tls>) -> std::io::Result<Option<Came>> {
    let mut from = BufReader::new(stream);
    let mut came = Came { head: String::new(), body: String::new() };
    if greet {
        from.get_mut().write_all(b"220 here ESMTP\r\n")?;
    }
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let verb = line.split(' ').next().unwrap().trim().to_ascii_uppercase();
        came.head.push_str(&line);
        let answer: &[u8] = match verb.as_str() {
            "EHLO" if tls.is_some() => b"250-here\r\n250 STARTTLS\r\n",
            "STARTTLS" if tls.is_some() => {
                from.get_mut().write_all(b"220 2.0.0 go on\r\n")?;
                let tls = tls.unwrap().over(from.into_inner());
                return mail(Box::new(tls) as Box<dyn Both>, refuse, false, None);
            }
            _ if tls.is_some() && verb != "QUIT" => b"530 5.7.0 TLS first\r\n",
            "EHLO" => b"250-here\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n",
            "AUTH" => b"235 2.7.0 welcome\r\n",
            "RCPT" if refuse => b"550 5.1.1 nobody of this name\r\n",
            "MAIL" | "RCPT" | "RSET" | "NOOP" => b"250 2.1.0 fine\r\n",
            "DATA" => {
                from.get_mut().write_all(b"354 go on\r\n")?;
                loop {
                    line.clear();
                    from.read_line(&mut line)?;
                    match line.as_str() {
                        "" | ".\r\n" => break,
                        text => came.body.push_str(text),
                    }
                }
                from.get_mut().write_all(b"250 2.0.0 taken\r\n")?;
                return Ok(Some(came));
            }
            "QUIT" => return from.get_mut().write_all(b"221 bye\r\n").map(|()| None),
            _ => b"502 5.5.1 what\r\n",
        };
        from.get_mut().write_all(answer)?;
    }
}

fn request<S: Read + Write>(stream: S, refuse: bool) -> std::io::Result<Option<Came>> {
    let mut from = BufReader::new(stream);
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body)?;
    let status = if refuse { "503 Service Unavailable" } else { "204 No Content" };
    from.get_mut()
        .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok((!refuse).then(|| Came { head, body: String::from_utf8(body).unwrap() }))
}
