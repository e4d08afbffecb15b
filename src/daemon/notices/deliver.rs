//! Delivers a message by a channel, in bounded time.

use crate::config::watched::{Channel, SecretFrom, Way};
use crate::daemon::notices::{command, message::Message, smtp, webhook};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a delivery may take.
pub(super) const WAIT: Duration = Duration::from_secs(30);
/// What a certificate begins with.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// The longest secret, in bytes.
const SECRET_MAX: usize = 16 << 10;

/// Why a message was not delivered. None of them tells a secret.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A secret can't be read from a file.
    #[error("cannot read the secret of the channel from {}: {source}", path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A secret is not where it should be.
    #[error("{place} has no secret for the channel")]
    NoSecret {
        /// Where.
        place: String,
    },
    /// The message can't be made, or the channel can't be used as it is set.
    #[error("{what}: {why}")]
    Setting {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// The other end did not take it.
    #[error("{to} did not take it: {why}")]
    Refused {
        /// Who.
        to: String,
        /// Why.
        why: String,
    },
}

/// Reads a variable of the environment.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Delivers. Blocks, for a minute at most.
pub fn deliver(channel: &Channel, message: &Message, variable: Variable<'_>) -> Result<(), DeliveryError> {
    match &channel.way {
        Way::Smtp(settings) => {
            let password = settings.password.as_ref().map(|from| secret(from, variable)).transpose()?;
            smtp::send(settings, password, authorities(settings.ca_file.as_deref())?.as_deref(), message)
        }
        Way::Webhook { url, header, ca_file } => {
            let header = header.as_ref().map(|from| secret(from, variable)).transpose()?;
            webhook::send(url, header, authorities(ca_file.as_deref())?.as_deref(), message)
        }
        Way::Command(command) => command::run(command, message),
    }
}

/// The text of a file of certificates.
fn authorities(file: Option<&Path>) -> Result<Option<Vec<u8>>, DeliveryError> {
    let Some(file) = file else { return Ok(None) };
    let wrong = |why: String| DeliveryError::Setting {
        what: format!("cannot use the certificates of {}", file.display()),
        why,
    };
    let text = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
    match text.windows(BEGIN.len()).any(|part| part == BEGIN) {
        true => Ok(Some(text)),
        false => Err(wrong("it has no certificate in PEM form".into())),
    }
}

/// Why the other end did not take it, with what to do where it is not trusted.
pub(super) fn advised(why: String) -> String {
    match why.contains("UnknownIssuer") {
        true => format!(
            "{why}; this machine does not trust who issued its certificate: `ca-file` names a certificate to trust"
        ),
        false => why,
    }
}

/// The message as JSON.
pub(super) fn json(message: &Message) -> Result<Vec<u8>, DeliveryError> {
    serde_json::to_vec(message)
        .map_err(|e| DeliveryError::Setting { what: "the message can't be written".into(), why: e.to_string() })
}

fn secret(from: &SecretFrom, variable: Variable<'_>) -> Result<String, DeliveryError> {
    let (place, text) = match from {
        SecretFrom::File(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| DeliveryError::SecretFile { path: path.clone(), source })?;
            (path.display().to_string(), Some(text))
        }
        SecretFrom::Env(name) => (format!("the variable {name}"), variable(name)),
    };
    let line = text.as_deref().and_then(|text| text.lines().next()).map(str::trim).unwrap_or_default();
    match line.is_empty() || line.len() > SECRET_MAX {
        true => Err(DeliveryError::NoSecret { place }),
        false => Ok(line.to_owned()),
    }
}
