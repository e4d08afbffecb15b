//! A receipt: what was compared with what, and how it ended, authenticated with a key of the repository.
//!
//! It is one JSON object. The authentication is the keyed BLAKE3 hash of a title and of the object without it, written without
//! spaces, its names in order. Whoever has a key of the repository can make and check one; nobody else can.

use crate::crypto::keys::Keys;
use crate::repo::audit::event::{bytes_value, snapshot_value};
use crate::types::{json, time::Instant};
use crate::verify::tree::{aspects::Ignored, report::Report};
use crate::view::instant::Part;
use serde_json::{Map, Value, json};

/// What stands before the text that is authenticated, so that it is never taken for another one.
const TITLE: &str = "bygone receipt of a tree\n";
/// The version of receipts.
const VERSION: u64 = 1;
/// The member with the authentication.
const AUTHENTICATION: &str = "authentication";
/// Receipts are no larger, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// Why a receipt is none.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It is no JSON object.
    #[error("it is no receipt: {0}")]
    Json(#[from] serde_json::Error),
    /// It lacks a member.
    #[error("it is no receipt: it has no {0:?}")]
    Lacks(&'static str),
    /// It is of another version.
    #[error("it is a receipt of version {0}, and this program reads version {VERSION}")]
    Version(u64),
    /// It is of another repository.
    #[error("it is of the repository {0}, and not of this one")]
    Repository(String),
    /// It was altered, or made by somebody without a key of the repository.
    #[error("its authentication is wrong: it was altered, or not made with a key of this repository")]
    Altered,
}

/// What a receipt tells besides the result.
#[derive(Debug)]
pub struct About<'a> {
    /// The id of the repository.
    pub repository: String,
    /// Whose history.
    pub host: &'a str,
    /// The directory in the view.
    pub path: &'a [u8],
    /// The directory that was compared.
    pub directory: &'a [u8],
    /// The instant, as it was understood, and in words.
    pub at: Instant,
    /// In words.
    pub as_of: &'a str,
    /// The snapshots that it was compared with.
    pub parts: &'a [&'a Part],
    /// What was left out.
    pub ignored: &'a Ignored,
    /// When it was begun and ended.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Who made it.
    pub by: Value,
}

/// The receipt of a comparison.
pub fn make(keys: &Keys, about: &About<'_>, report: &Report) -> Value {
    let snapshots: Vec<Value> = about
        .parts
        .iter()
        .map(|p| json!({ "host": p.source.host, "source": bytes_value(&p.source.root), "snapshot": snapshot_value(&p.snapshot) }))
        .collect();
    let c = &report.counts;
    let mut receipt = Map::new();
    let mut put = |name: &str, value: Value| drop(receipt.insert(name.to_owned(), value));
    put("receipt", json!(VERSION));
    put("repository", json!(about.repository));
    put("host", json!(about.host));
    put("path", bytes_value(about.path));
    put("directory", bytes_value(about.directory));
    put("as_of", json!(about.as_of));
    put("time_ns", json!(about.at.0));
    put("snapshots", json!(snapshots));
    put("ignored", json!(about.ignored.words()));
    put("begun_ns", json!(about.begun.0));
    put("ended_ns", json!(about.ended.0));
    put("by", about.by.clone());
    put("equal", json!(report.is_equal()));
    put("differences", json!(report.differences.len() - report.unread()));
    put("unread", json!(report.unread()));
    put("files", json!(c.files));
    put("directories", json!(c.dirs));
    put("others", json!(c.others));
    put("links", json!(c.links));
    put("bytes", json!(c.bytes));
    put("digest", json!(report.digest.map(|digest| digest.to_string())));
    let authentication = authenticate(keys, &receipt);
    receipt.insert(AUTHENTICATION.into(), json!(authentication));
    Value::Object(receipt)
}

/// Reads a receipt and checks that it was made with a key of this repository, and not altered since.
pub fn check(keys: &Keys, repository: &str, text: &[u8]) -> Result<Map<String, Value>, ReceiptError> {
    let mut receipt: Map<String, Value> = json::strict(text)?;
    let authentication = receipt.remove(AUTHENTICATION).ok_or(ReceiptError::Lacks(AUTHENTICATION))?;
    let version = receipt.get("receipt").and_then(Value::as_u64).ok_or(ReceiptError::Lacks("receipt"))?;
    if version != VERSION {
        return Err(ReceiptError::Version(version));
    }
    let of = receipt.get("repository").and_then(Value::as_str).ok_or(ReceiptError::Lacks("repository"))?;
    if of != repository {
        return Err(ReceiptError::Repository(crate::types::path::show(of.as_bytes())));
    }
    match authentication.as_str() == Some(&authenticate(keys, &receipt)) {
        true => Ok(receipt),
        false => Err(ReceiptError::Altered),
    }
}

fn authenticate(keys: &Keys, receipt: &Map<String, Value>) -> String {
    let text = format!("{TITLE}{}", Value::Object(receipt.clone()));
    keys.authenticate(text.as_bytes()).to_string()
}
