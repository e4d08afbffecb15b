//! Facts as metrics.

use crate::observe::{
    exposition::{
        Exposition,
        Type::{Counter, Gauge},
    },
    facts::{DrillFacts, Facts, JobFacts, NotProduced, ServiceFacts, SiteFacts, SourceFacts, Stored, Watched},
    verified,
};

/// The spans for which the share of verified data is told, in days.
const COVERAGE_DAYS: [(&str, i64); 3] = [("7", 7), ("30", 30), ("90", 90)];
const DAY_NS: i64 = 86_400_000_000_000;

/// All metrics of these facts, in the text format of Prometheus.
pub fn metrics(facts: &Facts) -> String {
    let mut to = Exposition::default();
    let version = [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)];
    to.family("bygone_build_info", (Gauge, "The version of bygone; always 1."), version);
    to.one("bygone_up", (Gauge, "Whether a service runs."), Some(flag(facts.service.is_some())));
    facts.service.iter().for_each(|service| self::service(&mut to, service));
    sources(&mut to, facts);
    sites(&mut to, &facts.sites);
    drills(&mut to, &facts.drills, facts.at_ns);
    jobs(&mut to, &facts.jobs);
    facts.stored.iter().for_each(|stored| self::stored(&mut to, facts, stored));
    let reachable = Some(flag(facts.trouble.is_none()));
    to.one("bygone_store_reachable", (Gauge, "Whether store and index could be looked at last."), reachable);
    spool(&mut to, facts);
    let index = facts.index_bytes.map(|n| n as f64);
    to.one("bygone_index_bytes", (Gauge, "What the index of this host measures on disk."), index);
    verified(&mut to, facts);
    let room = facts.space.iter().map(|room| (vec![("what", room.what.as_str())], room.available_bytes as f64));
    to.family("bygone_free_bytes", (Gauge, "The room on the file system of the state and of the repository."), room);
    to.finish()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// So old, and never younger than new: a clock may have been set back.
fn age(now: i64, since: i64) -> f64 {
    seconds(now.saturating_sub(since).max(0))
}

fn service(to: &mut Exposition, s: &ServiceFacts) {
    to.one("bygone_start_time_seconds", (Gauge, "When the service began."), Some(seconds(s.since_ns)));
    to.one("bygone_paused", (Gauge, "Whether capture and jobs are held still."), Some(flag(s.paused_ns.is_some())));
    let help = "Whether the last settings that were given were refused.";
    to.one("bygone_settings_refused", (Gauge, help), Some(flag(s.refused.is_some())));
    let up = s.tasks.iter().map(|t| (vec![("task", t.name.as_str())], flag(t.running)));
    to.family(
        "bygone_task_up",
        (Gauge, "Whether a task of the service runs, and does not wait to be begun again."),
        up,
    );
    let restarts = s.tasks.iter().map(|t| (vec![("task", t.name.as_str())], t.restarts as f64));
    to.family("bygone_task_restarts_total", (Counter, "How often a task was begun again."), restarts);
    let runs =
        s.runs.iter().map(|c| (vec![("job_name", c.of.as_str()), ("result", c.result.as_str())], c.count as f64));
    to.family("bygone_job_runs_total", (Counter, "Runs of a job, by how they ended."), runs);
    let requests = s.requests.iter();
    let requests =
        requests.map(|c| (vec![("operation", c.of.as_str()), ("result", c.result.as_str())], c.count as f64));
    to.family("bygone_store_requests_total", (Counter, "Requests to the store, by how they ended."), requests);
    let sent =
        s.notified.iter().map(|c| (vec![("channel", c.of.as_str()), ("result", c.result.as_str())], c.count as f64));
    to.family("bygone_notifications_total", (Counter, "Attempts to deliver a notification."), sent);
    let waiting = s.undelivered.iter().map(|u| (vec![("channel", u.channel.as_str())], u.waiting as f64));
    to.family("bygone_notifications_waiting", (Gauge, "Notifications that could not be delivered yet."), waiting);
}

fn sources(to: &mut Exposition, facts: &Facts) {
    let now = facts.at_ns;
    let mut each = |name: &str, help: &str, value: &dyn Fn(&SourceFacts) -> Option<f64>| {
        let samples = facts
            .sources
            .iter()
            .filter_map(|s| Some((vec![("host", s.host.as_str()), ("source", s.path.as_str())], value(s)?)));
        to.family(&format!("bygone_source_{name}"), (Gauge, help), samples);
    };
    each("lag_seconds", "How long ago all of the source had been seen and captured.", &|s| Some(age(now, s.seen_ns?)));
    each("last_success_timestamp_seconds", "When all of the source had been seen and captured last.", &|s| {
        s.seen_ns.map(seconds)
    });
    each("last_snapshot_timestamp_seconds", "The time of its newest snapshot.", &|s| s.last_snapshot_ns.map(seconds));
    each("objective_seconds", "How old its newest recovery point may be.", &|s| s.objective_s.map(|n| n as f64));
    each("snapshots", "Its snapshots that are kept.", &|s| Some(s.snapshots as f64));
    each("read_bytes", "What was read for the snapshots that are kept.", &|s| Some(s.read_bytes as f64));
    each("stored_bytes", "What was stored for the snapshots that are kept.", &|s| Some(s.stored_bytes as f64));
    each("files", "Files in its newest snapshot.", &|s| Some(s.files as f64));
    each("bytes", "What these files measure.", &|s| Some(s.bytes as f64));
    each("unreadable_files", "What its newest snapshot could not read.", &|s| Some(s.unreadable as f64));
    let failed = |of: &Option<NotProduced>| of.as_ref().map_or(0, |of| of.parts) as f64;
    each(
        "failures",
        "Parts of it that could not be produced, hooks of it that failed and invariants that could not be measured when that was tried last.",
        &|s| Some(failed(&s.not_produced) + failed(&s.failed_hooks) + failed(&s.unmeasured)),
    );
    each("gaps", "Times in which some of it was not seen.", &|s| Some(s.gaps as f64));
    each("gap_seconds", "How long these are, each moment once.", &|s| Some(seconds(s.gap_ns)));
    each("lost_snapshots", "Snapshots that can't be shown.", &|s| Some(s.lost as f64));
    each("watched", "Whether a process on this host watches it.", &|s| match s.watched {
        Watched::Elsewhere => None,
        by => Some(flag(by == Watched::Watched)),
    });
}

fn jobs(to: &mut Exposition, jobs: &[JobFacts]) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&JobFacts) -> Option<f64>| {
        let samples = jobs.iter().filter_map(|job| {
            let mut labels = vec![("job_name", job.name.as_str()), ("run", job.run.as_str())];
            labels.extend(job.source.as_deref().map(|source| ("source", source)));
            Some((labels, value(job)?))
        });
        to.family(&format!("bygone_job_{name}"), (Gauge, help), samples);
    };
    each("last_success_timestamp_seconds", "When the job succeeded last.", &|j| j.succeeded_ns.map(seconds));
    each("last_end_timestamp_seconds", "When the job ended last.", &|j| j.ended_ns.map(seconds));
    each("next_run_timestamp_seconds", "When the job begins next.", &|j| j.next_ns.map(seconds));
    each("running", "Whether the job runs.", &|j| Some(flag(j.running_ns.is_some())));
    each("failing", "Whether the job has failed, and not succeeded since.", &|j| Some(flag(j.last_error.is_some())));
}

fn sites(to: &mut Exposition, sites: &[SiteFacts]) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&SiteFacts) -> Option<f64>| {
        let samples = sites.iter().filter_map(|site| Some((vec![("site", site.name.as_str())], value(site)?)));
        to.family(&format!("bygone_site_{name}"), (Gauge, help), samples);
    };
    each("recovery_point_seconds", "What would be lost with the repository now, though the site stays.", &|s| {
        Some(seconds(s.behind_ns))
    });
    each("objective_seconds", "How far the site may be behind.", &|s| s.objective_s.map(|n| n as f64));
    each("last_success_timestamp_seconds", "When the site was brought up to date last.", &|s| {
        s.succeeded_ns.map(seconds)
    });
    let help = "Objects of histories that the site has and the repository lacks: both sides wrote.";
    each("diverged_objects", help, &|s| Some(s.diverged as f64));
    each("failing", "Whether the last run did not do all.", &|s| Some(flag(s.error.is_some())));
}

fn drills(to: &mut Exposition, drills: &[DrillFacts], now: i64) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&DrillFacts) -> Option<f64>| {
        let samples = drills.iter().filter_map(|drill| Some((vec![("plan", drill.plan.as_str())], value(drill)?)));
        to.family(&format!("bygone_drill_{name}"), (Gauge, help), samples);
    };
    each("last_success_timestamp_seconds", "When a drill of the plan passed last.", &|d| d.passed_ns.map(seconds));
    each("due_timestamp_seconds", "When a drill of the plan has to have passed again.", &|d| d.due_ns.map(seconds));
    each("overdue", "Whether it has not passed by then.", &|d| d.due_ns.map(|due| flag(due < now)));
    each("failing", "Whether the last drill of the plan failed.", &|d| Some(flag(d.failed.is_some())));
    each("recovery_seconds", "How long recovery takes by the last drill that passed.", &|d| {
        d.recovery_ms.map(|ms| ms as f64 / 1000.0)
    });
}

fn stored(to: &mut Exposition, facts: &Facts, s: &Stored) {
    let mut each = |name: &str, help: &str, value: f64| {
        to.one(&format!("bygone_repository_{name}"), (Gauge, help), Some(value));
    };
    each("looked_at_timestamp_seconds", "When the repository was looked at for these figures.", seconds(s.at_ns));
    each("packs", "Packs.", s.packs as f64);
    each("pack_bytes", "What they measure.", s.pack_bytes as f64);
    each("lost_packs", "Packs that the index knows and the store has not.", s.lost_packs.len() as f64);
    each("journal_segments", "Segments of journals.", s.segments as f64);
    each("journal_bytes", "What they measure.", s.segment_bytes as f64);
    each("journal_segments_not_in_index", "Segments that the index has not taken in.", s.unseen_segments as f64);
    each("chunks", "Chunks.", s.chunks as f64);
    each("chunk_bytes", "Each chunk once, before compression.", s.chunk_bytes as f64);
    each("sealed_bytes", "The same, compressed and sealed.", s.sealed_bytes as f64);
    each("version_bytes", "Every version of every file as a plain copy.", s.version_bytes as f64);
    // What is not a number, since there is nothing yet, is left out.
    each("dedup_ratio", "Plain copies to chunks, in bytes.", s.version_bytes as f64 / s.chunk_bytes as f64);
    each(
        "compression_ratio",
        "Chunks to what is stored of them, in bytes.",
        s.chunk_bytes as f64 / s.sealed_bytes as f64,
    );
    each("key_slots", "Key slots that can be read.", s.keys as f64);
    each("damaged_key_slots", "Key slots that can't be read.", s.damaged_keys.len() as f64);
    each("holds", "Legal holds in force.", s.holds as f64);
    each("holds_readable", "Whether all legal holds can be read.", flag(s.holds_trouble.is_none()));
    let awaited = Some(s.awaited_hosts.len() as f64);
    to.one("bygone_collection_awaited_hosts", (Gauge, "Hosts that a collection waits for."), awaited);
    let since = Some(s.awaited_since_ns.map_or(0.0, |since| age(facts.at_ns, since)));
    to.one("bygone_collection_wait_seconds", (Gauge, "How long the oldest collection has waited for them."), since);
}

fn spool(to: &mut Exposition, facts: &Facts) {
    let Some(spool) = &facts.spool else { return };
    to.one("bygone_spool_objects", (Gauge, "Objects captured and not stored yet."), Some(spool.objects as f64));
    to.one("bygone_spool_bytes", (Gauge, "What they measure."), Some(spool.bytes as f64));
    to.one(
        "bygone_spool_limit_bytes",
        (Gauge, "How much may wait before capture does."),
        Some(spool.limit_bytes as f64),
    );
    let oldest = spool.since_ns.map_or(0.0, |since| age(facts.at_ns, since));
    to.one("bygone_spool_oldest_age_seconds", (Gauge, "How long the oldest of them has waited."), Some(oldest));
}

fn verified(to: &mut Exposition, facts: &Facts) {
    let all = &facts.verified;
    let last = all.last();
    let help = "When this host verified the repository last.";
    to.one("bygone_verify_last_timestamp_seconds", (Gauge, help), last.map(|v| seconds(v.at_ns)));
    let help = "Problems that a verification by this host found, until one that reads as much finds none.";
    let problems = verified::standing(all).map_or(0, |found| found.problems);
    to.one("bygone_verify_problems", (Gauge, help), last.map(|_| problems as f64));
    let covered = COVERAGE_DAYS.into_iter().map(|(word, days)| {
        let since = facts.at_ns.saturating_sub(days * DAY_NS);
        (vec![("days", word)], verified::coverage(all, since).unwrap_or(0.0))
    });
    let help = "The share of the data that this host has read and verified in the last days.";
    to.family("bygone_verify_coverage_ratio", (Gauge, help), covered);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::facts::Spool;
    use crate::repo::verified::Verification;

    #[test]
    fn ages_count_from_now_and_nothing_is_told_that_is_not_known() {
        let source = |path: &str, seen_ns| SourceFacts {
            host: "web1".into(),
            path: path.into(),
            seen_ns,
            gap_ns: 1_500_000_000,
            ..SourceFacts::default()
        };
        let facts = Facts {
            at_ns: 100_000_000_000,
            sources: vec![source("/a", Some(90_000_000_000)), source("/b", None), source("/c", Some(200_000_000_000))],
            stored: Some(Stored::default()),
            spool: Some(Spool { objects: 2, since_ns: Some(40_000_000_000), ..Spool::default() }),
            verified: vec![Verification { at_ns: 1, frames: 4, read_frames: 1, ..Verification::default() }],
            ..Facts::default()
        };
        let text = metrics(&facts);
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        has("bygone_up 0");
        has("bygone_source_lag_seconds{host=\"web1\",source=\"/a\"} 10");
        has("bygone_source_lag_seconds{host=\"web1\",source=\"/c\"} 0");
        has("bygone_source_gap_seconds{host=\"web1\",source=\"/b\"} 1.5");
        has("bygone_spool_oldest_age_seconds 60");
        has("bygone_verify_coverage_ratio{days=\"7\"} 0.25");
        for not in ["lag_seconds{host=\"web1\",source=\"/b\"}", "dedup_ratio", "bygone_paused", "NaN"] {
            assert!(!text.contains(not), "{not} in\n{text}");
        }
    }
}
