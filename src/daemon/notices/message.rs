//! A message, for people and for programs.

use crate::config::watched::On;
use crate::observe::{
    facts::Facts,
    health::{Finding, Level},
};
use crate::types::{
    time::Instant,
    when::{
        show::{ago, exact_name, show},
        zone::Zone,
    },
};
use serde::{Deserialize, Serialize};

/// So many findings are told by one message.
const FINDINGS_MAX: usize = 100;

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The version of this form.
    pub version: u32,
    /// `failure`, `overdue`, `recovery`, `digest`, `plan` or `test`.
    pub event: String,
    /// The host.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// When it happened (ns).
    pub time_ns: i64,
    /// The same, exactly, for people.
    pub time: String,
    /// A line.
    pub subject: String,
    /// All of it.
    pub text: String,
    /// What was found, or is no more.
    pub findings: Vec<Finding>,
}

impl Message {
    fn new(event: &str, (host, repository): (&str, &str), now: Instant, subject: String, text: String) -> Message {
        Message {
            version: 1,
            event: event.to_owned(),
            host: host.to_owned(),
            repository: repository.to_owned(),
            time_ns: now.0,
            time: exact_name(now),
            // One line, whatever an error said.
            subject: format!("[bygone {host}] {}", one_line(&subject)),
            text,
            findings: Vec::new(),
        }
    }

    /// That a channel works.
    pub fn test(host: &str, repository: &str, now: Instant) -> Message {
        let text = "This is a test of a channel of notifications. Nothing is wrong.\n".to_owned();
        Message::new("test", (host, repository), now, "a test".into(), text)
    }

    /// What a step of a recovery plan has to tell.
    pub fn plan(host: &str, repository: &str, now: Instant, subject: &str, text: &str) -> Message {
        Message::new("plan", (host, repository), now, subject.to_owned(), text.to_owned())
    }

    /// Something has begun to be wrong, or is so no more.
    pub(super) fn finding(facts: &Facts, on: On, finding: &Finding) -> Message {
        let now = Instant(facts.at_ns);
        let (event, subject, text) = match on {
            On::Recovery => (
                "recovery",
                format!("{} is well again", finding.about),
                format!("{}: it was: {}\n", finding.about, finding.why),
            ),
            _ => {
                let event = if on == On::Overdue { "overdue" } else { "failure" };
                (event, format!("{}: {}", finding.about, finding.why), told(finding))
            }
        };
        let mut message = Message::new(event, (&facts.host, &facts.repository), now, subject, text);
        message.findings.push(finding.clone());
        message
    }

    /// How everything stands.
    pub(super) fn digest(facts: &Facts, found: &[Finding], zone: &Zone) -> Message {
        let now = Instant(facts.at_ns);
        let mut text = format!("{}\n\nrepository  {}\n", show(now, zone), facts.repository);
        if let Some(stored) = &facts.stored {
            text.push_str(&format!(
                "  {} pack(s), {} bytes stored for {} bytes of versions\n",
                stored.packs, stored.pack_bytes, stored.version_bytes
            ));
        }
        text.push_str("\nsources\n");
        for source in facts.sources.iter().filter(|s| s.configured) {
            let seen = source
                .seen_ns
                .map_or_else(|| "never captured".into(), |ns| format!("captured {}", ago(Instant(ns), now)));
            text.push_str(&format!(
                "  {}: {seen}; {} snapshot(s), {} gap(s)\n",
                source.path, source.snapshots, source.gaps
            ));
        }
        if !facts.jobs.is_empty() {
            text.push_str("\njobs\n");
        }
        for job in &facts.jobs {
            let last = job.succeeded_ns.map_or_else(|| "never".into(), |ns| ago(Instant(ns), now));
            text.push_str(&format!("  {}: succeeded {last}\n", job.name));
        }
        text.push_str(if found.is_empty() { "\nAll is well.\n" } else { "\nfindings\n" });
        found.iter().take(FINDINGS_MAX).for_each(|finding| text.push_str(&told(finding)));
        let subject = match found.len() {
            0 => "all is well".to_owned(),
            n => format!("{n} finding(s), the worst: {}: {}", found[0].about, found[0].why),
        };
        let mut message = Message::new("digest", (&facts.host, &facts.repository), now, subject, text);
        message.findings = found.iter().take(FINDINGS_MAX).cloned().collect();
        message
    }

    /// Tells another one with this one.
    pub(super) fn join(&mut self, other: Message) {
        if self.findings.len() >= FINDINGS_MAX {
            return;
        }
        self.text.push_str(&format!("\n{}:\n{}", other.event, other.text));
        self.findings.extend(other.findings);
        let host = &self.host;
        self.subject =
            format!("[bygone {host}] {} messages that were held back, so as not to send too many", self.findings.len());
    }
}

fn told(finding: &Finding) -> String {
    let level = if finding.level == Level::Failing { "failing" } else { "degraded" };
    format!("{}: {}\n  {level}; to do: {}\n", finding.about, finding.why, finding.to_do)
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    line.trim().to_owned()
}
