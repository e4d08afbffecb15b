//! The report of a drill: what is kept of it, and that nobody has changed it since.

use super::order::{Proved, StepRan};
use crate::crypto::keys::Keys;
use crate::plan::{checked::Checked, journal::Ending};
use serde::{Deserialize, Serialize};

/// How a drill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything came back, was proved, and the objectives were met.
    Passed,
    /// The same, and a step failed that the plan lets fail.
    PassedInPart,
    /// Something did not.
    Failed,
}

impl Verdict {
    /// Whether everything came back and was proved, and the objectives were met.
    pub fn has_passed(self) -> bool {
        self != Verdict::Failed
    }
}

/// What was measured against what was wanted, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// What it was; none where it could not be measured.
    pub ms: Option<u64>,
    /// What was wanted, if anything.
    pub objective_ms: Option<u64>,
}

impl Measured {
    /// Whether it is within what was wanted. What was wanted and could not be measured is not.
    pub fn is_met(&self) -> bool {
        self.objective_ms.is_none_or(|wanted| self.ms.is_some_and(|ms| ms <= wanted))
    }
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id.
    pub drill: String,
    /// The plan.
    pub plan: String,
    /// The hash of the plan's text.
    pub plan_blake3: String,
    /// The host that it ran on.
    pub host: String,
    /// The repository, by its id.
    pub repository: String,
    /// When it began.
    pub begun_ns: i64,
    /// When it ended.
    pub ended_ns: i64,
    /// The instant that it went back to, and as it was understood.
    pub at_ns: i64,
    /// That in words.
    pub at: String,
    /// How the instant was chosen.
    pub chosen: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it failed, each reason.
    pub failures: Vec<String>,
    /// The steps.
    pub steps: Vec<StepRan>,
    /// What was proved.
    pub proved: Proved,
    /// How the invariants of the sources stand; none in reports from before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invariants: Vec<Checked>,
    /// The part of all files that was read, from 1.
    pub part: u64,
    /// Of so many; after so many drills everything was read.
    pub parts: u64,
    /// How long the plan took here, nothing being copied.
    pub rehearsed_ms: u64,
    /// How long recovery takes, with what copying takes by what was measured on this host.
    pub recovery_time: Measured,
    /// How old the newest snapshot was at the instant.
    pub recovery_point: Measured,
    /// Bytes that the drill took on the disk, at the most.
    pub scratch_bytes: u64,
    /// The hash of its page, with nothing in the place of the authentication; none in reports from before that was told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub page_blake3: String,
    /// The authentication of all that stands above by the key of the repository.
    #[serde(default)]
    pub authentication: String,
}

impl Record {
    /// What is authenticated: the report without its authentication, in the order of its fields.
    fn text(&self) -> Vec<u8> {
        let bare = Record { authentication: String::new(), ..self.clone() };
        // Numbers and texts only: it can always be written.
        serde_json::to_vec(&bare).unwrap_or_default()
    }

    /// The steps that failed, as the plan lets them.
    pub fn failed_steps(&self) -> impl Iterator<Item = &StepRan> {
        let word = Ending::Failed.word();
        self.steps.iter().filter(move |step| self.verdict == Verdict::PassedInPart && step.ended == word)
    }

    /// Whether this is its page. True where the report does not tell.
    pub fn is_page(&self, page: &str) -> bool {
        let bare = page.replacen(&self.authentication, "", 1);
        self.page_blake3.is_empty()
            || bare != page && blake3::hash(bare.as_bytes()).to_hex().as_str() == self.page_blake3
    }

    /// Authenticates it.
    #[must_use]
    pub fn signed(self, keys: &Keys) -> Record {
        let authentication = self.digest(keys);
        Record { authentication, ..self }
    }

    /// Whether it is what was authenticated with the key of this repository.
    pub fn is_authentic(&self, keys: &Keys) -> bool {
        self.digest(keys) == self.authentication
    }

    fn digest(&self, keys: &Keys) -> String {
        keys.authenticate(&[b"bygone drill report 1\n".as_slice(), &self.text()].concat()).to_string()
    }
}
