//! Metrics over HTTP: as much of HTTP/1.1 as a scraper speaks, and nothing that costs more than a scrape, whoever asks.

use crate::daemon::{
    error::Trouble,
    observed,
    shared::Shared,
    task::{Body, Task},
    tasks::Planned,
};
use crate::observe::{exposition::CONTENT_TYPE, metrics::metrics};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::timeout,
};

/// So many connections are served at once; others wait.
const AT_ONCE: usize = 16;
/// The longest request, in bytes.
const REQUEST_MAX: usize = 8 << 10;
/// How long a request may take to arrive, and an answer to be taken.
const WAIT: Duration = Duration::from_secs(10);
/// How long facts may take to be gathered.
const GATHER: Duration = Duration::from_secs(60);
/// How often it is looked whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// The task that serves them.
pub(super) fn planned(shared: &Arc<Shared>, address: SocketAddr) -> Planned {
    let shared = shared.clone();
    let body: Body = Arc::new(move |task| Handle::current().block_on(listen(task, &shared, address)));
    let name = format!("metrics {address}");
    Planned { print: name.clone(), name, source: None, mount: None, body }
}

async fn listen(task: &Task, shared: &Arc<Shared>, address: SocketAddr) -> Result<(), Trouble> {
    let cannot = |e| format!("cannot listen at {address}: {e}; [metrics] listen in the settings names another place");
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while !task.is_stopped() {
        task.pulse.beat();
        let Ok(Ok(place)) = timeout(LOOK, places.clone().acquire_owned()).await else { continue };
        match timeout(LOOK, listener.accept()).await {
            Err(_) => {}
            Ok(Ok((stream, _))) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(e) = serve(stream, shared).await {
                        tracing::debug!("a request for metrics ended early: {e}");
                    }
                });
            }
            Ok(Err(e)) => {
                tracing::warn!("{address} takes no connection: {e}");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
    Ok(())
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let request = timeout(WAIT, request(&mut stream)).await??;
    let (status, body) = match request.as_deref().map(asked) {
        None => ("431 Request Header Fields Too Large", "the request is too long\n".to_owned()),
        Some(Asked::Metrics | Asked::Head) => match gathered(shared).await {
            Ok(text) => ("200 OK", text),
            Err(why) => ("503 Service Unavailable", format!("{why}\n")),
        },
        Some(Asked::Elsewhere) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        Some(Asked::Otherwise) => ("405 Method Not Allowed", "only GET and HEAD are answered\n".to_owned()),
        Some(Asked::Nothing) => ("400 Bad Request", "this is no request\n".to_owned()),
    };
    let kind = if status == "200 OK" { CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    if !matches!(request.as_deref().map(asked), Some(Asked::Head)) {
        answer.push_str(&body);
    }
    timeout(WAIT, async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    })
    .await?
}

async fn gathered(shared: Arc<Shared>) -> Result<String, String> {
    let gather = tokio::task::spawn_blocking(move || metrics(&observed::facts(&shared, observed::SELDOM)));
    match timeout(GATHER, gather).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(e)) => Err(format!("gathering the facts ended unexpectedly: {e}")),
        Err(_) => Err("the facts could not be gathered in time".to_owned()),
    }
}

/// The head of a request; none where it is too long.
async fn request(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(Some(head)),
            n => head.extend_from_slice(&buffer[..n]),
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n") {
            return Ok(Some(head));
        }
        if head.len() > REQUEST_MAX {
            return Ok(None);
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Metrics,
    Head,
    Elsewhere,
    Otherwise,
    Nothing,
}

fn asked(head: &[u8]) -> Asked {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.trim_ascii_end().split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Asked::Nothing };
    if !version.starts_with(b"HTTP/1.") {
        return Asked::Nothing;
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    match (method, path) {
        (b"GET", b"/metrics") => Asked::Metrics,
        (b"HEAD", b"/metrics") => Asked::Head,
        (b"GET" | b"HEAD", _) => Asked::Elsewhere,
        _ => Asked::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let table: [(&[u8], Asked); 10] = [
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Asked::Metrics),
            (b"GET /metrics?x=1 HTTP/1.0\n\n", Asked::Metrics),
            (b"HEAD /metrics HTTP/1.1\r\n\r\n", Asked::Head),
            (b"GET / HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            (b"POST /metrics HTTP/1.1\r\n\r\n", Asked::Otherwise),
            (b"GET /metrics\r\n\r\n", Asked::Nothing),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", Asked::Nothing),
            (b"", Asked::Nothing),
            (b"\xff\x00 \xff HTTP/2\r\n\r\n", Asked::Nothing),
        ];
        for (head, wanted) in table {
            assert_eq!(asked(head), wanted, "{}", String::from_utf8_lossy(head));
        }
    }
}
