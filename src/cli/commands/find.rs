//! `bygone find`.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Value, json};

use crate::cli::args::history::Find;
use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::past::{Past, json_bytes, json_row, json_time, show_path};
use crate::types::{ids::Snap, path, snapshot::Source};
use crate::view::{
    find::{Found, When, find},
    glob::Pattern,
    whose::Line,
};

/// Runs it.
pub fn run(context: &Context, args: &Find) -> Result<Outcome, Failure> {
    let text = args.pattern.to_str().ok_or_else(|| {
        let shown = path::show(args.pattern.as_bytes());
        Failure::usage(format!("cannot use the pattern {shown}: it is not UTF-8"))
            .hint("`?` stands for any one byte: write it in the place of each byte that is shown as \\x")
    })?;
    let pattern = Pattern::new(text).map_err(Failure::usage)?;
    let past = Past::open_of(context, &args.of)?;
    let mut out = context.out();
    let mut first = true;
    past.index.hold(|index| -> Result<(), Failure> {
        for (line, when) in places(&past, args)? {
            let source = line.source.clone();
            find(index, &source, &pattern, when, |found| -> Result<_, Failure> {
                if line.until.is_some() && !line.shows(past.snapshot(&source, found.row.from)?.time) {
                    return Ok(ControlFlow::Continue(()));
                }
                if args.null {
                    out.bytes(&found.path)?;
                    out.bytes(b"\0")?;
                } else if context.json {
                    out.json(&as_json(&past, &source, &found)?)?;
                } else {
                    out.line(as_text(&past, &source, &found, when)?)?;
                }
                if std::mem::take(&mut first) {
                    // The rest may take a while.
                    out.flush()?;
                }
                Ok(if out.closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if out.closed() {
                break;
            }
        }
        Ok(())
    })?;
    out.finish()?;
    Ok(past.outcome)
}

/// Where to look, and for what.
fn places(past: &Past, args: &Find) -> Result<Vec<(Line, When)>, Failure> {
    if args.ever {
        return Ok(past.lines()?.into_iter().map(|line| (line, When::Ever)).collect());
    }
    let time = past.time(args.at.as_deref().unwrap_or("latest"))?;
    let view = past.view(&time)?;
    view.check(b"/")?;
    let parts = view.parts.into_iter();
    let place = |source: Source, snap: Snap| -> Result<(Line, When), Failure> {
        let newest = past.index.head(source.num)?.number;
        let when = match args.deleted {
            true => When::Deleted { newest },
            false => When::At { snap, newest: snap == newest },
        };
        Ok((Line { source, until: None }, when))
    };
    parts.map(|part| place(part.source, part.snapshot.number)).collect()
}

fn as_text(past: &Past, source: &Source, found: &Found, when: When) -> Result<String, Failure> {
    let shown = show_path(&found.path, Some(&found.row));
    match (found.row.to, when) {
        (Some(to), When::Ever | When::Deleted { .. }) => {
            Ok(format!("{shown}  (until {})", past.show(past.snapshot(source, to)?.time)))
        }
        _ => Ok(shown),
    }
}

fn as_json(past: &Past, source: &Source, found: &Found) -> Result<Value, Failure> {
    let time = |snap| -> Result<Value, Failure> { Ok(json_time(past.snapshot(source, snap)?.time)) };
    Ok(json!({
        "path": json_bytes(&found.path),
        "from": time(found.row.from)?,
        "to": found.row.to.map(time).transpose()?,
        "version": json_row(&found.row),
    }))
}
