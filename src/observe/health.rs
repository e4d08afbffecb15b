//! Whether all is as it should be: findings, each with what, why and a cure.

use crate::config::watched::Health;
use crate::observe::{
    facts::{DrillFacts, Facts, JobFacts, RecoveryFacts, ServiceFacts, SiteFacts, SourceFacts, Spool, Stored, Watched},
    verified,
};
use crate::repo::audit::found::Found;
use crate::types::{
    duration::show_duration,
    time::Instant,
    when::{
        show::{ago, exact_name, show_second},
        zone::Zone,
    },
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Backups go on, and something is not as it should be.
    Degraded,
    /// Something is not backed up, or may not be read back.
    Failing,
}

/// What sort of finding it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// Something failed.
    Failure,
    /// Something has not succeeded within its time.
    Overdue,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What tells it from others, and stays the same as long as it lasts.
    pub key: String,
    /// How bad it is.
    pub level: Level,
    /// What sort it is.
    pub sort: Sort,
    /// What it is about: a path, a job, an object.
    pub about: String,
    /// What is wrong, and why.
    pub why: String,
    /// What to do.
    pub to_do: String,
}

/// What these facts say, the worst first.
pub fn findings(facts: &Facts, settings: &Health) -> Vec<Finding> {
    let mut all = Findings { now: facts.at_ns, found: Vec::new() };
    if let Some(why) = &facts.trouble {
        let to_do = "bring back the store, or the network to it; what is captured waits until then";
        let to_do = facts.trouble_to_do.as_deref().unwrap_or(to_do);
        let away = facts.spool.as_ref().and_then(|spool| spool.away.as_ref());
        let since = away.map(|(since, _)| format!("; it has not answered since {}", all.ago(*since)));
        let why = format!("it can't be looked at: {why}{}", since.unwrap_or_default());
        all.fail("store", &facts.repository, why, to_do);
    }
    facts.sources.iter().filter(|s| s.configured).for_each(|s| all.source(s, settings, facts.service.as_ref()));
    facts.sources.iter().for_each(|s| all.lost(s));
    facts.sources.iter().for_each(|s| all.absent(s));
    facts.sites.iter().for_each(|site| all.site(site));
    facts.drills.iter().for_each(|drill| all.drill(drill));
    facts.recoveries.iter().for_each(|recovery| all.recovery(recovery));
    facts.jobs.iter().for_each(|job| all.job(job, &facts.sources));
    facts.spool.iter().for_each(|spool| all.spool(spool, settings, facts.trouble.is_some()));
    facts.stored.iter().for_each(|stored| all.stored(stored, settings));
    all.verified(facts, settings);
    facts.trail_found.iter().for_each(|found| all.trail(found));
    all.rooms(facts, settings);
    match &facts.service {
        Some(service) => all.service(service),
        None => all.no_service(facts),
    }
    // Stable: what belongs together stays together.
    all.found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    all.found
}

/// One line: how it stands, the worst finding, and until when the service is paused, if it is and that has an end.
pub fn summary(facts: &Facts, found: &[Finding], zone: &Zone) -> String {
    let sources = facts.sources.iter().filter(|s| s.configured).count();
    let jobs = facts.jobs.len();
    let service = if facts.service.is_some() { "" } else { ", no service runs" };
    let paused_until = facts.service.as_ref().filter(|s| s.paused_ns.is_some()).and_then(|s| s.paused_until_ns);
    let paused =
        paused_until.map_or_else(String::new, |until| format!("paused until {}", show_second(Instant(until), zone)));
    match found.first() {
        None if paused.is_empty() => format!("bygone OK - {sources} source(s), {jobs} job(s){service}"),
        None => format!("bygone OK - {sources} source(s), {jobs} job(s), {paused}"),
        Some(worst) => {
            let word = if worst.level == Level::Failing { "FAILING" } else { "DEGRADED" };
            let more = if found.len() > 1 { format!("; {} more", found.len() - 1) } else { String::new() };
            let paused = if paused.is_empty() { paused } else { format!("; {paused}") };
            format!("bygone {word} - {}: {}{more}{paused}", worst.about, worst.why)
        }
    }
}

struct Findings {
    now: i64,
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, (key, level, sort): (&str, Level, Sort), about: &str, why: String, to_do: &str) {
        // One line a finding, whatever an error said.
        let why = why.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        let (key, about, to_do) = (key.to_owned(), about.to_owned(), to_do.to_owned());
        self.found.push(Finding { key, level, sort, about, why, to_do });
    }

    fn fail(&mut self, key: &str, about: &str, why: String, to_do: &str) {
        self.add((key, Level::Failing, Sort::Failure), about, why, to_do);
    }

    fn degrade(&mut self, key: &str, about: &str, why: String, to_do: &str) {
        self.add((key, Level::Degraded, Sort::Failure), about, why, to_do);
    }

    fn ago(&self, ns: i64) -> String {
        ago(Instant(ns), Instant(self.now))
    }

    fn is_older(&self, ns: i64, than: Duration) -> bool {
        i128::from(self.now) - i128::from(ns) > i128::try_from(than.as_nanos()).unwrap_or(i128::MAX)
    }

    fn source(&mut self, s: &SourceFacts, settings: &Health, service: Option<&ServiceFacts>) {
        let key = |what: &str| format!("source {} {what}", s.path);
        let held = service.is_some_and(|service| service.paused_ns.is_some());
        let within = s.objective_s.map_or(settings.expected, Duration::from_secs);
        let by = match (s.objective_s, held) {
            (_, true) => "capture is paused",
            (Some(_), _) => "its objective",
            (None, _) => "what is expected",
        };
        let to_do = match service {
            None => "start the service, or run `bygone snapshot`; `bygone status` tells more",
            Some(_) if held => "`bygone resume`",
            Some(_) => "`bygone status` says what keeps it from being captured",
        };
        match s.seen_ns {
            None => {
                // A service that has just begun is given the time to capture it.
                if service.is_none_or(|service| self.is_older(service.since_ns, within)) {
                    let late = (Level::Failing, Sort::Overdue);
                    self.add((&key("age"), late.0, late.1), &s.path, "it was never captured".into(), to_do);
                }
            }
            Some(seen) if self.is_older(seen, within) => {
                let why = format!("captured last {}, and {} allows {}", self.ago(seen), by, show_duration(within));
                let why = if held { format!("captured last {}: {by}", self.ago(seen)) } else { why };
                self.add((&key("age"), Level::Failing, Sort::Overdue), &s.path, why, to_do);
            }
            Some(_) => {}
        }
        if let Some(name) = &s.goes_on_as {
            let why = format!(
                "its history is forked: another writer has the one of the host {}, and this machine goes on with its own as {name}",
                s.host
            );
            let to_do = "find the copied machine or the second state directory, and give one of the two another `host`; \
                         `bygone list` shows both histories";
            self.degrade(&key("forked"), &s.path, why, to_do);
        }
        if let Some(why) = &s.not_archived {
            let why = format!("its server can't archive its WAL, which fills its disk: {why}");
            let to_do = "the log of the server says what archive_command fails by; run `bygone wal push` by hand";
            self.fail(&key("archive"), &s.path, why, to_do);
        }
        // One that fails is told by its task.
        let task = format!("watch {}", s.path);
        let by_task = service.is_some_and(|service| service.tasks.iter().any(|t| t.name == task && !t.running));
        if let Some(not) = s.not_produced.as_ref().filter(|_| !by_task) {
            let count = if not.parts > 1 { format!("{} part(s) of it", not.parts) } else { "its data".to_owned() };
            let first = if not.parts > 1 { ", the first: " } else { ": " };
            let why = format!(
                "{count} could not be produced when that was tried last, {}{first}{}",
                self.ago(not.at_ns),
                not.first
            );
            let to_do = "correct what it says, or take the command out of the settings; `bygone snapshot` tries it again at once";
            self.fail(&key("produce"), &s.path, why, to_do);
        }
        if let Some(hooks) = &s.failed_hooks {
            let more = if hooks.parts > 1 { "; and the one after" } else { "" };
            let why = format!("a hook of it failed when it ran last, {}: {}{more}", self.ago(hooks.at_ns), hooks.first);
            let to_do =
                "correct what it says, or take the hook out of the settings; `bygone snapshot` runs it again at once";
            self.fail(&key("hook"), &s.path, why, to_do);
        }
        if let Some(not) = &s.unmeasured {
            let more = if not.parts > 1 { format!("; and {} more", not.parts - 1) } else { String::new() };
            let why = format!(
                "an invariant of it could not be measured with its last snapshot, {}: {}{more}",
                self.ago(not.at_ns),
                not.first
            );
            let to_do = "correct what it says, or take the invariant out of the settings; `bygone snapshot` measures again at once";
            self.fail(&key("invariant"), &s.path, why, to_do);
        }
        if s.root_gone {
            let why = "the directory is not there any more".to_owned();
            self.fail(&key("gone"), &s.path, why, "mount or make it, or take it out with `bygone source remove`");
        }
        if s.unreadable > 0 {
            let why = format!("{} of its entries could not be read by the last snapshot", s.unreadable);
            self.degrade(
                &key("unread"),
                &s.path,
                why,
                "the log and `bygone snapshot` name them; exclude what is not meant",
            );
        }
        if service.is_some() && s.watched == Watched::Nobody && !held && !by_task {
            let why = "a service runs, and nobody watches it".to_owned();
            self.degrade(
                &key("unwatched"),
                &s.path,
                why,
                "`bygone status` says why, or give the service the settings with `bygone reload`",
            );
        }
    }

    fn lost(&mut self, s: &SourceFacts) {
        if s.lost > 0 {
            let newest = if s.lost_now { ", the newest among them" } else { "" };
            let why =
                format!("{} of its snapshots can't be shown{newest}: their records are damaged or missing", s.lost);
            self.fail(
                &format!("source {} lost", s.path),
                &s.path,
                why,
                "`bygone verify` names the damage; a full snapshot makes new ground",
            );
        }
    }

    fn absent(&mut self, s: &SourceFacts) {
        let Some(absent) = &s.absent else { return };
        let level = if s.torn { Level::Failing } else { Level::Degraded };
        let mut why = format!("the repository has lost records of it, which this host's index still has: {absent}");
        let to_do = "`bygone maintain` writes them again from the index; find out who or what removed them";
        if s.torn {
            why.push_str(". What was captured since then needs them");
        }
        self.add((&format!("source {} absent", s.path), level, Sort::Failure), &s.path, why, to_do);
    }

    fn job(&mut self, job: &JobFacts, sources: &[SourceFacts]) {
        let about = format!("job {}", job.name);
        // What it could not produce is told by its source, and ends when anybody has produced it.
        let is_its = |s: &&SourceFacts| s.configured && s.is_produced && Some(&s.path) == job.source.as_ref();
        let source = sources.iter().find(is_its).filter(|_| job.run == "produce");
        if job.last_error.is_some() && source.is_some() {
            return;
        }
        if let Some(why) = &job.last_error {
            let times = if job.failures > 1 { format!(" ({} times)", job.failures) } else { String::new() };
            let why = format!("it failed{times}: {why}");
            self.fail(&format!("{about} failed"), &about, why, "`bygone jobs` shows it, and when it is tried again");
        } else if job.overdue_ns.is_some_and(|due| due < self.now) && job.running_ns.is_none() {
            let last = job.succeeded_ns.map_or_else(|| "never".to_owned(), |ns| self.ago(ns));
            let why = format!("it has missed its times: it succeeded last {last}");
            let late = (about.clone() + " late", Level::Failing, Sort::Overdue);
            self.add(
                (&late.0, late.1, late.2),
                &about,
                why,
                "see that the service runs and is not paused: `bygone jobs`",
            );
        }
    }

    fn site(&mut self, site: &SiteFacts) {
        let about = format!("site {}", site.name);
        let objective = site.objective_s.map(Duration::from_secs);
        let late = objective.filter(|objective| i128::from(site.behind_ns) > objective.as_nanos() as i128);
        if let Some(objective) = late {
            let behind = show_duration(Duration::from_secs(site.behind_ns.unsigned_abs() / 1_000_000_000));
            let why = format!(
                "{behind} would be lost with the repository, and its objective allows {}",
                show_duration(objective)
            );
            let to_do = "`bygone sites` tells more, and `bygone replicate` brings it up to date";
            self.add((&format!("{about} late"), Level::Failing, Sort::Overdue), &about, why, to_do);
        }
        if site.diverged > 0 {
            let why =
                format!("both sides wrote: it has {} object(s) of histories that the repository lacks", site.diverged);
            let to_do = "`bygone dr status` says which place goes on; `bygone dr rejoin`, there, keeps both histories";
            self.fail(&format!("{about} diverged"), &about, why, to_do);
        }
        if let Some(how) = site.gone_back.as_ref().filter(|how| site.error.as_ref() != Some(how)) {
            let to_do =
                "find out who or what set it back, or took objects from it: `bygone audit show` has it for good";
            self.degrade(&format!("{about} gone back"), &about, how.clone(), to_do);
        }
        if let Some(why) = &site.error {
            let ago = site.ended_ns.map(|ns| format!(", {}", self.ago(ns))).unwrap_or_default();
            let times = if site.failures > 1 { format!(" ({} times)", site.failures) } else { String::new() };
            let why = format!("the last run{ago}, did not do all{times}: {why}");
            self.degrade(&format!("{about} failed"), &about, why, "see to what it says, then `bygone replicate`");
        }
    }

    fn drill(&mut self, drill: &DrillFacts) {
        let about = format!("drill {}", drill.plan);
        if let Some((ns, why)) = &drill.failed {
            let why = format!("the last drill of the plan failed, {}: {why}", self.ago(*ns));
            let to_do =
                "`bygone drill list` names it; see to what it says, then rehearse the plan with `bygone drill run`";
            self.fail(&format!("{about} failed"), &about, why, to_do);
        }
        if let Some(due) = drill.due_ns.filter(|due| *due < self.now) {
            let within = drill.within_s.map(|s| format!(" within {}", show_duration(Duration::from_secs(s))));
            let last =
                drill.passed_ns.map_or("none ever did".to_owned(), |ns| format!("the last one did {}", self.ago(ns)));
            let why = format!(
                "no drill of the plan has passed{}, {last}: it is overdue since {} ({})",
                within.unwrap_or_default(),
                exact_name(Instant(due)),
                self.ago(due)
            );
            let key = format!("{about} overdue");
            self.add((&key, Level::Degraded, Sort::Overdue), &about, why, "rehearse it with `bygone drill run`");
        }
    }

    fn recovery(&mut self, of: &RecoveryFacts) {
        let about = format!("recover {}", of.path);
        if !of.working {
            let held = match of.held_until_ns {
                Some(until) => format!("what it reads is kept until {}", exact_name(Instant(until))),
                None => "retention may release what it reads".to_owned(),
            };
            let why = format!(
                "giving it back as of {}, begun {}, is unfinished, and no process works on it; {held}",
                of.as_of,
                self.ago(of.begun_ns)
            );
            let to_do = format!("`bygone recover --resume {0}` goes on, `--abandon {0}` gives it up", of.path);
            self.degrade(&format!("{about} left"), &about, why, &to_do);
        } else if of.held_until_ns.is_none() {
            let why = "it is being given back, and retention may release what it reads".to_owned();
            let to_do = "finish it by `bygone recover --finish`, or run no `bygone maintain` until it is over";
            self.degrade(&format!("{about} not held"), &about, why, to_do);
        }
        if let Some(first) = of.problems.first() {
            let why = format!("giving it back waits for somebody: {first}");
            self.degrade(&format!("{about} problems"), &about, why, "`bygone recover --status` tells more");
        }
    }

    fn spool(&mut self, spool: &Spool, settings: &Health, is_told: bool) {
        let full = spool.limit_bytes > 0 && spool.bytes >= spool.limit_bytes / 10 * 9;
        if full {
            let why = format!(
                "it holds {} of at most {} bytes: capture slows, and waits when it is full",
                spool.bytes, spool.limit_bytes
            );
            self.fail(
                "spool full",
                "spool",
                why,
                "see why the store does not take it (`bygone status`), or give it more room: [remote] spool",
            );
        }
        if let Some((since, why)) = spool.away.as_ref().filter(|_| !is_told) {
            let why = format!("the store has not answered since {}: {why}", self.ago(*since));
            let to_do = "bring back the store, or the network to it; what is captured waits on this host until then";
            self.degrade("store away", "store", why, to_do);
        } else if let Some((at, why)) = spool.error.as_ref().filter(|_| spool.objects > 0 && !is_told) {
            let why =
                format!("{} object(s) wait, and the last could not be stored {}: {why}", spool.objects, self.ago(*at));
            self.degrade("spool error", "spool", why, "see to what the store says; it is tried again and again");
        }
        if let Some(since) = spool.since_ns.filter(|since| self.is_older(*since, settings.stored_within)) {
            let why = format!("{} object(s) captured and not stored, the oldest {}", spool.objects, self.ago(since));
            self.add(
                ("spool old", Level::Degraded, Sort::Overdue),
                "spool",
                why,
                "bring back the store or the network to it; `bygone status` tells more",
            );
        }
    }

    fn stored(&mut self, stored: &Stored, settings: &Health) {
        if let Some(first) = stored.lost_packs.first() {
            let why = format!(
                "{} pack(s) that the index knows are not in the store, the first: {first}",
                stored.lost_packs.len()
            );
            self.fail(
                "packs",
                "packs",
                why,
                "`bygone verify` names the files that need them; put the packs back from another copy",
            );
        }
        if let Some(first) = stored.damaged_keys.first() {
            let why = format!("{} key slot(s) are damaged, the first: {first}", stored.damaged_keys.len());
            self.degrade("keys", "key slots", why, "add a new key with `bygone key add` and remove the damaged one");
        }
        if let Some(why) = &stored.holds_trouble {
            let why = format!("the legal holds can't be read, and nothing is collected until they can: {why}");
            self.degrade("holds", "holds", why, "`bygone hold list` and `bygone verify` tell more");
        }
        if let Some(since) = stored.awaited_since_ns.filter(|since| self.is_older(*since, settings.collected_within)) {
            let hosts = stored.awaited_hosts.join(", ");
            let why = format!("a collection waits since {} for {hosts}", self.ago(since));
            self.add(
                ("collection", Level::Degraded, Sort::Overdue),
                "collection",
                why,
                "let these hosts capture again, or retire those that are gone for good",
            );
        }
    }

    fn verified(&mut self, facts: &Facts, settings: &Health) {
        let Some(last) = facts.verified.last() else {
            // Nothing is asked of a repository that is younger than that itself.
            let oldest = facts.sources.iter().filter_map(|s| s.last_snapshot_ns).min();
            let begun = facts.service.as_ref().map(|s| s.since_ns).or(oldest);
            if begun.is_some_and(|begun| self.is_older(begun, settings.verified_within)) {
                let why = "this host has never verified the repository".to_owned();
                self.add(
                    ("verify age", Level::Degraded, Sort::Overdue),
                    "verify",
                    why,
                    "run `bygone verify`, or give it a [[job]]",
                );
            }
            return;
        };
        if let Some(found) = verified::standing(&facts.verified) {
            let first = found.first.as_deref().map(|first| format!(", the first: {first}")).unwrap_or_default();
            let why = format!("a verification, {}, found {} problem(s){first}", self.ago(found.at_ns), found.problems);
            let to_do = match found.read_frames {
                0 => "`bygone verify` names them all, with what is lost and what to do",
                _ => {
                    "`bygone verify --read-data` names them all, with what is lost and what to do; it has to find none before this ends"
                }
            };
            self.fail("verify problems", "verify", why, to_do);
        }
        if self.is_older(last.at_ns, settings.verified_within) {
            let why = format!(
                "the repository was verified last {}, and it should be every {}",
                self.ago(last.at_ns),
                show_duration(settings.verified_within)
            );
            self.add(
                ("verify age", Level::Degraded, Sort::Overdue),
                "verify",
                why,
                "run `bygone verify`, or give it a [[job]]",
            );
        }
    }

    fn trail(&mut self, found: &Found) {
        let (ago, n, first) = (self.ago(found.at_ns), found.problems, &found.first);
        let why = format!("a check of it, {ago}, found {n} problem(s), the first: {first}");
        let to_do =
            "`bygone audit verify` names them all: put back good copies, or accept with --accept what can't be mended";
        self.fail("audit", "audit trail", why, to_do);
    }

    fn rooms(&mut self, facts: &Facts, settings: &Health) {
        for room in &facts.space {
            let (key, about) = (format!("room {}", room.what), room.path.display().to_string());
            if room.read_only {
                self.fail(
                    &key,
                    &about,
                    format!("the {} lies on a file system that is read-only", room.what),
                    "mount it for writing",
                );
            } else if room.available_bytes < settings.free {
                let why = format!(
                    "the {} has {} bytes of room left, and {} are asked for",
                    room.what, room.available_bytes, settings.free
                );
                self.fail(&key, &about, why, "make room on that file system, or let retention keep less");
            }
        }
    }

    /// Schedules are run by a service only: where there are any and no service, they stand still.
    fn no_service(&mut self, facts: &Facts) {
        if !facts.jobs.is_empty() {
            let why = format!("no service runs, and with it none of {} job(s)", facts.jobs.len());
            self.degrade("no service", "service", why, "start it: `systemctl start bygone`, or `bygone daemon`");
        }
    }

    fn service(&mut self, service: &ServiceFacts) {
        for task in service.tasks.iter().filter(|task| !task.running) {
            let why = task.last_error.clone().unwrap_or_else(|| "it does not run".to_owned());
            let to_do = "it is begun again by itself; `bygone status` says when";
            self.fail(&format!("task {}", task.name), &task.name, why, to_do);
        }
        if let Some(why) = &service.refused {
            self.degrade(
                "settings",
                "settings",
                format!("the new ones were refused: {why}"),
                "correct the file, then `bygone reload`",
            );
        }
        if let Some(why) = &service.trouble {
            self.degrade("state", "service", why.clone(), "see that the state directory can be written");
        }
        if service.paused_ns.is_some() && service.paused_until_ns.is_none() {
            self.degrade("paused", "service", "it is paused, with no end".into(), "`bygone resume`");
        }
        for channel in service.undelivered.iter().filter(|c| c.waiting > 0) {
            if let Some(why) = &channel.why {
                let why = format!("{} notification(s) can't be delivered: {why}", channel.waiting);
                self.degrade(
                    &format!("notify {}", channel.channel),
                    &format!("notify {}", channel.channel),
                    why,
                    "`bygone notify test` tries it",
                );
            }
        }
    }
}
