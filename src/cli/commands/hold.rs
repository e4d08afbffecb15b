//! `bygone hold place`, `list`, `show`, `lengthen` and `release`.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use super::{hold_export, snapshot};
use crate::cli::args::evidence::{Hold as Command, HoldLengthen, HoldList, HoldPlace, HoldRelease, HoldShow};
use crate::cli::context::Context;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{Past, clean, json_bytes, json_time};
use crate::cli::trail;
use crate::repo::{
    audit::event::{Event, Kind, Outcome as Ended, bytes_value},
    holds::{
        error::HoldsError,
        event::{Deed, HoldEvent},
        force::{self, Case},
        touched, write,
    },
};
use crate::sys::clock;
use crate::types::{
    hold::{Hold, Scope},
    path,
    time::Instant,
};
use crate::view::names;

/// Runs one of them.
pub fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Place(args) => place(context, args),
        Command::List(args) => list(context, args),
        Command::Show(args) => show(context, args),
        Command::Lengthen(args) => lengthen(context, args),
        Command::Release(args) => release(context, args),
        Command::Export(args) => hold_export::run(context, args),
    }
}

/// An instant in the audit trail; nothing where there is none.
fn time_value(at: Option<Instant>) -> Value {
    at.map_or(Value::Null, json_time)
}

fn list_value(all: &[Vec<u8>]) -> Value {
    all.iter().map(|bytes| bytes_value(bytes)).collect()
}

fn place(context: &Context, args: &HoldPlace) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let last = |text: &Option<String>| text.as_deref().map(|text| past.time(text).map(|t| t.instant)).transpose();
    // First: a source is one of these hosts.
    let hosts = args.hosts.iter().map(|host| known_host(context, &past, host)).collect::<Result<_, _>>()?;
    let scope = Scope {
        paths: args.paths.iter().map(|p| clean(p)).collect::<Result<_, _>>()?,
        sources: args.sources.iter().map(|p| source(context, &past, p, &args.hosts)).collect::<Result<_, _>>()?,
        hosts,
        from: args.from.as_deref().map(|text| past.time_from(text)).transpose()?,
        to: last(&args.to)?,
    };
    let until = last(&args.until)?;
    let (owner, reason) = (args.owner.clone(), args.reason.clone());
    let hold = Hold { id: args.case.clone(), owner, reason, scope, until };
    hold.check().map_err(Failure::usage)?;
    let now = clock::now();
    if !hold.is_in_force(now) {
        return Err(Failure::usage("the hold would be over already").hint("give --until a time to come"));
    }
    // Nothing is released on this host between the two.
    let settled = force::settled(past.at.dir()).into_failure()?;
    let audit = trail::open(context, past.at.repo());
    let placed = write::place(past.at.repo(), &hold, audit.who(), now).into_failure();
    // From now on this host misses it where it is not there.
    let known = force::in_force(past.at.repo(), past.at.dir()).into_failure().map(drop);
    let touched = touched::count(&past.index, &hold)?;
    let never = hold_export::never_captured(&past, &hold.scope.paths)?;
    drop(settled);
    let event = |ended| {
        let event = Event::new(Kind::HoldPlace, ended).case(&hold.id);
        let event = event.detail("owner", hold.owner.as_str()).detail("reason", hold.reason.as_str());
        let event =
            event.detail("paths", list_value(&hold.scope.paths)).detail("sources", list_value(&hold.scope.sources));
        let event = event.detail("hosts", hold.scope.hosts.clone()).detail("from", time_value(hold.scope.from));
        let event = event.detail("to", time_value(hold.scope.to)).detail("until", time_value(hold.until));
        event.detail("object", placed.as_ref().ok().map(|placed| placed.name(past.at.repo())))
    };
    let done = placed.as_ref().map(|_| Outcome::Done).map_err(|e| Failure::new(e.in_short()));
    let outcome = trail::ended(&audit, done, event)?;
    known?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "case": hold.id, "placed": true, "touches_snapshots": touched,
            "never_captured": never.iter().map(|path| json_bytes(path)).collect::<Vec<_>>() }))?,
        false if !context.quiet => {
            out.line(format_args!("placed the hold {}: it touches {touched} snapshot(s) now", hold.id))?;
        }
        false => {}
    }
    out.finish()?;
    if touched == 0 && never.is_empty() {
        tracing::warn!("no snapshot is in its scope yet: if that is a slip, release it and place another");
    }
    for path in &never {
        tracing::warn!(
            "nothing was ever captured at {}: the hold keeps what will be there; if that is a slip, release it and place another",
            path::show(path)
        );
    }
    Ok(outcome.and(past.outcome))
}

/// The root of a source that was named by it or, one of these settings, by its name: a slip would hold nothing.
fn source(context: &Context, past: &Past, wanted: &Path, hosts: &[String]) -> Result<Vec<u8>, Failure> {
    let configured = snapshot::meant(&context.config.sources, wanted);
    let root = clean(configured.map_or(wanted, |source| &source.path))?;
    let of_host = |host: &str| hosts.is_empty() || hosts.iter().any(|wanted| wanted == host);
    let known = past.index.sources()?;
    let known: Vec<_> = known.iter().filter(|s| of_host(&s.host)).collect();
    if known.iter().any(|s| s.root == root) || (configured.is_some() && of_host(&context.config.host)) {
        return Ok(root);
    }
    let roots: BTreeSet<String> = known.iter().map(|s| path::show(&s.root)).collect();
    let roots: Vec<String> = roots.into_iter().collect();
    let hint = match roots.as_slice() {
        [] => "the repository has none of that host: `bygone status` names those that there are".to_owned(),
        some => format!("there are {}; --path holds a part of one", some.join(", ")),
    };
    Err(Failure::new(format!("{} is no source in this repository", path::show(&root))).hint(hint))
}

fn known_host(context: &Context, past: &Past, wanted: &str) -> Result<String, Failure> {
    let known = names::hosts(&past.index).into_failure()?;
    if known.iter().any(|host| host == wanted) || context.config.host == wanted {
        return Ok(wanted.to_owned());
    }
    Err(Failure::new(format!("no host {wanted:?} has captured anything into this repository"))
        .hint(format!("there are {}", known.join(", "))))
}

fn list(context: &Context, args: &HoldList) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let now = clock::now();
    let mut out = context.out();
    for case in force::cases(past.at.repo(), past.at.dir()).into_failure()? {
        let in_force = case.is_in_force(now);
        if !in_force && !args.all {
            continue;
        }
        match context.json {
            true => out.json(&case_json(&case, now))?,
            false => {
                let last = case.placements.last();
                let owner = last.map_or(String::new(), |p| path::show(p.hold.owner.as_bytes()));
                let reason = last.map_or(String::new(), |p| path::show(p.hold.reason.as_bytes()));
                let state = match in_force {
                    true => until_words(&past, &case),
                    false => "over".to_owned(),
                };
                out.line(format_args!("{}  {state}  {owner}: {reason}", path::show(case.id.as_bytes())))?;
            }
        }
    }
    out.finish()?;
    Ok(past.outcome)
}

fn until_words(past: &Past, case: &Case) -> String {
    let open = case.placements.iter().filter(|p| !p.released);
    let until = open.map(|p| p.hold.until.unwrap_or(Instant(i64::MAX))).max();
    match until {
        Some(until) if until < Instant(i64::MAX) => format!("until {}", past.show(until)),
        _ => "until it is released".to_owned(),
    }
}

fn case_json(case: &Case, now: Instant) -> Value {
    let events: Vec<Value> = case.events.iter().map(event_json).collect();
    let open: Vec<Value> = case
        .placements
        .iter()
        .filter(|p| !p.released)
        .map(|p| json!({ "placed_by_event": p.event.id.to_string(), "until": time_value(p.hold.until) }))
        .collect();
    json!({ "case": case.id, "in_force": case.is_in_force(now), "placements_open": open, "events": events })
}

/// An event in JSON.
pub(super) fn event_json(event: &HoldEvent) -> Value {
    let deed = match &event.deed {
        Deed::Placed(hold) => json!({
            "did": "placed", "owner": hold.owner, "reason": hold.reason,
            "paths": hold.scope.paths.iter().map(|p| json_bytes(p)).collect::<Vec<_>>(),
            "sources": hold.scope.sources.iter().map(|p| json_bytes(p)).collect::<Vec<_>>(),
            "hosts": hold.scope.hosts, "from": time_value(hold.scope.from), "to": time_value(hold.scope.to),
            "until": time_value(hold.until),
        }),
        Deed::Lengthened { until, .. } => json!({ "did": "lengthened", "until": time_value(*until) }),
        Deed::Released { reason, .. } => json!({ "did": "released", "reason": reason }),
    };
    json!({ "id": event.id.to_string(), "time": json_time(event.time), "who": event.who, "deed": deed })
}

fn show(context: &Context, args: &HoldShow) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let all = force::cases(past.at.repo(), past.at.dir()).into_failure()?;
    let Some(case) = all.into_iter().find(|case| case.id == args.case) else {
        return Err(
            Failure::new(format!("there is no case {:?}", args.case)).hint("`bygone hold list --all` shows all")
        );
    };
    let now = clock::now();
    let mut out = context.out();
    match context.json {
        true => out.json(&case_json(&case, now))?,
        false => {
            let state = match case.is_in_force(now) {
                true => format!("in force {}", until_words(&past, &case)),
                false => "not in force".to_owned(),
            };
            out.line(format_args!("{}: {state}", path::show(case.id.as_bytes())))?;
            case.events.iter().try_for_each(|event| tell_event(&past, event, &mut out))?;
        }
    }
    out.finish()?;
    Ok(past.outcome)
}

fn tell_event(past: &Past, event: &HoldEvent, out: &mut Out) -> Result<(), Failure> {
    let text = |text: &str| path::show(text.as_bytes());
    let until = |at: Option<Instant>| at.map_or("until it is released".into(), |at| format!("until {}", past.show(at)));
    let did = match &event.deed {
        Deed::Placed(hold) => format!("placed {} for {}: {}", until(hold.until), text(&hold.owner), text(&hold.reason)),
        Deed::Lengthened { until: at, .. } => format!("lengthened {}", until(*at)),
        Deed::Released { reason, .. } => format!("released: {}", text(reason)),
    };
    out.line(format_args!("  {}  {did}  by {}", past.show(event.time), text(&event.who.words())))?;
    if let Deed::Placed(hold) = &event.deed {
        scope_words(past, &hold.scope).into_iter().try_for_each(|line| out.line(format_args!("      {line}")))?;
    }
    Ok(())
}

/// What a hold touches, in words.
pub(super) fn scope_words(past: &Past, scope: &Scope) -> Vec<String> {
    let list = |all: &[Vec<u8>]| all.iter().map(|p| path::show(p)).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if !scope.paths.is_empty() {
        lines.push(format!("paths: {}", list(&scope.paths)));
    }
    if !scope.sources.is_empty() {
        lines.push(format!("sources: {}", list(&scope.sources)));
    }
    if !scope.hosts.is_empty() {
        lines.push(format!("hosts: {}", path::show(scope.hosts.join(", ").as_bytes())));
    }
    lines.extend(scope.from.map(|at| format!("from {}", past.show(at))));
    lines.extend(scope.to.map(|at| format!("to {}", past.show(at))));
    if lines.is_empty() {
        lines.push("everything".to_owned());
    }
    lines
}

fn lengthen(context: &Context, args: &HoldLengthen) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let until = match args.until.as_str() {
        "released" => None,
        text => Some(past.time(text)?.instant),
    };
    let audit = trail::open(context, past.at.repo());
    let by = (audit.who(), clock::now());
    let done = write::lengthen(past.at.repo(), past.at.dir(), &args.case, until, by);
    let in_zone = |e| match e {
        HoldsError::Shorter { case, at: Some(at), .. } => {
            HoldsError::Shorter { case, at: Some(at), until: format!("until {}", past.show(at)) }
        }
        other => other,
    };
    let done = done.map(|_| Outcome::Done).map_err(in_zone).into_failure();
    let event = |ended| Event::new(Kind::HoldLengthen, ended).case(&args.case).detail("until", time_value(until));
    let outcome = trail::ended(&audit, done, event)?;
    tell(context, &args.case, "lengthened")?;
    Ok(outcome.and(past.outcome))
}

fn release(context: &Context, args: &HoldRelease) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    write::open_case(past.at.repo(), past.at.dir(), &args.case).into_failure()?;
    confirm(args)?;
    let audit = trail::open(context, past.at.repo());
    let event =
        |ended: Ended| Event::new(Kind::HoldRelease, ended).case(&args.case).detail("reason", args.reason.as_str());
    // What was held may go after this: who let it go is known before.
    audit.record_durably(event(Ended::Begun)).into_failure()?;
    let by = (audit.who(), clock::now());
    let done = write::release(past.at.repo(), past.at.dir(), &args.case, &args.reason, by).into_failure();
    let outcome = trail::ended(&audit, done.map(|_| Outcome::Done), event)?;
    tell(context, &args.case, "released")?;
    Ok(outcome.and(past.outcome))
}

/// Asks for the id of the case once more.
fn confirm(args: &HoldRelease) -> Result<(), Failure> {
    let hint = format!("nothing was released; to do it, --confirm {}", args.case);
    let given = match &args.confirm {
        Some(given) => given.clone(),
        None if io::stdin().is_terminal() => {
            let mut line = String::new();
            let mut to = io::stderr().lock();
            let asked =
                write!(to, "what the hold {} touches may be collected then; type its id to release it: ", args.case);
            asked.and_then(|()| to.flush()).explain(|| "cannot ask at the terminal")?;
            io::stdin().lock().read_line(&mut line).explain(|| "cannot read from the terminal")?;
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
        None => return Err(Failure::usage("a hold is not released unless its id is confirmed").hint(hint)),
    };
    match given == args.case {
        true => Ok(()),
        false => Err(Failure::usage(format!("{given:?} is not the id of the case")).hint(hint)),
    }
}

fn tell(context: &Context, case: &str, did: &str) -> Result<(), Failure> {
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "case": case, did: true }))?,
        false if !context.quiet => out.line(format_args!("{did} the hold {}", path::show(case.as_bytes())))?,
        false => {}
    }
    out.finish()
}
