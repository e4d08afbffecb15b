//! Facts of the repository and this host, gathered. What costs little is looked at each time; what goes through the whole index or
//! lists the store, [`stored`], is for the caller to ask for seldom.

use crate::capture::heartbeat;
use crate::config::model::Config;
use crate::index::tree::Reader;
use crate::observe::facts::{Facts, Room, SiteFacts, SourceFacts, Spool, Stored, Watched};
use crate::repo::audit::found;
use crate::repo::{
    attach::Attached,
    collect::{attend, statement},
    error::RepoError,
    holding,
    holds::force,
    measure, needed,
    open::list_slots,
    sites, verified,
    write::{apart, writer_lock},
};
use crate::sys::{durable, space};
use crate::types::{
    ids::Id,
    op::Gap,
    path,
    snapshot::{Lost, Source},
    time::Instant,
};
use std::{os::unix::ffi::OsStrExt as _, path::Path, time::UNIX_EPOCH};

/// A heartbeat older than this was not written by a process that only watches.
const FRESH_NS: i64 = 20_000_000_000;
/// So many of a kind are named.
const NAMED_MAX: usize = 100;

/// Facts that cost little: of this host, without [`Facts::stored`], jobs and the service. `sources` is what [`sources`] gave.
pub fn quick(config: &Config, at: &Attached, mut sources: Vec<SourceFacts>, now: Instant) -> Facts {
    let mut trouble = None;
    for source in sources.iter_mut().filter(|s| s.host == config.host) {
        source_now(at, source, now);
    }
    let sites = sites_now(config, at, now).unwrap_or_else(|e| {
        trouble = Some(e.to_string());
        Vec::new()
    });
    let spool = at.repo().store().waiting().unwrap_or_else(|e| {
        trouble = Some(e.to_string());
        None
    });
    Facts {
        at_ns: now.0,
        host: config.host.clone(),
        repository: config.repository.to_string(),
        spool: spool.map(|w| Spool {
            objects: w.objects,
            bytes: w.bytes,
            limit_bytes: config.remote.spool,
            since_ns: w.since.map(|since| since.0),
            error: w.error.map(|(at, why)| (at.0, why)),
            away: at.repo().store().away().map(|away| (away.since.0, away.why)),
        }),
        index_bytes: at.index().size().ok(),
        sources,
        verified: verified::all(at.dir()),
        trail_found: found::standing(at.dir()),
        space: rooms(config),
        sites,
        trouble,
        ..Facts::default()
    }
}

/// A copy that has gone back is told for so long, in nanoseconds: a day.
const GONE_BACK_NS: i64 = 86_400_000_000_000;

/// How copies stand, by what this host noted of them and by its index.
fn sites_now(config: &Config, at: &Attached, now: Instant) -> Result<Vec<SiteFacts>, RepoError> {
    if config.sites.is_empty() {
        return Ok(Vec::new());
    }
    let (known, reader) = (sites::all(at.dir()), at.reader()?);
    let mut all = Vec::new();
    for site in &config.sites {
        let noted = known.get(&site.name).cloned().unwrap_or_default();
        let points = sites::points(&reader, &noted, |source| site.wants(&config.host, source))?;
        all.push(SiteFacts {
            name: site.name.clone(),
            objective_s: site.objective.map(|objective| objective.as_secs()),
            behind_ns: points.iter().map(|point| point.behind_ns(now)).max().unwrap_or(0),
            succeeded_ns: noted.succeeded_ns,
            ended_ns: Some(noted.last.ended_ns).filter(|ns| *ns != 0),
            error: site.no_copy(&config.repository).or(noted.last.error),
            failures: noted.failures,
            diverged: noted.diverged,
            gone_back: noted.gone_back.filter(|g| now.0.saturating_sub(g.at_ns) < GONE_BACK_NS).map(|g| g.how),
        });
    }
    Ok(all)
}

/// The sources of the settings and of the repository, by the index alone.
pub fn sources(config: &Config, at: &Attached) -> Result<Vec<SourceFacts>, RepoError> {
    let reader = at.reader()?;
    let known = reader.sources()?;
    let apart = apart(at, &config.host)?;
    let mut all = Vec::new();
    for source in &config.sources {
        let root = source.path.as_os_str().as_bytes();
        let objective = source.objective.or(config.compliance.objective).map(|d| d.as_secs());
        let apart = apart.iter().find(|a| a.root == root);
        let name = apart.map_or(&config.host, |a| &a.name);
        let found = known.iter().find(|k| k.host == *name && k.root == root);
        let mut facts = found.map(|k| of_index(&reader, k)).transpose()?.unwrap_or_default();
        (facts.host, facts.path, facts.root) = (config.host.clone(), path::show(root), root.to_owned());
        (facts.configured, facts.objective_s) = (true, objective);
        facts.goes_on_as = apart.map(|a| a.name.clone());
        all.push(facts);
    }
    for other in &known {
        let (host, path) = (&other.host, path::show(&other.root));
        let is_told =
            |s: &SourceFacts| s.configured && s.goes_on_as.as_ref().unwrap_or(&s.host) == host && s.path == path;
        if !all.iter().any(is_told) {
            let here = *host == config.host;
            let watched = if here { Watched::Nobody } else { Watched::Elsewhere };
            let facts = of_index(&reader, other)?;
            all.push(SourceFacts { host: host.clone(), path, root: other.root.clone(), watched, ..facts });
        }
    }
    Ok(all)
}

fn of_index(reader: &Reader, source: &Source) -> Result<SourceFacts, RepoError> {
    let head = reader.head(source.num)?;
    let lost = reader.lost(source.num)?;
    let lost_now = lost.iter().any(Lost::is_open);
    let lost = lost.iter().map(|l| l.last.0.saturating_sub(l.first.0).saturating_add(1)).sum();
    let Some(last) = reader.snapshot(source.num, head.number)? else {
        return Ok(SourceFacts { lost, lost_now, ..SourceFacts::default() });
    };
    let (mut absent, mut torn) = (None, false);
    for row in reader.absent(source.num)? {
        torn |= !reader.is_bridged(source.num, &row)?;
        absent = Some(format!("snapshots {} to {}: {}", row.first, row.last, row.what));
    }
    let extent = reader.extent(source.num)?;
    let gaps = reader.gaps(source.num, Instant(i64::MIN), Instant(i64::MAX))?;
    let (read_bytes, stored_bytes) = reader.captured_bytes(source.num)?;
    Ok(SourceFacts {
        snapshots: reader.snapshot_count(source.num)?,
        last_snapshot_ns: Some(last.time.0),
        seen_ns: Some(last.time.0),
        read_bytes,
        stored_bytes,
        files: extent.files,
        bytes: extent.bytes,
        unreadable: last.counts.unreadable,
        fuzzy: last.counts.fuzzy,
        gaps: gaps.len() as u64,
        gap_ns: blind_ns(&gaps),
        last_gap: gaps.iter().max_by_key(|gap| gap.to).map(|gap| (gap.to.0, gap.why.clone())),
        lost,
        lost_now,
        absent,
        torn,
        ..SourceFacts::default()
    })
}

/// How long some of a source was not seen, each moment once.
fn blind_ns(gaps: &[Gap]) -> i64 {
    let mut spans: Vec<(i64, i64)> = gaps.iter().map(|gap| (gap.from.0, gap.to.0)).collect();
    spans.sort_unstable();
    let (mut sum, mut until) = (0_i64, i64::MIN);
    for (from, to) in spans {
        let from = from.max(until);
        if to > from {
            sum = sum.saturating_add(to.saturating_sub(from));
            until = to;
        }
    }
    sum
}

/// What whoever watches a source of this host says now.
fn source_now(at: &Attached, source: &mut SourceFacts, now: Instant) {
    let root = source.root.clone();
    let beat = heartbeat::heartbeat(at.dir(), &root);
    let written = std::fs::metadata(heartbeat::heartbeat_path(at.dir(), &root)).and_then(|m| m.modified()).ok();
    let written = written.and_then(|at| i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok());
    let fresh = written.is_some_and(|at| now.0.saturating_sub(at) < FRESH_NS);
    // What can't be told is as nobody: then the lag says it.
    let holder = durable::lock_holder(&writer_lock(at.dir(), &root)).ok().flatten();
    source.watched = match (&beat, holder) {
        (Some(beat), Some(pid)) if beat.pid == pid || (fresh && pid == 0) => Watched::Watched,
        (_, Some(_)) => Watched::Capturing,
        (_, None) => Watched::Nobody,
    };
    source.root_gone = source.watched == Watched::Watched && beat.as_ref().is_some_and(|beat| beat.root_gone);
    source.seen_ns = source.seen_ns.max(beat.map(|beat| beat.seen_until_ns));
}

fn rooms(config: &Config) -> Vec<Room> {
    let repository = config.repository.dir().map(|dir| ("repository", dir));
    let all = repository.into_iter().chain([("state", config.state.as_path())]);
    let room = |(what, path): (&str, &Path)| {
        let space = std::fs::File::open(path).and_then(space::of).ok()?;
        Some(Room {
            what: what.to_owned(),
            path: path.to_owned(),
            available_bytes: space.available_bytes,
            read_only: space.read_only,
        })
    };
    all.filter_map(room).collect()
}

/// What the repository has in store. Lists the store, and adds up the index.
pub fn stored(at: &Attached, now: Instant) -> Result<Stored, RepoError> {
    let store = at.repo().store();
    let reader = at.reader()?;
    // The index is asked first: what a capture stores meanwhile is not missed.
    let (known, marked) = (reader.packs()?, reader.marked()?);
    let (measure, packs) = measure::measure_and_packs(at)?;
    let sums = reader.stored()?;
    let mut version_bytes = 0;
    for source in reader.sources()? {
        version_bytes += reader.history(source.num)?.bytes;
    }
    let promised = match holding::held(at.repo()) {
        Ok(held) if held.tiers.is_some() => Some(needed::packs(&reader, &held)?),
        Ok(_) => None,
        Err(e) if e.is_damage() => None,
        Err(e) => return Err(e),
    };
    let is_promised = |id: &Id| promised.as_ref().is_none_or(|promised| promised.contains(id));
    let lost = known.into_iter().filter(|(id, _)| !packs.contains(id) && !marked.contains(id) && is_promised(id));
    let slots = list_slots(store)?;
    let damaged = slots.iter().filter_map(|(id, slot)| slot.as_ref().err().map(|e| format!("keys/{id}: {e}")));
    let holds = force::in_force(at.repo(), at.dir());
    let (awaited_hosts, awaited_since_ns) = awaited(at)?;
    Ok(Stored {
        at_ns: now.0,
        packs: measure.packs,
        pack_bytes: measure.pack_bytes,
        segments: measure.segments,
        segment_bytes: measure.segment_bytes,
        unseen_segments: measure.unseen,
        lost_packs: lost.take(NAMED_MAX).map(|(id, _)| id.to_string()).collect(),
        chunks: sums.chunks,
        chunk_bytes: sums.raw_bytes,
        sealed_bytes: sums.sealed_bytes,
        version_bytes,
        keys: slots.iter().filter(|(_, slot)| slot.is_ok()).count() as u64,
        damaged_keys: damaged.take(NAMED_MAX).collect(),
        holds: holds.as_ref().map_or(0, |all| all.iter().filter(|hold| hold.is_in_force(now)).count() as u64),
        holds_trouble: holds.err().map(|e| e.to_string()),
        awaited_hosts,
        awaited_since_ns,
    })
}

/// The hosts that have not seen a statement of collection, and since when the oldest of these waits.
fn awaited(at: &Attached) -> Result<(Vec<String>, Option<i64>), RepoError> {
    let present = attend::present(at)?;
    let (mut hosts, mut since) = (Vec::new(), None::<i64>);
    for epoch in &present.statements {
        let mut waits = present.awaited(epoch).peekable();
        if waits.peek().is_none() {
            continue;
        }
        // A statement or a note that does not read is for `verify` to name.
        let time = statement::read(at.repo(), epoch).map_or(i64::MAX, |statement| statement.time.0);
        since = Some(since.map_or(time, |since| since.min(time)));
        for id in waits {
            let note = present.hosts.get(&id).and_then(|name| statement::read_note(at.repo(), name).ok());
            let name = note.map_or_else(|| id.to_string(), |(_, name)| name);
            if !hosts.contains(&name) && hosts.len() < NAMED_MAX {
                hosts.push(name);
            }
        }
    }
    Ok((hosts, since))
}
