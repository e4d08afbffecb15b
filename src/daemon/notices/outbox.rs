//! What is told, and what waits to be: a state machine that is told the time, kept in a file.
//!
//! - A finding is told once when it begins and once when it ends, however often it was tried again in between; one that comes and
//!   goes at once is not told at all.
//! - A channel gets so many messages an hour; what is more is held back and told as one.
//! - What can't be delivered is tried again, after longer and longer, for three days.

use crate::config::watched::{Channel, On};
use crate::daemon::{
    error::{DaemonError, KeepError},
    notices::message::Message,
};
use crate::observe::{
    facts::{Facts, Undelivered},
    health::{Finding, Sort},
};
use crate::sys::durable;
use crate::types::{time::Instant, when::zone::Zone};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// So often in a row a finding is seen before it counts, and is not seen before it does not any more.
const STEADY: u32 = 2;
const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3600 * SECOND_NS;
/// The pause after the first failure, and the longest one.
const PAUSE_NS: i64 = 30 * SECOND_NS;
const PAUSE_MAX_NS: i64 = HOUR_NS;
/// A message that could not be delivered for so long is given up.
const GIVEN_UP_NS: i64 = 72 * HOUR_NS;
/// So many wait for one channel; what is more is told with the last of them.
const WAITING_MAX: usize = 50;

/// A message that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) channel: String,
    pub(super) message: Message,
    since_ns: i64,
    next_ns: i64,
    attempts: u32,
    why: Option<String>,
    /// It is held back by the limit of the channel, and takes more in.
    held: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Raised {
    finding: Finding,
    seen: u32,
    missed: u32,
    told: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    raised: BTreeMap<String, Raised>,
    /// When each channel was sent its last digest, or was first known.
    digests: BTreeMap<String, i64>,
    waiting: Vec<Waiting>,
    /// When messages were queued for each channel, in the last hour.
    lately: BTreeMap<String, Vec<i64>>,
}

/// What is told, and what waits to be.
pub(super) struct Outbox {
    file: PathBuf,
    kept: Kept,
}

impl Outbox {
    /// As an earlier service kept it.
    pub(super) fn open(file: &Path) -> Result<Outbox, DaemonError> {
        let bad = |source| DaemonError::Kept { path: file.to_owned(), source };
        let kept = match std::fs::read(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(e) => return Err(bad(e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| bad(e.into()))?,
        };
        Ok(Outbox { file: file.to_owned(), kept })
    }

    /// Takes in how everything stands. Whether anything is to be kept of it.
    pub(super) fn look(&mut self, facts: &Facts, found: &[Finding], channels: &[Channel], zone: &Zone) -> bool {
        let before = self.kept.waiting.len();
        let named = |name: &str| channels.iter().any(|channel| channel.name == name);
        self.kept.waiting.retain(|waiting| named(&waiting.channel));
        let mut changed = self.kept.waiting.len() != before;
        for (on, finding) in self.news(found) {
            changed = true;
            for channel in channels.iter().filter(|channel| channel.on.contains(&on)) {
                self.queue(channel, Message::finding(facts, on, &finding));
            }
        }
        for channel in channels.iter().filter(|channel| channel.on.contains(&On::Digest)) {
            let since = *self.kept.digests.entry(channel.name.clone()).or_insert_with(|| {
                changed = true;
                facts.at_ns
            });
            if channel.digest.next_after(Instant(since), zone).is_some_and(|next| next.0 <= facts.at_ns) {
                self.kept.digests.insert(channel.name.clone(), facts.at_ns);
                self.queue(channel, Message::digest(facts, found, zone));
                changed = true;
            }
        }
        changed
    }

    /// What has begun, and what has ended.
    fn news(&mut self, found: &[Finding]) -> Vec<(On, Finding)> {
        let mut news = Vec::new();
        for finding in found {
            let new = || Raised { finding: finding.clone(), seen: 0, missed: 0, told: false };
            let raised = self.kept.raised.entry(finding.key.clone()).or_insert_with(new);
            (raised.seen, raised.missed) = (raised.seen.saturating_add(1), 0);
            raised.finding = finding.clone();
            if raised.seen >= STEADY && !raised.told {
                raised.told = true;
                news.push((if finding.sort == Sort::Overdue { On::Overdue } else { On::Failure }, finding.clone()));
            }
        }
        self.kept.raised.retain(|key, raised| {
            if found.iter().any(|finding| finding.key == *key) {
                return true;
            }
            raised.missed += 1;
            let is_over = !raised.told || raised.missed >= STEADY;
            if is_over && raised.told {
                news.push((On::Recovery, raised.finding.clone()));
            }
            !is_over
        });
        news
    }

    fn queue(&mut self, channel: &Channel, message: Message) {
        let now = message.time_ns;
        let lately = self.kept.lately.entry(channel.name.clone()).or_default();
        // What a clock that was set back has left counts for nothing.
        lately.retain(|at| (now.saturating_sub(HOUR_NS)..=now).contains(at));
        let mut own = self.kept.waiting.iter_mut().filter(|waiting| waiting.channel == channel.name);
        if let Some(held) = own.find(|waiting| waiting.held) {
            return held.message.join(message);
        }
        let many = self.kept.waiting.iter().filter(|waiting| waiting.channel == channel.name).count() >= WAITING_MAX;
        let held = many || lately.len() >= channel.hourly as usize;
        let free = lately.first().map_or(now, |first| first.saturating_add(HOUR_NS));
        let next_ns = if held { free.max(now) } else { now };
        lately.push(next_ns.min(now));
        self.kept.waiting.push(Waiting {
            channel: channel.name.clone(),
            message,
            since_ns: now,
            next_ns,
            attempts: 0,
            why: None,
            held,
        });
    }

    /// The first message that may be sent now by this channel. It takes nothing more in.
    pub(super) fn due(&mut self, channel: &str, now: Instant) -> Option<Message> {
        let mut own = self.kept.waiting.iter_mut().filter(|waiting| waiting.channel == channel);
        let first =
            own.next().filter(|first| first.next_ns <= now.0 || first.next_ns > now.0.saturating_add(2 * HOUR_NS))?;
        first.held = false;
        Some(first.message.clone())
    }

    /// How the first message of a channel fared.
    pub(super) fn ended(&mut self, channel: &str, result: Result<(), String>, now: Instant) {
        let Some(at) = self.kept.waiting.iter().position(|waiting| waiting.channel == channel) else { return };
        let Err(why) = result else {
            self.kept.waiting.remove(at);
            return;
        };
        let waiting = &mut self.kept.waiting[at];
        if now.0.saturating_sub(waiting.since_ns) >= GIVEN_UP_NS {
            tracing::error!("a notification is given up after three days: {}: {why}", waiting.message.subject);
            self.kept.waiting.remove(at);
            return;
        }
        waiting.attempts = waiting.attempts.saturating_add(1);
        let pause = PAUSE_NS.saturating_mul(1 << (waiting.attempts - 1).min(10)).min(PAUSE_MAX_NS);
        waiting.next_ns = now.0.saturating_add(pause);
        tracing::warn!("notify {channel}: {why}; tried again in {} s", pause / SECOND_NS);
        waiting.why = Some(why);
    }

    /// What waits for each channel.
    pub(super) fn undelivered(&self, channels: &[Channel]) -> Vec<Undelivered> {
        let of = |channel: &Channel| {
            let own = self.kept.waiting.iter().filter(|waiting| waiting.channel == channel.name);
            let why = own.clone().find_map(|waiting| waiting.why.clone());
            Undelivered { channel: channel.name.clone(), waiting: own.count() as u64, why }
        };
        channels.iter().map(of).collect()
    }

    /// Writes everything down.
    pub(super) fn keep(&self) -> Result<(), KeepError> {
        let bytes =
            serde_json::to_vec(&self.kept).map_err(|source| KeepError::Form { path: self.file.clone(), source })?;
        Ok(durable::replace(&self.file, &bytes, 0o600)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::watched::Way;
    use crate::observe::health::Level;

    fn finding(key: &str, sort: Sort) -> Finding {
        let text = |what: &str| format!("{what} of {key}");
        Finding {
            key: key.into(),
            level: Level::Failing,
            sort,
            about: key.into(),
            why: text("why"),
            to_do: text("cure"),
        }
    }

    fn channel(on: &[On]) -> Channel {
        let way = Way::Command("true".into());
        Channel { name: "c".into(), way, on: on.to_vec(), digest: "daily 08:00".parse().unwrap(), hourly: 3 }
    }

    struct World {
        outbox: Outbox,
        channels: Vec<Channel>,
        now: i64,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new(on: &[On]) -> World {
            let dir = tempfile::tempdir().unwrap();
            let outbox = Outbox::open(&dir.path().join("notify.json")).unwrap();
            World { outbox, channels: vec![channel(on)], now: 20_000 * 24 * HOUR_NS, _dir: dir }
        }

        fn look(&mut self, found: &[Finding]) {
            self.now += 5 * SECOND_NS;
            let facts = Facts { at_ns: self.now, host: "h".into(), ..Facts::default() };
            self.outbox.look(&facts, found, &self.channels, &Zone::utc());
        }

        /// Delivers all that is due, and gives the events.
        fn sent(&mut self) -> Vec<String> {
            let mut sent = Vec::new();
            while let Some(message) = self.outbox.due("c", Instant(self.now)) {
                self.outbox.ended("c", Ok(()), Instant(self.now));
                let keys: Vec<&str> = message.findings.iter().map(|f| f.key.as_str()).collect();
                sent.push(format!("{} {}", message.event, keys.join(",")));
            }
            sent
        }

        fn restart(&mut self) {
            self.outbox.keep().unwrap();
            self.outbox = Outbox::open(&self.outbox.file.clone()).unwrap();
        }
    }

    const ALL: [On; 3] = [On::Failure, On::Recovery, On::Overdue];

    #[test]
    fn one_message_a_failure_and_one_at_recovery_over_a_restart_too() {
        let mut world = World::new(&ALL);
        let (job, late) = (finding("job", Sort::Failure), finding("late", Sort::Overdue));
        world.look(std::slice::from_ref(&job));
        assert_eq!(world.sent(), [""; 0], "not at once");
        world.look(&[]);
        world.look(std::slice::from_ref(&job));
        assert_eq!(world.sent(), [""; 0], "it came and went");
        for _ in 0..5 {
            world.look(&[job.clone(), late.clone()]);
            world.restart();
        }
        assert_eq!(world.sent(), ["failure job", "overdue late"]);
        world.look(std::slice::from_ref(&late));
        world.look(&[job.clone(), late.clone()]);
        assert_eq!(world.sent(), [""; 0], "it was away for a moment");
        for _ in 0..3 {
            world.look(&[]);
        }
        world.now += HOUR_NS;
        assert_eq!(world.sent(), ["recovery job", "recovery late"]);
    }

    #[test]
    fn what_is_not_asked_for_is_not_told() {
        let mut world = World::new(&[On::Overdue]);
        for found in [vec![finding("job", Sort::Failure), finding("late", Sort::Overdue)], vec![]] {
            (0..3).for_each(|_| world.look(&found));
        }
        assert_eq!(world.sent(), ["overdue late"]);
    }

    #[test]
    fn many_messages_become_one() {
        let mut world = World::new(&ALL);
        let found: Vec<Finding> = (0..9).map(|n| finding(&n.to_string(), Sort::Failure)).collect();
        (0..2).for_each(|_| world.look(&found));
        assert_eq!(world.sent(), ["failure 0", "failure 1", "failure 2"]);
        world.now += HOUR_NS;
        assert_eq!(world.sent(), ["failure 3,4,5,6,7,8"]);
    }

    #[test]
    fn what_cannot_be_delivered_waits_longer_and_longer_and_is_given_up() {
        let mut world = World::new(&ALL);
        (0..2).for_each(|_| world.look(&[finding("job", Sort::Failure)]));
        let mut pauses = Vec::new();
        let mut tried = world.now;
        while pauses.len() < 500 {
            if world.outbox.due("c", Instant(world.now)).is_some() {
                pauses.push((world.now - tried) / SECOND_NS);
                tried = world.now;
                world.outbox.ended("c", Err("no".into()), Instant(world.now));
                let waits = world.outbox.undelivered(&world.channels);
                if waits[0].waiting == 0 {
                    break;
                }
                assert_eq!(waits[0].why.as_deref(), Some("no"));
                world.restart();
            }
            world.now += 10 * SECOND_NS;
        }
        assert_eq!(pauses[..9], [0, 30, 60, 120, 240, 480, 960, 1920, 3600]);
        assert!((70..85).contains(&pauses.len()), "{}", pauses.len());
    }

    #[test]
    fn a_digest_comes_once_at_its_time() {
        let mut world = World::new(&[On::Digest]);
        let mut digests = 0;
        for _ in 0..60 {
            world.look(&[finding("job", Sort::Failure)]);
            world.restart();
            digests += world.sent().iter().filter(|event| *event == "digest job").count();
            world.now += HOUR_NS;
        }
        // Sixty hours from midnight hold three eights.
        assert_eq!(digests, 3);
    }
}
