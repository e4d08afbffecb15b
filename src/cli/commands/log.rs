//! `bygone log`.

use serde_json::{Value, json};

use crate::cli::args::history::Log;
use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::past::{Past, clean, json_bytes, json_row, json_time, show_path};
use crate::cli::sizes::show_size;
use crate::index::tree::Reader;
use crate::types::{op::Gap, path, time::Instant};
use crate::view::{
    history::{PathVersion, What, versions},
    whose::Line,
};

/// Runs it.
pub fn run(context: &Context, args: &Log) -> Result<Outcome, Failure> {
    let past = Past::open_of(context, &args.of)?;
    let wanted = clean(&args.path)?;
    let (mut all, mut gaps) = (Vec::new(), Vec::new());
    let lines = past.lines_near(&wanted)?;
    past.index.hold(|index| -> Result<(), Failure> {
        for line in &lines {
            let mut found = versions(index, &line.source, &wanted)?;
            found.retain(|version| line.shows(version.from.time));
            gaps.extend(gaps_of(index, line, &found)?);
            all.extend(found);
        }
        Ok(())
    })?;
    if all.is_empty() {
        let failure = Failure::new(format!("{} was never captured", path::show(&wanted)));
        return Err(
            match lines.iter().map(|line| &line.source).find(|s| s.root != wanted && path::is_within(&s.root, &wanted))
            {
                Some(below) => failure.hint(format!("the source {} lies below it", path::show(&below.root))),
                None => failure.hint("`bygone find NAME --ever` looks for a name in all of history"),
            },
        );
    }
    all.sort_by_key(|v| v.from.time);
    gaps.sort_by_key(|(_, gap)| gap.to);
    let mut out = context.out();
    for version in all.iter().rev().take(args.limit.unwrap_or(usize::MAX)) {
        while let Some((dir, gap)) = gaps.pop_if(|(_, gap)| gap.to >= version.from.time) {
            match context.json {
                true => out.json(&gap_json(&dir, &gap))?,
                false => out.line(gap_text(&past, &dir, &gap))?,
            }
        }
        match context.json {
            true => out.json(&as_json(version))?,
            false => out.line(as_text(&past, version, &wanted))?,
        }
    }
    out.finish()?;
    Ok(past.outcome)
}

/// The gaps in which one of the versions may have changed without being seen, each with its directory.
fn gaps_of(index: &Reader, line: &Line, found: &[PathVersion]) -> Result<Vec<(Vec<u8>, Gap)>, Failure> {
    let Some(first) = found.iter().map(|v| v.from.time).min() else { return Ok(Vec::new()) };
    let mut gaps = Vec::new();
    for gap in index.gaps(line.source.num, first, line.cut(Instant(i64::MAX)))? {
        let dir = path::join(&line.source.root, &gap.subtree);
        let meets = |v: &PathVersion| v.from.time <= gap.to && v.to.as_ref().is_none_or(|to| gap.from <= to.time);
        if found.iter().any(|v| path::is_within(&v.path, &dir) && meets(v)) {
            gaps.push((dir, gap));
        }
    }
    Ok(gaps)
}

fn gap_text(past: &Past, dir: &[u8], gap: &Gap) -> String {
    let (from, to, why) = (past.show(gap.from), past.show(gap.to), path::show(gap.why.as_bytes()));
    format!("{to}  gap of {} since {from}: {why}", path::show(dir))
}

fn gap_json(dir: &[u8], gap: &Gap) -> Value {
    json!({
        "path": json_bytes(dir), "what": "gap", "from": json_time(gap.from), "to": json_time(gap.to), "why": gap.why,
    })
}

fn word(what: &What) -> &'static str {
    match what {
        What::Created => "created",
        What::Changed => "changed",
        What::Renamed { .. } => "renamed",
        What::Linked { .. } => "linked",
        What::Replaced => "replaced",
        What::Left { .. } => "left",
        What::Removed => "removed",
    }
}

fn other(what: &What) -> Option<&[u8]> {
    match what {
        What::Renamed { from: other } | What::Linked { to: other } | What::Left { to: other } => Some(other),
        What::Created | What::Changed | What::Replaced | What::Removed => None,
    }
}

fn as_text(past: &Past, v: &PathVersion, wanted: &[u8]) -> String {
    let size = v.row.as_ref().filter(|r| !r.node.is_dir()).map(|r| show_size(r.attr.size)).unwrap_or_default();
    let mut line = format!("{}  {:8} {size:>10}", past.show(v.from.time), word(&v.what));
    match &v.what {
        What::Renamed { from } => line.push_str(&format!("  from {}", show_path(from, v.row.as_ref()))),
        What::Linked { to } => line.push_str(&format!("  beside {}", path::show(to))),
        What::Left { to } => line.push_str(&format!("  for {}", path::show(to))),
        _ => {}
    }
    if v.path != wanted {
        line.push_str(&format!("  at {}", show_path(&v.path, v.row.as_ref())));
    }
    let mut notes = v.bits.words();
    if v.row.as_ref().is_some_and(|r| r.fuzzy) {
        notes.push("fuzzy");
    }
    if !notes.is_empty() {
        line.push_str(&format!("  ({})", notes.join(", ")));
    }
    line.truncate(line.trim_end().len());
    line
}

fn as_json(v: &PathVersion) -> Value {
    json!({
        "path": json_bytes(&v.path),
        "what": word(&v.what),
        "other_path": other(&v.what).map(json_bytes),
        "snapshot": v.from.number.0,
        "from": json_time(v.from.time),
        "to": v.to.as_ref().map(|to| json_time(to.time)),
        "differs": v.bits.words(),
        "version": v.row.as_ref().map(json_row),
    })
}
