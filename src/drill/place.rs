//! Where drills are: in the state directory, each in a directory of its own, of which only its record stays.

use super::error::DrillError;
use super::record::Record;
use crate::config::model::Config;
use crate::crypto::random;
use crate::sys::durable::{self, LockGuard};
use crate::types::{json, path::is_name, time::Instant, when::show::exact_name};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use std::path::{Path, PathBuf};

/// The directory of all drills.
pub fn drills_dir(config: &Config) -> PathBuf {
    config.state.join("drills")
}

/// The directory of one drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillDir {
    /// Its id.
    pub id: String,
    /// The directory.
    pub path: PathBuf,
}

impl DrillDir {
    /// A new one for a plan, which begins now.
    pub fn create(config: &Config, plan: &str, now: Instant) -> Result<DrillDir, DrillError> {
        let dir = drills_dir(config);
        let failed = |source| DrillError::Io { path: dir.clone(), source };
        let random: [u8; 2] = random::bytes().map_err(|e| failed(io::Error::other(e)))?;
        let second: String = exact_name(now).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        let id = format!("{plan}-{second}-{}", data_encoding::HEXLOWER.encode(&random));
        let drill = DrillDir { path: dir.join(&id), id };
        for path in [drill.path.clone(), drill.scratch(), drill.room()] {
            durable::create_dirs(&path, 0o711)?;
        }
        Ok(drill)
    }

    /// The drill of an id.
    pub fn find(config: &Config, id: &str) -> Result<DrillDir, DrillError> {
        let dir = drills_dir(config);
        match dir.join(id) {
            path if is_name(id.as_bytes()) && path.is_dir() => Ok(DrillDir { id: id.to_owned(), path }),
            _ => Err(DrillError::NoDrill { id: id.to_owned(), dir }),
        }
    }

    /// All drills, in the order of their ids.
    pub fn all(config: &Config) -> Result<Vec<DrillDir>, DrillError> {
        let dir = drills_dir(config);
        let failed = |source| DrillError::Io { path: dir.clone(), source };
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if let Some(id) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_dir()) {
                all.push(DrillDir { id: id.to_owned(), path: path.clone() });
            }
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// All that are over, with their records, the oldest first.
    pub fn records(config: &Config) -> Result<Vec<(DrillDir, Record)>, DrillError> {
        let mut all = Vec::new();
        for drill in DrillDir::all(config)? {
            if drill.record().exists() {
                let record = read(&drill.record())?;
                all.push((drill, record));
            }
        }
        all.sort_by_key(|(_, record): &(DrillDir, Record)| record.begun_ns);
        Ok(all)
    }

    /// What is written below overlays.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Where the root of the process apart is mounted.
    pub fn room(&self) -> PathBuf {
        self.path.join("room")
    }

    /// What is to be done.
    pub fn order(&self) -> PathBuf {
        self.path.join("order.json")
    }

    /// What the process apart has done.
    pub fn ran(&self) -> PathBuf {
        self.path.join("ran.json")
    }

    /// The report.
    pub fn record(&self) -> PathBuf {
        self.path.join("report.json")
    }

    /// The report as a page.
    pub fn page(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The plan, as it was.
    pub fn plan(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.toml"))
    }

    /// Takes it for this process: whoever finds it taken lets it be.
    pub fn lock(&self) -> Result<Option<LockGuard>, DrillError> {
        Ok(durable::lock_file(&self.path.join("lock"))?)
    }

    /// Removes all that only a drill which goes on needs.
    pub fn clear(&self) -> Result<(), DrillError> {
        for dir in [self.scratch(), self.room(), self.path.join("plans")] {
            durable::remove_tree(&dir)?;
        }
        Ok(())
    }
}

/// Clears what drills have left whose processes were killed. Those that were cut off, and have no record.
pub fn sweep(config: &Config) -> Result<Vec<DrillDir>, DrillError> {
    let mut cut_off = Vec::new();
    for drill in DrillDir::all(config)? {
        let Some(_lock) = drill.lock()? else { continue };
        if drill.scratch().exists() {
            drill.clear()?;
        }
        if !drill.record().exists() {
            cut_off.push(drill);
        }
    }
    Ok(cut_off)
}

/// Reads a file of a drill.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, DrillError> {
    let bytes = std::fs::read(path).map_err(|source| DrillError::Io { path: path.to_owned(), source })?;
    json::strict(&bytes).map_err(|e| DrillError::File { path: path.to_owned(), why: e.to_string() })
}

/// Writes a file of a drill.
pub fn write<T: Serialize>(path: &Path, what: &T) -> Result<(), DrillError> {
    let wrong = |e: serde_json::Error| DrillError::File { path: path.to_owned(), why: e.to_string() };
    let mut text = serde_json::to_vec_pretty(what).map_err(wrong)?;
    text.push(b'\n');
    Ok(durable::replace(path, &text, 0o600)?)
}
