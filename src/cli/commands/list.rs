//! `bygone list`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::args::history::List;
use crate::cli::context::Context;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{Past, json_bytes, json_time};
use crate::cli::sizes::show_size;
use crate::repo::{
    error::RepoError,
    holding::{self, Holding},
};
use crate::types::{
    op::Gap,
    path,
    snapshot::{Counts, Lost, Snapshot, Source},
    time::Instant,
    when::show,
};

/// Something that the history of a source has at a time.
enum Item {
    Snapshot(Snapshot),
    Gap(Gap),
    Lost(Lost),
}

impl Item {
    fn time(&self) -> Instant {
        match self {
            Item::Snapshot(snapshot) => snapshot.time,
            Item::Gap(gap) => gap.to,
            // Before the snapshot at which the tree is known again.
            Item::Lost(lost) => Instant(lost.before.0.saturating_sub(1)),
        }
    }
}

/// Runs it.
pub fn run(context: &Context, args: &List) -> Result<Outcome, Failure> {
    let past = Past::open_of(context, &args.of)?;
    let sources = past.chosen(&args.sources)?;
    let items = items(&past, args, &sources)?;
    let holding = holding::held(past.at.repo()).or_else(told_elsewhere).into_failure()?;
    let mut out = context.out();
    if items.is_empty() && !context.json && !context.quiet {
        tracing::warn!("{}", nothing(&past, &sources)?);
    }
    if args.by_day {
        by_day(context, &past, &items, &mut out)?;
    } else if args.by_source {
        by_source(context, &past, &items, &mut out)?;
    } else {
        for (source, item) in &items {
            match context.json {
                true => out.json(&as_json(source, item, &holding))?,
                false => out.line(as_text(&past, source, item, &holding))?,
            }
        }
    }
    out.finish()?;
    Ok(past.outcome)
}

/// A statement of a copy that does not read is told by `bygone verify`: without one, what is there is taken for all. A store that is away
/// keeps nobody from a list.
fn told_elsewhere(e: RepoError) -> Result<Holding, RepoError> {
    if !e.is_damage() && !e.is_away() {
        return Err(e);
    }
    tracing::warn!("what this copy holds is not known: {e}");
    Ok(Holding::default())
}

/// Why nothing is listed.
fn nothing(past: &Past, sources: &[Source]) -> Result<String, Failure> {
    let (mut first, mut last) = (None, None);
    for source in sources {
        let time = |snapshot: Option<Snapshot>| snapshot.map(|s| s.time);
        first = first.into_iter().chain(time(past.index.snapshot_after(source.num, Instant(i64::MIN))?)).min();
        last = last.into_iter().chain(time(past.index.snapshot_at(source.num, Instant(i64::MAX))?)).max();
    }
    Ok(match first.zip(last) {
        Some((first, last)) => {
            let (first, last) = (past.show(first), past.show(last));
            format!("there is no snapshot in the range asked for; the first is of {first}, the last of {last}")
        }
        None => "there is no snapshot to list; `bygone snapshot` takes one".to_owned(),
    })
}

/// Snapshots and gaps by time, oldest first.
fn items<'a>(past: &Past, args: &List, sources: &'a [Source]) -> Result<Vec<(&'a Source, Item)>, Failure> {
    let bound = |text: &Option<String>| text.as_deref().map(|text| past.time(text)).transpose();
    let since = bound(&args.since)?.map_or(Instant(i64::MIN), |t| Instant(t.instant.0.saturating_add(1)));
    let until = bound(&args.until)?.map_or(Instant(i64::MAX), |t| t.instant);
    past.refuse_no_time(since, until)?;
    let end = Instant(until.0.saturating_add(1));
    let mut items = Vec::new();
    for source in sources {
        let snapshots = past.index.snapshots(source.num, since, end, i64::MAX as usize)?;
        items.extend(snapshots.into_iter().map(|s| (source, Item::Snapshot(s))));
        let gaps = past.index.gaps(source.num, since, until)?;
        items.extend(gaps.into_iter().map(|g| (source, Item::Gap(g))));
        let lost = past.index.lost(source.num)?.into_iter().filter(|l| l.before > since && l.after < end);
        items.extend(lost.map(|l| (source, Item::Lost(l))));
    }
    items.sort_by_key(|(_, item)| item.time());
    let snapshots = items.iter().filter(|(_, item)| matches!(item, Item::Snapshot(_))).count();
    let mut surplus = args.limit.map_or(0, |limit| snapshots.saturating_sub(limit));
    items.retain(|(_, item)| {
        let kept = surplus == 0;
        surplus -= usize::from(!kept && matches!(item, Item::Snapshot(_)));
        kept
    });
    Ok(items)
}

/// A path, and where it is not of this host, as with the history of a second writer, also whose it is.
fn shown(past: &Past, source: &Source, path: &[u8]) -> String {
    match source.host == past.host {
        true => path::show(path),
        false => format!("{} (of {})", path::show(path), path::show(source.host.as_bytes())),
    }
}

fn as_text(past: &Past, source: &Source, item: &Item, holding: &Holding) -> String {
    match item {
        Item::Snapshot(s) => {
            let not_held = if holding.is_whole(s.tier) { "" } else { "; not all of its content is in this copy" };
            format!(
                "{}  {}  {}  {}{not_held}",
                past.show(s.time),
                shown(past, source, &source.root),
                s.tier.word(),
                counts_text(&s.counts)
            )
        }
        Item::Gap(g) => format!(
            "{}  {}  gap since {}: {}",
            past.show(g.to),
            shown(past, source, &path::join(&source.root, &g.subtree)),
            past.show(g.from),
            path::show(g.why.as_bytes())
        ),
        Item::Lost(l) => {
            let since = if l.after == Instant(i64::MIN) { "the beginning".into() } else { past.show(l.after) };
            format!(
                "{}  {}  lost: snapshots {} to {}, after {since}: {}",
                if l.is_open() { "until now".to_owned() } else { past.show(l.before) },
                shown(past, source, &source.root),
                l.first,
                l.last,
                path::show(l.why.as_bytes())
            )
        }
    }
}

fn counts_text(c: &Counts) -> String {
    let mut text = format!(
        "{} new, {} changed, {} removed; read {}, stored {}",
        c.new,
        c.changed,
        c.removed,
        show_size(c.read_bytes),
        show_size(c.stored_bytes)
    );
    for (count, word) in [(c.unreadable, "unreadable"), (c.fuzzy, "fuzzy")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

fn counts_json(c: &Counts) -> Value {
    json!({
        "new": c.new, "changed": c.changed, "removed": c.removed, "bytes_read": c.read_bytes,
        "bytes_stored": c.stored_bytes, "unreadable": c.unreadable, "fuzzy": c.fuzzy,
    })
}

fn as_json(source: &Source, item: &Item, holding: &Holding) -> Value {
    let root = json_bytes(&source.root);
    match item {
        Item::Snapshot(s) => json!({
            "kind": "snapshot", "source": root, "host": source.host, "number": s.number.0, "time": json_time(s.time), "time_ns": s.time.0,
            "tier": s.tier.word(), "held": holding.is_whole(s.tier), "counts": counts_json(&s.counts),
        }),
        Item::Gap(g) => json!({
            "kind": "gap", "source": root, "host": source.host, "path": json_bytes(&path::join(&source.root, &g.subtree)),
            "from": json_time(g.from), "to": json_time(g.to), "why": g.why,
        }),
        Item::Lost(l) => json!({
            "kind": "lost", "source": root, "host": source.host, "first": l.first.0, "last": l.last.0,
            "after": (l.after.0 != i64::MIN).then(|| json_time(l.after)), "before": (!l.is_open()).then(|| json_time(l.before)), "why": l.why,
        }),
    }
}

/// What several snapshots of one source did.
#[derive(Default)]
struct Sum {
    snapshots: u64,
    gaps: u64,
    lost: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    counts: Counts,
}

impl Sum {
    fn add(&mut self, item: &Item) {
        let s = match item {
            Item::Snapshot(s) => s,
            Item::Gap(_) => return self.gaps += 1,
            Item::Lost(l) => return self.lost += l.last.0 - l.first.0 + 1,
        };
        self.snapshots += 1;
        self.first = self.first.or(Some(s.time));
        self.last = Some(s.time);
        let (sum, c) = (&mut self.counts, &s.counts);
        for (sum, n) in [
            (&mut sum.new, c.new),
            (&mut sum.changed, c.changed),
            (&mut sum.removed, c.removed),
            (&mut sum.read_bytes, c.read_bytes),
            (&mut sum.stored_bytes, c.stored_bytes),
            (&mut sum.unreadable, c.unreadable),
            (&mut sum.fuzzy, c.fuzzy),
        ] {
            *sum = sum.saturating_add(n);
        }
    }

    fn text(&self) -> String {
        let gaps = if self.gaps > 0 { format!(", {} gap(s)", self.gaps) } else { String::new() };
        let lost = if self.lost > 0 { format!(", {} lost", self.lost) } else { String::new() };
        format!("{} snapshot(s): {}{gaps}{lost}", self.snapshots, counts_text(&self.counts))
    }

    fn json(&self) -> Value {
        json!({
            "snapshots": self.snapshots, "gaps": self.gaps, "lost": self.lost, "first": self.first.map(json_time), "last": self.last.map(json_time),
            "counts": counts_json(&self.counts),
        })
    }
}

/// What sources are told apart by.
fn key(source: &Source) -> (&[u8], &str) {
    (&source.root, &source.host)
}

fn by_day(context: &Context, past: &Past, items: &[(&Source, Item)], out: &mut Out) -> Result<(), Failure> {
    let mut days = BTreeMap::new();
    for (source, item) in items {
        let day = days.entry((show::day(item.time(), &past.zone), key(source)));
        day.or_insert((*source, Sum::default())).1.add(item);
    }
    for ((day, _), (source, sum)) in &days {
        let root = &source.root;
        match context.json {
            true => {
                out.json(&json!({ "day": day, "source": json_bytes(root), "host": source.host, "sum": sum.json() }))?
            }
            false => out.line(format_args!("{day}  {}  {}", shown(past, source, root), sum.text()))?,
        }
    }
    Ok(())
}

fn by_source(context: &Context, past: &Past, items: &[(&Source, Item)], out: &mut Out) -> Result<(), Failure> {
    let mut sources = BTreeMap::new();
    for (source, item) in items {
        sources.entry(key(source)).or_insert((*source, Sum::default())).1.add(item);
    }
    for (source, sum) in sources.values() {
        let root = &source.root;
        match context.json {
            true => out.json(&json!({ "source": json_bytes(root), "host": source.host, "sum": sum.json() }))?,
            false => {
                let time = |t: Option<Instant>| t.map(|t| past.show(t)).unwrap_or_default();
                let (first, last) = (time(sum.first), time(sum.last));
                out.line(format_args!("{}  {first} to {last}  {}", shown(past, source, root), sum.text()))?;
            }
        }
    }
    Ok(())
}
