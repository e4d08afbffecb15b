//! What the process outside and the one apart tell each other.

use crate::plan::{checked::Checked, template::Values};
use crate::repo::audit::event::value_bytes;
use crate::types::path;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The plan's name.
    pub plan: String,
    /// The instant, in nanoseconds.
    pub at_ns: i64,
    /// It as it was understood.
    pub at: String,
    /// Whether the newest of all was asked for.
    pub latest: bool,
    /// The values of the inputs.
    pub values: Values,
    /// The part of all files that is read this time, from 0.
    pub part: u64,
    /// So many parts there are.
    pub parts: u64,
    /// Directories that can't be entered there.
    #[serde(default)]
    pub unreachable: Vec<PathBuf>,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRan {
    /// Its name.
    pub step: String,
    /// How it ended: a word of bygone-plan(5).
    pub ended: String,
    /// How long it took here, in milliseconds.
    pub took_ms: u64,
    /// How long copying what it brings back takes by what was measured on this host; none where nothing was, or nothing is copied.
    pub copying_ms: Option<u64>,
    /// Files that it brought back or read.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Why it failed or was left out.
    pub why: Option<String>,
    /// What was not as it should be.
    pub problems: Vec<String>,
    /// What it had to tell.
    pub told: Option<String>,
}

/// Something that came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Laid {
    /// Whose it was; of this host if none.
    pub host: Option<String>,
    /// Its path then, as text or as base64.
    pub path: Value,
    /// Where it came to.
    pub to: Value,
    /// The instant, in nanoseconds.
    pub at_ns: i64,
    /// Whether nothing else shows beside it.
    pub alone: bool,
}

impl Laid {
    /// Whether another of `all`, in which it is the one at `n`, brought back all of it too: what lies above it, or the same before it.
    pub fn is_again(&self, n: usize, all: &[Laid]) -> bool {
        let within = |other: &Laid| match (value_bytes(&self.path), value_bytes(&other.path)) {
            (Some(own), Some(dir)) => path::is_within(&own, &dir),
            _ => false,
        };
        let is_same = |other: &Laid| other.path == self.path;
        all.iter()
            .enumerate()
            .any(|(at, other)| at != n && other.host == self.host && within(other) && (!is_same(other) || at < n))
    }
}

/// What was proved of one source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceProved {
    /// The source, by its path.
    pub source: Value,
    /// Whether all of it was asked for: its root, or what lies above that.
    #[serde(default)]
    pub whole: bool,
    /// Its files that came back, each once.
    #[serde(default)]
    pub files: u64,
    /// What they measure, in bytes.
    pub bytes: u64,
    /// Its files that were read and compared with their hashes, this time.
    pub read_files: u64,
    /// Their bytes.
    pub read_bytes: u64,
}

impl Proved {
    /// What was proved of a source, to be added to.
    pub fn source(&mut self, source: &Value) -> &mut SourceProved {
        let at = self.of_sources.iter().position(|of| of.source == *source).unwrap_or_else(|| {
            self.sources.push(source.clone());
            self.of_sources.push(SourceProved { source: source.clone(), ..SourceProved::default() });
            self.of_sources.len() - 1
        });
        &mut self.of_sources[at]
    }
}

/// What was proved of what came back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    /// Files that are there.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were read and compared with their hashes, this time.
    pub read_files: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// SQLite databases that were read whole.
    pub databases: u64,
    /// The sources that it came from, by their paths.
    pub sources: Vec<Value>,
    /// The same for each of them; none in reports from before that was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_sources: Vec<SourceProved>,
    /// What is wrong, each by name.
    pub wrong: Vec<String>,
}

/// What the process apart has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RanApart {
    /// Its steps, in the order in which they ended.
    pub steps: Vec<StepRan>,
    /// Why it did not come to its end, if it did not.
    pub failed: Option<String>,
    /// How long the plan took, in milliseconds.
    pub took_ms: u64,
    /// What came back.
    pub laid: Vec<Laid>,
    /// What was proved of it.
    pub proved: Proved,
    /// How the invariants of its sources stand.
    #[serde(default)]
    pub invariants: Vec<Checked>,
}
