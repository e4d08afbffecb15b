//! Real servers on this machine that take notifications: one of mail, one of requests. They end with the test.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
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
        Server::new(mail)
    }

    pub(crate) fn http() -> Server {
        Server::new(request)
    }

    fn new(serve: fn(TcpStream, bool) -> std::io::Result<Option<Came>>) -> Server {
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

/// SMTP as a server speaks it that wants a login.
fn mail(stream: TcpStream, refuse: bool) -> std::io::Result<Option<Came>> {
    let mut to = stream.try_clone()?;
    let mut from = BufReader::new(stream);
    let mut came = Came { head: String::new(), body: String::new() };
    to.write_all(b"220 here ESMTP\r\n")?;
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let verb = line.split(' ').next().unwrap().trim().to_ascii_uppercase();
        came.head.push_str(&line);
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-here\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n",
            "AUTH" => b"235 2.7.0 welcome\r\n",
            "RCPT" if refuse => b"550 5.1.1 nobody of this name\r\n",
            "MAIL" | "RCPT" | "RSET" | "NOOP" => b"250 2.1.0 fine\r\n",
            "DATA" => {
                to.write_all(b"354 go on\r\n")?;
                loop {
                    line.clear();
                    from.read_line(&mut line)?;
                    match line.as_str() {
                        "" | ".\r\n" => break,
                        text => came.body.push_str(text),
                    }
                }
                to.write_all(b"250 2.0.0 taken\r\n")?;
                return Ok(Some(came));
            }
            "QUIT" => return to.write_all(b"221 bye\r\n").map(|()| None),
            _ => b"502 5.5.1 what\r\n",
        };
        to.write_all(answer)?;
    }
}

fn request(stream: TcpStream, refuse: bool) -> std::io::Result<Option<Came>> {
    let mut to = stream.try_clone()?;
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
    to.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok((!refuse).then(|| Came { head, body: String::from_utf8(body).unwrap() }))
}
