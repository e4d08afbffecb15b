//! A legal hold as bytes: JSON of a stated version. What can't be understood whole is an error and never another hold.

use serde::{Deserialize, Serialize};

use super::hold::{Hold, Scope};
use crate::types::{path, time::Instant};

/// The version that is written.
const VERSION: u32 = 1;
/// The longest text that is read, in bytes.
pub const LEN_MAX: usize = 1 << 20;

/// Why a hold can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The text is longer than any that is written.
    #[error(
        "a legal hold can't be read: it has {0} bytes, more than any has; restore the object that holds it from a copy"
    )]
    Long(usize),
    /// The text is no such JSON.
    #[error("a legal hold can't be read: {0}; restore the object that holds it from a copy")]
    Text(serde_json::Error),
    /// Another program wrote it.
    #[error("a legal hold has version {0}, and this program knows {VERSION}: use the newer program that wrote it")]
    Version(u32),
    /// A value that no hold has.
    #[error("the legal hold {id:?} can't be: {what}")]
    Value {
        /// The id it has.
        id: String,
        /// What is wrong, and what to do.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    id: String,
    owner: String,
    reason: String,
    paths: Vec<Bytes>,
    sources: Vec<Bytes>,
    hosts: Vec<String>,
    from_ns: Option<i64>,
    to_ns: Option<i64>,
    until_ns: Option<i64>,
}

/// Bytes: a string where they are UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Other { bytes_base64: String },
}

impl Bytes {
    fn of(bytes: &[u8]) -> Bytes {
        match std::str::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text.to_owned()),
            Err(_) => Bytes::Other { bytes_base64: data_encoding::BASE64.encode(bytes) },
        }
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Bytes::Text(text) => Some(text.into_bytes()),
            Bytes::Other { bytes_base64 } => data_encoding::BASE64.decode(bytes_base64.as_bytes()).ok(),
        }
    }
}

impl Hold {
    /// The hold as bytes. Fails where [`Hold::check`] does.
    pub fn encode(&self) -> Result<Vec<u8>, HoldError> {
        self.check()?;
        let list = |all: &[Vec<u8>]| all.iter().map(|bytes| Bytes::of(bytes)).collect();
        let stored = Stored {
            version: VERSION,
            id: self.id.clone(),
            owner: self.owner.clone(),
            reason: self.reason.clone(),
            paths: list(&self.scope.paths),
            sources: list(&self.scope.sources),
            hosts: self.scope.hosts.clone(),
            from_ns: self.scope.from.map(|t| t.0),
            to_ns: self.scope.to.map(|t| t.0),
            until_ns: self.until.map(|t| t.0),
        };
        serde_json::to_vec(&stored).map_err(HoldError::Text)
    }

    /// The hold that [`Hold::encode`] made these bytes of.
    pub fn decode(bytes: &[u8]) -> Result<Hold, HoldError> {
        if bytes.len() > LEN_MAX {
            return Err(HoldError::Long(bytes.len()));
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(HoldError::Text)?;
        if version != VERSION {
            return Err(HoldError::Version(version));
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(HoldError::Text)?;
        let what = "a path in it is not encoded as paths are; restore the object that holds it from a copy";
        let id = stored.id.clone();
        let list = |all: Vec<Bytes>| all.into_iter().map(Bytes::bytes).collect::<Option<Vec<_>>>();
        let (paths, sources) = list(stored.paths).zip(list(stored.sources)).ok_or(HoldError::Value { id, what })?;
        let (from, to) = (stored.from_ns.map(Instant), stored.to_ns.map(Instant));
        let hold = Hold {
            id: stored.id,
            owner: stored.owner,
            reason: stored.reason,
            scope: Scope { paths, sources, hosts: stored.hosts, from, to },
            until: stored.until_ns.map(Instant),
        };
        hold.check()?;
        Ok(hold)
    }

    /// That it can be: it has an id that is a file name, an owner and a reason, its paths are absolute, and its time has an
    /// instant.
    pub fn check(&self) -> Result<(), HoldError> {
        let absolute =
            |p: &Vec<u8>| p == b"/" || (p.starts_with(b"/") && p[1..].split(|b| *b == b'/').all(path::is_name));
        let Scope { paths, sources, from, to, .. } = &self.scope;
        let what = if !path::is_name(self.id.as_bytes()) || self.id.chars().any(char::is_control) {
            "its id is no file name; write one such as case-2026-17"
        } else if self.owner.trim().is_empty() || self.reason.trim().is_empty() {
            "it needs an owner and a reason; write who is responsible for it, and why"
        } else if !paths.iter().chain(sources).all(absolute) {
            "its paths have to be absolute, without . and .. and a slash at the end; write them so"
        } else if from.zip(*to).is_some_and(|(from, to)| from > to) {
            "its time ends before it begins; write the earlier instant first"
        } else {
            return Ok(());
        };
        Err(HoldError::Value { id: self.id.clone(), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hold() -> Hold {
        let scope = Scope {
            paths: vec![b"/srv/a".to_vec(), b"/srv/\xff".to_vec()],
            sources: vec![b"/srv".to_vec()],
            hosts: vec!["web1".into()],
            from: Some(Instant(-5)),
            to: Some(Instant(i64::MAX)),
        };
        Hold { id: "case-7".into(), owner: "legal".into(), reason: "a claim".into(), scope, until: None }
    }

    #[test]
    fn a_hold_comes_back() {
        assert_eq!(Hold::decode(&hold().encode().unwrap()).unwrap(), hold());
    }

    #[test]
    fn the_first_version_stays_readable() {
        let text = r#"{"version":1,"id":"case-7","owner":"legal","reason":"a claim","paths":["/srv/a",{"bytes_base64":"L3Nydi//"}],
            "sources":["/srv"],"hosts":["web1"],"from_ns":-5,"to_ns":9223372036854775807,"until_ns":null}"#;
        assert_eq!(Hold::decode(text.as_bytes()).unwrap(), hold());
    }

    #[test]
    fn what_is_not_understood_whole_is_an_error() {
        let text = String::from_utf8(hold().encode().unwrap()).unwrap();
        let told = |text: &str| Hold::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(told(&text.replace("\"version\":1", "\"version\":2,\"more\":[]")).contains("has version 2"));
        assert!(told(&text.replace("\"hosts\"", "\"zones\"")).contains("unknown field"));
        assert!(told(&text[1..]).contains("can't be read"));
        assert!(told(&text.replace("case-7", "../x")).contains("no file name"));
        assert!(told(&text.replace("legal", " ")).contains("an owner"));
        assert!(told(&text.replace("/srv/a", "srv/a")).contains("absolute"));
        assert!(
            told(&text.replace("-5", "null").replace("9223372036854775807", "1").replace("null,\"to", "2,\"to"))
                .contains("ends before")
        );
        assert!(told(&" ".repeat(LEN_MAX + 1)).contains("more than any"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_errors(bytes: Vec<u8>, at in 0usize..300, byte: u8) {
            let _ = Hold::decode(&bytes);
            let mut bytes = hold().encode().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(hold) = Hold::decode(&bytes) {
                prop_assert!(hold.check().is_ok());
            }
        }
    }
}
