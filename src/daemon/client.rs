//! The other end of the control socket: asks a running service.

use crate::config::roles::Role;
use crate::daemon::protocol::{ANSWER_MAX, Answer, Ask, SILENCE};
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

/// How a question ended.
#[derive(Debug)]
pub enum Reached {
    /// No service listens there.
    Nobody,
    /// A service for other settings does, or for another repository than that which was named.
    Other {
        /// Its settings.
        settings: PathBuf,
    },
    /// Done: what, and whether all of it.
    Done {
        /// What was done.
        what: String,
        /// Whether all of it was.
        whole: bool,
    },
    /// Not for this role.
    Refused {
        /// Why.
        why: String,
        /// The role that it needs.
        needs: Role,
        /// The role that whoever asked has.
        has: Option<Role>,
    },
    /// It failed.
    Failed {
        /// Why.
        why: String,
    },
}

/// Why a service could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed.
    #[error("cannot speak with the service at {}: {source}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer is none.
    #[error("the service at {} gave an answer that is not understood: {source}; is it of another version?", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It ended in the middle.
    #[error("the service at {} ended before it had answered", socket.display())]
    Ended {
        /// The socket.
        socket: PathBuf,
    },
}

/// Asks the service at `socket`. What it tells on the way goes to `each`.
pub fn ask(socket: &Path, ask: &Ask, each: &mut dyn FnMut(Answer)) -> Result<Reached, ClientError> {
    let failed = |source| ClientError::Io { socket: socket.to_owned(), source };
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput
            ) =>
        {
            // At a path that is too long for a socket nobody can listen either.
            return Ok(Reached::Nobody);
        }
        Err(e) => return Err(failed(e)),
    };
    stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE))).map_err(failed)?;
    let bad = |source| ClientError::Answer { socket: socket.to_owned(), source };
    let mut line = serde_json::to_vec(ask).map_err(bad)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut answers = BufReader::new(stream);
    loop {
        line.clear();
        answers.by_ref().take(ANSWER_MAX).read_until(b'\n', &mut line).map_err(failed)?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::Ended { socket: socket.to_owned() });
        }
        match serde_json::from_slice(&line).map_err(bad)? {
            Answer::Working => {}
            Answer::Other { settings } => return Ok(Reached::Other { settings }),
            Answer::Done { what, whole } => return Ok(Reached::Done { what, whole }),
            Answer::Refused { why, needs, has } => return Ok(Reached::Refused { why, needs, has }),
            Answer::Failed { why } => return Ok(Reached::Failed { why }),
            told => each(told),
        }
    }
}
