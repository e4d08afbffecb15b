//! The control socket: takes connections, reads one question of each, and sends the answers.

use crate::capture::pace::Pace;
use crate::daemon::{
    answer::{Asked, answer},
    protocol::{ASK_MAX, Answer, Ask, LOOK, WORKING, What},
    shared::Shared,
    supervisor::Order,
};
use crate::sys::{
    clock,
    local::{self, Peer},
    process,
};
use std::{
    collections::HashMap,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc::{self, UnboundedSender},
    time::timeout,
};

/// So many connections are served at once, of all users but root and the one of the service.
const AT_ONCE: usize = 128;
/// So many of one user.
const OF_ONE: usize = 16;
/// So many of root, and of the user of the service: however many there are, files can be opened for capture.
const OF_OWN: usize = 96;
/// How long a question may take to arrive.
const ASK_WAIT: Duration = Duration::from_secs(10);
/// How long a line of an answer may take to be read.
const SEND_WAIT: Duration = Duration::from_secs(30);

/// The connections of each user.
type Users = Arc<Mutex<HashMap<u32, usize>>>;

/// Serves until the service ends.
pub(super) async fn serve(listener: UnixListener, shared: Arc<Shared>, orders: UnboundedSender<Order>) {
    let users = Users::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, orders, users) = (shared.clone(), orders.clone(), users.clone());
                tokio::spawn(async move {
                    if let Err(e) = talk(stream, shared, orders, users).await {
                        tracing::debug!("a connection to the control socket ended early: {e}");
                    }
                });
            }
            Err(e) => {
                tracing::error!("the control socket takes no connection: {e}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn talk(
    mut stream: UnixStream,
    shared: Arc<Shared>,
    orders: UnboundedSender<Order>,
    users: Users,
) -> std::io::Result<()> {
    let peer = local::peer(&stream)?;
    let Some(_place) = Place::take(&users, peer.uid) else {
        let why = "too many connections at once: try again in a moment".to_owned();
        return send(&mut stream, &Answer::Failed { why }).await;
    };
    let ask = match timeout(ASK_WAIT, read(&mut stream)).await {
        Ok(Ok(Ok(ask))) => ask,
        Ok(Ok(Err(why))) => return send(&mut stream, &Answer::Failed { why }).await,
        Ok(Err(e)) => return Err(e),
        Err(_) => return send(&mut stream, &Answer::Failed { why: "no question came".to_owned() }).await,
    };
    let (to, mut answers) = mpsc::unbounded_channel();
    let asker: Peer = peer.clone();
    let is_snapshot = matches!(ask.what, What::Snapshot { .. });
    let line_to = stream.as_fd().try_clone_to_owned()?;
    tokio::task::spawn_blocking(move || {
        // Who does not listen any more is answered all the same: what was begun is finished, and nothing more is begun.
        let is_gone = || local::is_closed(&line_to).unwrap_or(false);
        let asked = Asked { shared: &shared, orders: &orders, peer: &asker, is_gone: &is_gone };
        answer(&asked, &ask, &|line| drop(to.send(line)));
    });
    let (mut told, mut held_told) = (Instant::now(), !is_snapshot);
    loop {
        let line = match timeout(LOOK, answers.recv()).await {
            Ok(Some(line)) => line,
            Ok(None) => return stream.shutdown().await,
            Err(_) => match Pace::of_process().held(clock::now()).filter(|_| !held_told) {
                Some(held) => {
                    held_told = true;
                    Answer::Held(held)
                }
                None if told.elapsed() >= WORKING => Answer::Working,
                None => continue,
            },
        };
        send(&mut stream, &line).await?;
        told = Instant::now();
    }
}

/// Reads the one line that asks.
async fn read(stream: &mut UnixStream) -> std::io::Result<Result<Ask, String>> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while !line.contains(&b'\n') {
        if line.len() > ASK_MAX {
            return Ok(Err(format!("a question has at most {ASK_MAX} bytes")));
        }
        match stream.read(&mut buffer).await? {
            0 => break,
            n => line.extend_from_slice(&buffer[..n]),
        }
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(line).map_err(|e| format!("the question is not understood: {e}")))
}

async fn send(stream: &mut UnixStream, line: &Answer) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    timeout(SEND_WAIT, stream.write_all(&bytes)).await?
}

/// The place of one connection among all, until it is dropped.
struct Place {
    users: Users,
    uid: u32,
}

impl Place {
    fn take(users: &Users, uid: u32) -> Option<Place> {
        let mut all = users.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = |uid: u32| uid == 0 || uid == process::effective_uid();
        let own = all.get(&uid).copied().unwrap_or(0);
        let sum: usize = all.iter().filter(|(of, _)| !is_own(**of)).map(|(_, n)| n).sum();
        let is_full = match is_own(uid) {
            true => own >= OF_OWN,
            false => own >= OF_ONE || sum >= AT_ONCE,
        };
        if is_full {
            return None;
        }
        all.insert(uid, own + 1);
        Some(Place { users: users.clone(), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.uid) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(all.remove(&self.uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_everybody_and_others_take_none_from_root() {
        let users = Users::default();
        let taken = |uid, most: usize| (0..most + 1).map_while(|_| Place::take(&users, uid)).collect::<Vec<_>>();
        let own = process::effective_uid();
        let others: Vec<Vec<Place>> = (1..100).filter(|n| *n != own).map(|uid| taken(uid, OF_ONE)).collect();
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), AT_ONCE);
        assert!(others.iter().all(|places| places.len() <= OF_ONE));
        let root = taken(0, OF_OWN);
        assert_eq!(root.len(), OF_OWN, "however many others there are");
        assert!(Place::take(&users, 1).is_none());
        drop(others);
        assert!(Place::take(&users, 1).is_some(), "those of root count for root alone");
        drop(root);
        assert!(users.lock().unwrap().is_empty());
    }
}
