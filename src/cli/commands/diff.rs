//! `bygone diff`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::{Value, json};

use crate::cli::args::history::Diff;
use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::past::{Past, clean, json_bytes, json_row, show_path};
use crate::cli::sizes::show_size;
use crate::types::path;
use crate::view::{
    compare::Bits,
    diff::{Change, ChangeKind, diff},
};

/// Runs it.
pub fn run(context: &Context, args: &Diff) -> Result<Outcome, Failure> {
    let past = Past::open_of(context, &args.of)?;
    let (from, to) = (past.time(&args.from)?, past.time(&args.to)?);
    // A source that only one of the times has is added or removed; a time before all of them does not exist.
    let (a, b) = (past.view(&from)?, past.view(&to)?);
    let within = match &args.path {
        Some(path) => clean(path)?,
        None => b"/".to_vec(),
    };
    if args.path.is_some() {
        let there = a.look_up(&past.index, &within)?.is_some() || b.look_up(&past.index, &within)?.is_some();
        if !there {
            return Err(past.not_there(&within, &to)?);
        }
    }
    let mut out = context.out();
    let mut sums = Sums::default();
    past.index.hold(|index| {
        diff(index, &a, &b, &within, |change| -> Result<_, Failure> {
            if args.stat {
                sums.add(&change);
            } else if args.null {
                out.bytes(&change.path)?;
                out.bytes(b"\0")?;
            } else if context.json {
                out.json(&as_json(&change))?;
            } else if !is_noise(&change) {
                out.line(as_text(&change))?;
            }
            Ok(if out.closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    })?;
    if args.stat {
        match context.json {
            true => out.json(&sums.as_json())?,
            false => sums.lines().into_iter().try_for_each(|line| out.line(line))?,
        }
    }
    out.finish()?;
    Ok(past.outcome)
}

/// A directory changes its time whenever a name in it changes, and that is told by the name.
fn is_noise(change: &Change) -> bool {
    let mtime_only = change.bits == Bits::MTIME;
    change.kind == ChangeKind::Modified && mtime_only && change.after.as_ref().is_some_and(|row| row.node.is_dir())
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Removed => "removed",
        ChangeKind::Added => "added",
        ChangeKind::Renamed => "renamed",
        ChangeKind::Modified => "modified",
        ChangeKind::Type => "type",
    }
}

fn letter(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Removed => '-',
        ChangeKind::Added => '+',
        ChangeKind::Renamed => 'R',
        ChangeKind::Modified => 'M',
        ChangeKind::Type => 'T',
    }
}

fn as_text(change: &Change) -> String {
    let row = change.after.as_ref().or(change.before.as_ref());
    let shown = show_path(&change.path, row);
    let path = match (&change.old_path, change.kind) {
        (Some(old), ChangeKind::Renamed) => format!("{} -> {shown}", path::show(old)),
        _ => shown,
    };
    let mut words = change.bits.words();
    if change.is_replaced() {
        words.insert(0, "replaced");
    }
    let notes = match words.is_empty() {
        true => String::new(),
        false => format!("  ({})", words.join(", ")),
    };
    format!("{} {path}{notes}", letter(change.kind))
}

fn as_json(change: &Change) -> Value {
    json!({
        "change": word(change.kind),
        "path": json_bytes(&change.path),
        "old_path": change.old_path.as_deref().map(json_bytes),
        "differs": change.bits.words(),
        "replaced": change.is_replaced(),
        "before": change.before.as_ref().map(json_row),
        "after": change.after.as_ref().map(json_row),
    })
}

/// How many changes of each kind there were, and the bytes before and after.
#[derive(Default)]
struct Sums(BTreeMap<ChangeKind, (u64, u64, u64)>);

impl Sums {
    fn add(&mut self, change: &Change) {
        if is_noise(change) {
            return;
        }
        let sum = self.0.entry(change.kind).or_default();
        let size = |row: &Option<crate::index::rows::Row>| row.as_ref().map_or(0, |r| r.attr.size);
        *sum = (sum.0 + 1, sum.1 + size(&change.before), sum.2 + size(&change.after));
    }

    fn as_json(&self) -> Value {
        let part = |(kind, sum): (&ChangeKind, &(u64, u64, u64))| {
            (word(*kind).to_owned(), json!({ "count": sum.0, "bytes_before": sum.1, "bytes_after": sum.2 }))
        };
        Value::Object(self.0.iter().map(part).collect())
    }

    fn lines(&self) -> Vec<String> {
        if self.0.is_empty() {
            return vec!["no difference".to_owned()];
        }
        let line = |(kind, (count, before, after)): (&ChangeKind, &(u64, u64, u64))| {
            format!("{:9}{count:8}  {:>10} before, {:>10} after", word(*kind), show_size(*before), show_size(*after))
        };
        self.0.iter().map(line).collect()
    }
}
