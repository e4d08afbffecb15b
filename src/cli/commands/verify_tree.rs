//! `bygone verify-tree`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::args::recovery::VerifyTree;
use crate::cli::bar;
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{Past, clean, json_bytes};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::repo::audit::event::{Event, Kind, Outcome as Ended, bytes_value, snapshot_value, value_bytes};
use crate::sys::{clock, durable, process::Signals};
use crate::types::{
    ids::Snap,
    path,
    time::Instant,
    when::{human::Resolved, show},
};
use crate::verify::tree::{
    aspects::Ignored,
    check::{self, Request},
    receipt::{self, About},
    report::{Difference, Report, TreeError, What},
};
use crate::view::instant::{Part, View};

/// Runs it.
pub fn run(context: &Context, args: &VerifyTree) -> Result<Outcome, Failure> {
    match (&args.check_receipt, &args.dir, &args.at) {
        (Some(file), _, _) => check_receipt(context, file),
        (None, Some(dir), Some(at)) => compare(context, args, dir, at),
        _ => Err(Failure::usage("a directory and --at are needed, or --check-receipt")),
    }
}

fn compare(context: &Context, args: &VerifyTree, dir: &Path, at: &str) -> Result<Outcome, Failure> {
    refuse_taken(args)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let past = Past::open_of(context, &args.of)?;
    let time = past.time(at)?;
    let of = clean(args.path.as_deref().unwrap_or(dir))?;
    let view = View::of(&past.index, &past.whose, time.instant)?;
    view.check(&of).into_failure()?;
    let ignored = Ignored::new(args.ignore.iter().map(|i| (*i).into()));
    tell_time(context, &past, &view, &of, &time)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let begun = clock::now();
    let request = Request { view: &view, path: &of, dir, ignored: &ignored };
    let compared =
        check::verify(&past.at, &request, &*bar, &signals.flag()).map_err(|e| failure(&past, args, &of, &time, e));
    let ended = (|| {
        let report = compared?;
        tell(context, &report)?;
        if report.stopped {
            return Err(Failure::new("interrupted before everything was compared"));
        }
        let directory = absolute(dir)?;
        let about = About {
            repository: past.at.repo().id().to_string(),
            host: &past.host,
            path: &of,
            directory: directory.as_os_str().as_bytes(),
            at: time.instant,
            as_of: &time.text,
            parts: &view.parts_at(&of),
            ignored: &ignored,
            begun,
            ended: clock::now(),
            by: by(context),
        };
        if let Some(file) = &args.receipt {
            write_receipt(context, file, &receipt::make(past.at.repo().keys(), &about, &report))?;
        }
        Ok(report)
    })();
    let outcome = match &ended {
        Ok(report) if report.is_equal() => Ok(past.outcome),
        Ok(_) => Ok(Outcome::Partial),
        Err(e) => Err(e.clone()),
    };
    let event = event(dir, &of, &time, &view, &ignored, ended.as_ref().ok());
    trail::ended_and_stored(&trail::open(context, past.at.repo()), past.at.repo(), outcome, event)
}

/// A receipt is never replaced, and what can't be written is better known before hours of reading.
fn refuse_taken(args: &VerifyTree) -> Result<(), Failure> {
    match &args.receipt {
        Some(file) if file.symlink_metadata().is_ok() => {
            Err(Failure::new(format!("{} exists already, and a receipt is never replaced", file.display()))
                .hint("name a new file"))
        }
        Some(file) if !absolute(file)?.parent().is_some_and(Path::is_dir) => {
            Err(Failure::new(format!("there is no directory for {}", file.display())).hint("make it first"))
        }
        _ => Ok(()),
    }
}

fn failure(past: &Past, args: &VerifyTree, of: &[u8], time: &Resolved, e: TreeError) -> Failure {
    match &e {
        TreeError::NotThere { .. } if args.path.is_none() => {
            Failure::from_error(&e).hint("name with --path the directory of that time that this one is to equal")
        }
        TreeError::NotThere { .. } => past.not_there(of, time).unwrap_or_else(|e| e),
        TreeError::NotADirectory { .. } => {
            Failure::from_error(&e).hint("`bygone diff` and cmp(1) over a mount compare files")
        }
        TreeError::Released { .. } => Failure::from_error(&e).hint("choose a snapshot that is kept for longer"),
        _ => Failure::from_error(&e),
    }
}

fn by(context: &Context) -> Value {
    let who = trail::who(context);
    json!({ "host": who.host, "user": who.user, "uid": who.uid, "program": who.program })
}

fn event(
    dir: &Path,
    of: &[u8],
    time: &Resolved,
    view: &View,
    ignored: &Ignored,
    report: Option<&Report>,
) -> impl FnOnce(Ended) -> Event + use<> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let (directory, path, at) = (bytes_value(dir.as_os_str().as_bytes()), bytes_value(of), time.text.clone());
    let snapshots: Vec<Value> = view.parts_at(of).into_iter().map(part_json).collect();
    let ignored = ignored.words();
    let counts = report.map(counts_json);
    let digest = report.and_then(|r| r.digest).map(|d| d.to_string());
    move |ended| {
        Event::new(Kind::VerifyTree, ended)
            .about("directory", directory)
            .about("path", path)
            .detail("as_of", at)
            .detail("snapshots", snapshots)
            .detail("ignored", ignored)
            .detail("result", counts)
            .detail("digest", digest)
    }
}

fn part_json(part: &Part) -> Value {
    json!({
        "host": part.source.host, "source": bytes_value(&part.source.root), "snapshot": snapshot_value(&part.snapshot),
    })
}

fn counts_json(report: &Report) -> Value {
    let c = &report.counts;
    json!({
        "equal": report.is_equal(), "differences": report.differences.len() - report.unread(), "unread": report.unread(),
        "files": c.files, "directories": c.dirs, "others": c.others, "links": c.links, "bytes": c.bytes, "sockets": c.sockets,
        "digest": report.digest.map(|d| d.to_string()), "interrupted": report.stopped,
    })
}

fn tell_time(context: &Context, past: &Past, view: &View, of: &[u8], time: &Resolved) -> Result<(), Failure> {
    let mut out = context.out();
    let parts = view.parts_at(of);
    if context.json {
        let snapshots: Vec<Value> = parts.into_iter().map(part_json).collect();
        out.json(&json!({ "at": time.text, "path": json_bytes(of), "snapshots": snapshots }))?;
    } else if !context.quiet {
        out.line(format_args!("compared with {} as of {}", path::show(of), time.text))?;
        for part in parts {
            let (root, when) = (path::show(&part.source.root), past.show(part.snapshot.time));
            out.line(format_args!("  {root}: snapshot of {when} ({})", past.zone.name()))?;
        }
    }
    out.finish()
}

fn tell(context: &Context, report: &Report) -> Result<(), Failure> {
    let mut out = context.out();
    for difference in &report.differences {
        match context.json {
            true => out.json(&difference_json(difference))?,
            false => out.line(difference_text(difference))?,
        }
    }
    let c = &report.counts;
    if context.json {
        out.json(&counts_json(report))?;
    } else if !context.quiet && !report.stopped {
        let links = if c.links > 0 { format!(", {} further name(s) of files", c.links) } else { String::new() };
        out.line(format_args!(
            "compared {} file(s) with {}, {} directories, {} other(s){links}",
            c.files,
            show_size(c.bytes),
            c.dirs,
            c.others
        ))?;
        match (report.digest, report.differences.len()) {
            (Some(digest), _) => out.line(format_args!("equal; the digest of the tree is {digest}"))?,
            (None, n) => {
                out.line(format_args!("{} path(s) differ, {} could not be read", n - report.unread(), report.unread()))?
            }
        }
    }
    out.finish()
}

fn difference_text(d: &Difference) -> String {
    let at = if d.path.is_empty() { ".".to_owned() } else { path::show(&d.path) };
    match &d.what {
        What::Missing => format!("missing  {at}"),
        What::Extra => format!("extra    {at}"),
        What::Unread { doing, source } => format!("unread   {at}: cannot {doing}: {source}"),
        What::Differs(fields) => {
            let told: Vec<String> =
                fields.iter().map(|f| format!("{}: was {}, is {}", f.aspect.word(), f.was, f.is)).collect();
            format!("differs  {at} [{}]", told.join("; "))
        }
    }
}

fn difference_json(d: &Difference) -> Value {
    let (what, why, fields) = match &d.what {
        What::Missing => ("missing", None, Vec::new()),
        What::Extra => ("extra", None, Vec::new()),
        What::Unread { doing, source } => ("unread", Some(format!("cannot {doing}: {source}")), Vec::new()),
        What::Differs(fields) => {
            let one =
                |f: &crate::verify::tree::report::Field| json!({ "in": f.aspect.word(), "was": f.was, "is": f.is });
            ("differs", None, fields.iter().map(one).collect())
        }
    };
    json!({ "path": json_bytes(&d.path), "what": what, "why": why, "differs": fields })
}

fn write_receipt(context: &Context, file: &Path, receipt: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(receipt).explain(|| "cannot write the receipt as JSON")?;
    durable::write_new(file, format!("{text}\n").as_bytes(), 0o644).into_failure()?;
    if !context.quiet && !context.json {
        let mut out = context.out();
        out.line(format_args!("the receipt is {}", file.display()))?;
        out.finish()?;
    }
    Ok(())
}

fn check_receipt(context: &Context, file: &Path) -> Result<Outcome, Failure> {
    let what = || format!("cannot read the receipt {}", file.display());
    let len = std::fs::metadata(file).explain(what)?.len();
    if len > receipt::MAX_BYTES {
        return Err(Failure::new(format!("{} is no receipt: it has {len} bytes", file.display())));
    }
    let text = std::fs::read(file).explain(what)?;
    let at = open::attached(context)?;
    let receipt = receipt::check(at.repo().keys(), &at.repo().id().to_string(), &text)
        .map_err(|e| Failure::new(format!("{} can't be trusted", file.display())).because(&e))?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    open::catch_up_to_read(&at, &*bar)?;
    let index = at.reader().into_failure()?;
    let sources = index.sources()?;
    let mut states = Vec::new();
    for named in receipt.get("snapshots").and_then(Value::as_array).into_iter().flatten() {
        let root = named.get("source").and_then(value_bytes).unwrap_or_default();
        let host = named.get("host").and_then(Value::as_str).unwrap_or_default();
        let number = named["snapshot"]["number"].as_u64().unwrap_or_default();
        let source = sources.iter().find(|s| s.host == host && s.root == root);
        let there = source.map(|s| index.snapshot(s.num, Snap(number))).transpose()?.flatten();
        let state = match there {
            None => "no longer there",
            Some(s) if Some(s.hash.to_string().as_str()) == named["snapshot"]["hash"].as_str() => "there",
            Some(_) => "another one",
        };
        states.push((path::show(&root), number, state));
    }
    tell_receipt(context, &receipt, &states)?;
    Ok(match states.iter().any(|(_, _, state)| *state == "another one") {
        true => Outcome::Partial,
        false => Outcome::Done,
    })
}

fn tell_receipt(
    context: &Context,
    receipt: &Map<String, Value>,
    states: &[(String, u64, &str)],
) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        let states: Vec<Value> = states
            .iter()
            .map(|(root, number, state)| json!({ "source": root, "number": number, "snapshot": state }))
            .collect();
        out.json(&json!({ "authentic": true, "receipt": receipt, "snapshots": states }))?;
        return out.finish();
    }
    let text = |name: &str| receipt.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let shown = |name: &str| receipt.get(name).and_then(value_bytes).map(|b| path::show(&b)).unwrap_or_default();
    let number = |name: &str| receipt.get(name).and_then(Value::as_u64).unwrap_or_default();
    let ended = receipt.get("ended_ns").and_then(Value::as_i64).map(Instant).unwrap_or(Instant(0));
    let by = &receipt["by"];
    out.line("authentic: made with a key of this repository, and not altered since")?;
    let zone = context.zone()?;
    out.line(format_args!(
        "{} by {} on {}",
        show::show(ended, &zone),
        path::tame(by["user"].as_str().unwrap_or("-")),
        path::tame(by["host"].as_str().unwrap_or("-"))
    ))?;
    out.line(format_args!("{} was compared with {} as of {}", shown("directory"), shown("path"), text("as_of")))?;
    for (root, number, state) in states {
        out.line(format_args!("  {root}: snapshot {number}, which is {state}"))?;
    }
    match receipt.get("equal").and_then(Value::as_bool) {
        Some(true) => out.line(format_args!("equal; the digest of the tree is {}", text("digest")))?,
        _ => out.line(format_args!(
            "{} path(s) differed, {} could not be read",
            number("differences"),
            number("unread")
        ))?,
    }
    out.finish()
}
