//! What holds for one source: the rules of the settings, joined.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;

use crate::config::{model::Config, retention::Retention};
use crate::types::{
    snapshot::Source,
    time::Instant,
    when::{
        period::{Step, start_of},
        window::Window,
        zone::Zone,
    },
};

/// A rule by which snapshots are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// Every snapshot.
    Every,
    /// The end of each hour.
    Hourly,
    /// The end of each day.
    Daily,
    /// The end of each week.
    Weekly,
    /// The end of each month.
    Monthly,
    /// The end of each year.
    Yearly,
}

impl Rule {
    /// All of them, the finest first.
    pub const ALL: [Rule; 6] = [Rule::Every, Rule::Hourly, Rule::Daily, Rule::Weekly, Rule::Monthly, Rule::Yearly];

    /// Its word in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Rule::Every => "every",
            Rule::Hourly => "hourly",
            Rule::Daily => "daily",
            Rule::Weekly => "weekly",
            Rule::Monthly => "monthly",
            Rule::Yearly => "yearly",
        }
    }

    /// What it keeps, in words: `the end of each day`.
    pub fn keeps(self) -> &'static str {
        match self {
            Rule::Every => "every snapshot",
            Rule::Hourly => "the end of each hour",
            Rule::Daily => "the end of each day",
            Rule::Weekly => "the end of each week",
            Rule::Monthly => "the end of each month",
            Rule::Yearly => "the end of each year",
        }
    }

    /// How long the periods are whose ends it asks for; `None` where it asks for each instant.
    pub fn step(self) -> Option<Step> {
        match self {
            Rule::Every => None,
            Rule::Hourly => Some(Step::Hour),
            Rule::Daily => Some(Step::Day),
            Rule::Weekly => Some(Step::Week),
            Rule::Monthly => Some(Step::Month),
            Rule::Yearly => Some(Step::Year),
        }
    }

    /// The last instant before `next` that it asks for.
    pub(super) fn last_before(self, next: Instant, zone: &Zone) -> Instant {
        let first = self.step().map_or(next, |step| start_of(next, step, zone));
        Instant(first.0.saturating_sub(1))
    }

    /// The first instant that it asks for where its window begins at `since`: the last one that is not later, so that each instant of
    /// the window has one before it.
    pub fn asks_from(self, since: Instant, zone: &Zone) -> Instant {
        match self.step() {
            None => since,
            Some(_) => self.last_before(Instant(since.0.saturating_add(1)), zone),
        }
    }
}

/// What holds for one source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// The rules, each with its window, the finest first. Without one, everything is kept.
    pub rules: Vec<(Rule, Window)>,
    /// The ages below which nothing is released, by the settings; each holds.
    pub locks: Vec<Window>,
    /// The same, as the repository keeps them; each holds, whatever the settings say.
    pub kept_locks: Vec<Window>,
    /// Whether the settings name the source.
    pub is_named: bool,
}

impl Policy {
    /// The policy of a source of a repository by the settings of a host.
    ///
    /// A source with a table of its own has the rules of that alone, and the `lock` of both. A source that the settings do not
    /// name, or of another host, keeps everything: it is not for these settings to say.
    pub fn of(config: &Config, source: &Source) -> Policy {
        let is_it = |s: &&crate::config::model::Source| s.path.as_os_str().as_bytes() == source.root;
        match config.sources.iter().find(is_it).filter(|_| source.host == config.host) {
            None => Policy::default(),
            Some(s) => match &s.retention {
                None => Policy::from_tables(&config.retention, None),
                Some(own) => Policy::from_tables(own, config.retention.lock),
            },
        }
    }

    fn from_tables(table: &Retention, other_lock: Option<Window>) -> Policy {
        let windows = [table.every, table.hourly, table.daily, table.weekly, table.monthly, table.yearly];
        let mut locks: Vec<Window> = table.lock.into_iter().chain(other_lock).collect();
        locks.dedup();
        let rules = Rule::ALL.into_iter().zip(windows).filter_map(|(rule, window)| Some((rule, window?)));
        Policy { rules: rules.collect(), locks, kept_locks: Vec::new(), is_named: true }
    }

    /// The same with the locks of the source that the repository keeps, if it keeps any.
    pub fn with_kept(self, locks: Option<&Vec<Window>>) -> Policy {
        Policy { kept_locks: locks.cloned().unwrap_or_default(), ..self }
    }

    /// All locks that hold, each once.
    pub fn all_locks(&self) -> impl Iterator<Item = Window> {
        let mut all = [&self.locks[..], &self.kept_locks].concat();
        let mut seen = HashSet::new();
        all.retain(|window| seen.insert(*window));
        all.into_iter()
    }

    /// The locks that count: those that no longer one of the repository goes before.
    pub fn locks_that_count(&self) -> impl Iterator<Item = Window> {
        let longest = self.longest_kept();
        self.all_locks().filter(move |lock| longest.is_none_or(|kept| !kept.is_longer_than(*lock)))
    }

    /// Whether a lock is one of those that the repository keeps.
    pub fn is_kept(&self, lock: Window) -> bool {
        self.kept_locks.contains(&lock)
    }

    /// What the settings say of the lock in vain, since the repository keeps a longer one; nothing where it is not so.
    pub fn without_effect(&self) -> Option<String> {
        let kept = self.longest_kept().filter(|_| self.is_named)?;
        let why = format!("has no effect: a lock of {} is kept in the repository, for ever", kept.words());
        match longest(&self.locks) {
            None => Some(format!("that the settings name no lock {why}")),
            Some(own) if kept.is_longer_than(own) => Some(format!("the lock of {} in the settings {why}", own.words())),
            Some(_) => None,
        }
    }

    fn longest_kept(&self) -> Option<Window> {
        longest(&self.kept_locks)
    }

    /// It in words, a line each: `the end of each day for 90 days`.
    pub fn words(&self) -> Vec<String> {
        let rule = |(rule, window): &(Rule, Window)| format!("{} for {}", rule.keeps(), window.words());
        let mut lines: Vec<String> = self.rules.iter().map(rule).collect();
        if self.keeps_everything() {
            lines.push("everything, for ever: it has no rule".to_owned());
        }
        lines.extend(self.locks_that_count().map(|lock| {
            let kept = if self.is_kept(lock) { "; this lock is kept in the repository" } else { "" };
            format!("locked: nothing younger than {} goes{kept}", lock.words())
        }));
        lines.extend(self.without_effect());
        lines
    }

    /// Whether nothing is ever released.
    pub fn keeps_everything(&self) -> bool {
        self.rules.is_empty()
    }
}

fn longest(locks: &[Window]) -> Option<Window> {
    locks.iter().copied().reduce(|a, b| if b.is_longer_than(a) { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        load::parse,
        places::{Places, Surroundings},
    };
    use crate::types::ids::{Id, SourceNum};

    fn policy(text: &str, host: &str, root: &str) -> Policy {
        let around = Surroundings { root: true, host: "here".into(), ..Surroundings::default() };
        let config = parse(text, std::path::Path::new("/c.toml"), &Places::of(&around).unwrap()).unwrap();
        let (host, root) = (host.to_owned(), root.as_bytes().to_vec());
        Policy::of(&config, &Source { id: Id([1; 16]), num: SourceNum(1), host, root })
    }

    #[test]
    fn a_source_has_its_own_table_or_that_of_all() {
        let text = "[retention]\ndaily = \"9d\"\nevery = \"1h\"\nlock = \"1y\"\n[[source]]\npath = \"/a\"\n[[source]]\npath = \"/b\"\n\
                    [source.retention]\nweekly = \"5w\"\nlock = \"2y\"\n[[source]]\npath = \"/c\"\nretention = {}\n";
        let window = |text: &str| text.parse::<Window>().unwrap();
        let of = |root| policy(text, "here", root);
        assert_eq!(of("/a").rules, [(Rule::Every, window("1h")), (Rule::Daily, window("9d"))]);
        assert_eq!(of("/a").locks, [window("1y")]);
        assert_eq!(of("/b").rules, [(Rule::Weekly, window("5w"))]);
        assert_eq!(of("/b").locks, [window("2y"), window("1y")]);
        assert!(of("/c").keeps_everything() && of("/c").locks == [window("1y")]);
        for other in [of("/gone"), policy(text, "there", "/a")] {
            assert_eq!(other, Policy::default());
        }
        let named = policy("[[source]]\npath = \"/a\"", "here", "/a");
        assert_eq!(named, Policy { is_named: true, ..Policy::default() });
    }

    #[test]
    fn what_the_repository_keeps_holds_whatever_the_settings_say() {
        let kept: Vec<Window> = ["30d", "2y"].map(|text| text.parse().unwrap()).into();
        let words = |lock: &str| {
            let text = format!("[[source]]\npath = \"/a\"\n[retention]\nevery = \"1d\"\n{lock}");
            policy(&text, "here", "/a").with_kept(Some(&kept)).words()[1..].to_vec()
        };
        let held = "locked: nothing younger than 2 years goes; this lock is kept in the repository";
        let vain = "has no effect: a lock of 2 years is kept in the repository, for ever";
        assert_eq!(words(""), [held, &format!("that the settings name no lock {vain}")]);
        assert_eq!(words("lock = \"90d\""), [held, &format!("the lock of 90 days in the settings {vain}")]);
        assert_eq!(words("lock = \"2y\""), [held]);
        assert_eq!(words("lock = \"3y\""), ["locked: nothing younger than 3 years goes", held]);
        let other = policy("", "there", "/a").with_kept(Some(&kept)).words();
        assert_eq!(other[1..], [held], "these settings have no say there");
    }
}
