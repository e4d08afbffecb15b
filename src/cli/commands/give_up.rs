//! `bygone maintain --give-up`.

use std::path::Path;

use serde_json::json;

use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{json_bytes, json_time};
use crate::cli::trail;
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::{
        event::{Event, Kind, Outcome as Ended},
        named::{self, GIVEN_UP},
    },
    collect::give_up::{self, Unreadable},
    replay,
};
use crate::types::{path, snapshot::Source};
use std::os::unix::ffi::OsStrExt as _;

/// Runs it for the source at `root` of a host, this one if none is said; only tells what it would do if it is a dry run.
pub(super) fn run(
    context: &Context,
    at: &Attached,
    (root, host, dry_run): (&Path, Option<&str>, bool),
    progress: &dyn Progress,
) -> Result<Outcome, Failure> {
    replay::catch_up(at, progress).into_failure()?.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    let source = find(at, root, host.unwrap_or(&context.config.host))?;
    let what = give_up::unreadable(at, &source, progress).into_failure()?;
    tell(context, &source, &what, dry_run)?;
    if dry_run || what.is_nothing() {
        return Ok(Outcome::Done);
    }
    let audit = trail::open(context, at.repo());
    let event = |ended: Ended| event(&source, &what, ended);
    let authority = "whoever ran `maintain --give-up`: it can't be read";
    audit
        .record_durably(event(Ended::Begun).detail("authority", authority))
        .explain(|| "nothing is given up, since it could not be written into the audit trail first")?;
    // A merged history takes the place of the rest, so that nothing misses what is lost.
    let given = match what.objects.is_empty() && what.lost.is_empty() {
        true => Ok(Outcome::Done),
        false => give_up::give_up(at, &source).into_failure().map(|_| Outcome::Done),
    };
    let ended = trail::ended_and_stored(&audit, at.repo(), given, event)?;
    let mut out = context.out();
    if !context.json && !context.quiet {
        out.line("given up; `bygone maintain` collects what nothing needs now")?;
    }
    out.finish()?;
    Ok(ended)
}

/// What the audit trail says of it.
pub(super) fn event(source: &Source, what: &Unreadable, ended: Ended) -> Event {
    Event::new(Kind::Delete, ended)
        .source(source)
        .detail("given_up", names(what))
        .detail("lost", ranges(what))
        .detail(GIVEN_UP, named::give_up_value(&what.named))
}

fn find(at: &Attached, root: &Path, host: &str) -> Result<Source, Failure> {
    let real = absolute(root)?;
    let sources = at.reader().and_then(|reader| Ok(reader.sources()?)).into_failure()?;
    let of_host: Vec<&Source> = sources.iter().filter(|s| s.host == host).collect();
    let found = of_host.iter().find(|s| s.root == real.as_os_str().as_bytes());
    found.map(|s| (*s).clone()).ok_or_else(|| {
        let known: Vec<String> = of_host.iter().map(|s| path::show(&s.root)).collect();
        let hint = match known.is_empty() {
            true => "nothing is known of that host: `bygone list` names those that there are".to_owned(),
            false => format!("it has {}", known.join(", ")),
        };
        Failure::new(format!("{} of {host} is no source in this repository", real.display())).hint(hint)
    })
}

fn names(what: &Unreadable) -> Vec<&str> {
    what.objects.iter().map(|(name, _)| name.as_str()).collect()
}

fn ranges(what: &Unreadable) -> Vec<String> {
    what.lost.iter().map(|lost| format!("{}-{}", lost.first, lost.last)).collect()
}

/// Tells what is given up, or would be.
pub(super) fn tell(context: &Context, source: &Source, what: &Unreadable, dry_run: bool) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        let objects: Vec<_> = what.objects.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
        let lost: Vec<_> = what
            .lost
            .iter()
            .map(|l| json!({ "first": l.first.0, "last": l.last.0, "after": json_time(l.after), "before": json_time(l.before) }))
            .collect();
        out.json(&json!({
            "kind": "given_up", "source": json_bytes(&source.root), "host": source.host, "objects": objects, "lost": lost,
            "named": what.named.iter().map(|n| n.number.0).collect::<Vec<_>>(), "done": !dry_run && !what.is_nothing(),
        }))?;
    } else if !context.quiet {
        let root = path::show(&source.root);
        if what.is_nothing() {
            out.line(format_args!(
                "{root}: all of its journal that there is can be followed; there is nothing to give up"
            ))?;
        } else {
            let word = if dry_run { "would be" } else { "is" };
            out.line(format_args!("{root}: this {word} given up:"))?;
            what.objects.iter().try_for_each(|(name, why)| out.line(format_args!("  {name}: {why}")))?;
            for named in &what.named {
                out.line(format_args!("  {named}: the audit trail names it, and the journal has no such record"))?;
            }
            for lost in &what.lost {
                out.line(format_args!("  snapshots {} to {} do not show, and will not", lost.first, lost.last))?;
            }
        }
    }
    out.finish()
}
