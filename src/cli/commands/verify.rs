//! `bygone verify`.

use serde_json::{Value, json};

use crate::cli::args::upkeep::Verify;
use crate::cli::bar;
use crate::cli::commands::verify_against::{self, Ground};
use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::crypto::random;
use crate::repo::{
    audit::event::{Event, Kind},
    error::RepoError,
};
use crate::sys::process::Signals;
use crate::types::{path, snapshot::Tier};
use crate::verify::{
    chains::Chains,
    check::{self, Options},
    report::{AffectedFile, Problem, Report},
    told,
};

/// So many objects are named for what can't be shown.
const DAMAGED_MAX: usize = 3;

/// Runs it.
pub fn run(context: &Context, args: &Verify) -> Result<Outcome, Failure> {
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let site = args.against.as_ref().map(|name| open::sites(context, std::slice::from_ref(name))).transpose()?;
    let site = site.and_then(|found| found.into_iter().next());
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let at = match open::attached_with(context, Reads::Fresh) {
        Err(failure) if args.repair => verify_against::reopened(context, site, failure)?,
        at => at?,
    };
    // What can't be replayed is found and told by the check itself, in more detail.
    crate::repo::replay::catch_up(&at, &*bar).into_failure()?;
    let options = Options {
        read_data: args.read_data,
        subset_percent: args.subset,
        seed: u64::from_le_bytes(random::bytes().map_err(RepoError::from).into_failure()?),
    };
    let audit = trail::open(context, at.repo());
    let mut checked = check::verify(&at, &options, &*bar, &signals.flag()).into_failure();
    if let (Some(site), Ok(report)) = (site, &checked)
        && !report.stopped
    {
        let ground = Ground { context, at: &at, site, audit: &audit, progress: &*bar };
        if ground.compare(report, args.repair)? {
            // Of what was put back, what was wrong with it says nothing any more.
            crate::repo::replay::catch_up(&at, &*bar).into_failure()?;
            checked = check::verify(&at, &options, &*bar, &signals.flag()).into_failure();
        }
    }
    let event = |ended| match &checked {
        Ok(report) => told::event(&options, report, ended),
        Err(_) => Event::new(Kind::Verify, ended),
    };
    let outcome = match &checked {
        Ok(report) if report.stopped => Err(Failure::new("interrupted before everything was checked")),
        Ok(report) if report.problems.is_empty() => Ok(Outcome::Done),
        Ok(_) => Ok(Outcome::Partial),
        Err(failure) => Err(Failure::new(failure.in_short())),
    };
    let outcome = trail::ended_and_stored(&audit, at.repo(), outcome, event);
    if let Ok(report) = &checked {
        told::note(at.dir(), report).into_failure()?;
    }
    tell(context, &checked?)?;
    outcome
}

fn tell(context: &Context, report: &Report) -> Result<(), Failure> {
    let mut out = context.out();
    for problem in &report.problems {
        match context.json {
            true => out.json(&as_json(problem))?,
            false => out.line(as_text(problem))?,
        }
    }
    if context.json {
        let mut summary = summary_json(report);
        summary["to_do"] = json!(to_do(context, report));
        out.json(&summary)?;
    } else if !context.quiet {
        summary(report).into_iter().try_for_each(|line| out.line(line))?;
        to_do(context, report).into_iter().try_for_each(|what| out.line(format_args!("to do: {what}")))?;
    }
    out.finish()
}

fn as_text(p: &Problem) -> String {
    let mut text = p.to_string();
    if p.known {
        text.push_str("\n  a repair has found it before, and told what is lost by it");
    }
    if !p.lost.is_empty() {
        text.push_str(&format!("\n  lost: {}", p.lost));
    }
    if p.files.count > 0 {
        text.push_str(&format!("\n  lost: the content of {} version(s) of files:", p.files.count));
        p.files.some.iter().for_each(|f| text.push_str(&format!("\n    {}", file_text(f))));
        if p.files.count > p.files.some.len() as u64 {
            text.push_str("\n    ...");
        }
    }
    if !p.to_do.is_empty() {
        text.push_str(&format!("\n  to do: {}", p.to_do));
    }
    text
}

fn file_text(f: &AffectedFile) -> String {
    let until = match f.to {
        Some(to) => format!("to {}", to - 1),
        None => "on".to_owned(),
    };
    format!("{} on {}, from snapshot {} {until}", path::show(&f.path), f.host, f.from)
}

fn as_json(p: &Problem) -> Value {
    let files: Vec<Value> = p
        .files
        .some
        .iter()
        .map(|f| json!({ "host": f.host, "path": path::show(&f.path), "from": f.from, "to": f.to }))
        .collect();
    json!({
        "object": p.object, "part": p.part, "why": p.why, "lost": p.lost, "files_affected": p.files.count, "files": files,
        "to_do": p.to_do, "known": p.known,
    })
}

fn summary(r: &Report) -> Vec<String> {
    let mut lines = vec![format!(
        "checked {} key slot(s), {} pack(s) with {} frame(s), {} journal segment(s) with {} snapshot(s), {} version(s) of files",
        r.slots, r.packs, r.frames, r.segments, r.snapshots, r.files
    )];
    match r.seed {
        Some(seed) => lines.push(format!(
            "read {} frame(s), {}, chosen at random by the seed {seed}",
            r.read_frames,
            show_size(r.read_bytes)
        )),
        None if r.read_frames > 0 => {
            lines.push(format!("read all {} frame(s), {}", r.read_frames, show_size(r.read_bytes)));
        }
        None => {}
    }
    if r.not_held > 0 {
        lines.push(format!(
            "{} pack(s) are not held: this is a copy of what snapshots of some tiers need, and nothing else was looked for",
            r.not_held
        ));
    }
    r.chains.iter().for_each(|chains| lines.extend(chains_text(chains, &r.problems)));
    if !r.unreferenced.is_empty() {
        lines.push(format!(
            "{} pack(s) are named by no record: left by interrupted captures, or being written now",
            r.unreferenced.len()
        ));
    }
    if !r.set_aside.is_empty() {
        lines.push(format!(
            "{} pack(s) are damaged or gone, and nothing needs them since a repair: `bygone maintain` clears them away",
            r.set_aside.len()
        ));
    }
    lines.extend(r.strangers.iter().map(|name| format!("{name} is no object of this format, and was left alone")));
    lines.push(match r.problems.len() {
        0 => "no problem was found".to_owned(),
        n => match r.problems.iter().filter(|p| p.known).count() {
            0 => format!("{n} problem(s) were found"),
            known => format!("{n} problem(s) were found, {known} of them known from a repair, and {} new", n - known),
        },
    });
    lines
}

/// What the history of a source rests on.
fn chains_text(c: &Chains, problems: &[Problem]) -> Vec<String> {
    let of = match &c.of {
        Some((host, root)) => format!("{} on {host}", path::show(root)),
        None => format!("the source {}", c.id),
    };
    let tiers = [Tier::Full, Tier::Differential, Tier::Incremental];
    let had: Vec<Tier> = tiers.into_iter().filter(|tier| c.counts[*tier as usize] > 0).collect();
    let counts: Vec<String> = had.iter().map(|t| format!("{} {}", c.counts[*t as usize], t.word())).collect();
    let costs: Vec<String> = had.iter().map(|t| format!("{} of a {}", c.worst(*t), t.word())).collect();
    let mut lines = Vec::new();
    if c.merged > 0 {
        lines.push(format!("{of}: {} snapshot(s) in a merged history, which needs nothing else", c.merged));
    }
    if !had.is_empty() {
        lines.push(format!(
            "{of}: {} record(s); the loss of one would cost, in instants at most, {}",
            counts.join(", "),
            costs.join(", ").replace("of a incremental", "of an incremental")
        ));
    }
    let why = why_lost(c, problems);
    lines.extend(c.lost.iter().map(|(first, last)| match first == last {
        true => format!("{of}: snapshot {first} can't be shown from the repository alone: {why}"),
        false => format!("{of}: snapshots {first} to {last} can't be shown from the repository alone: {why}"),
    }));
    lines
}

/// Why snapshots of a source can't be shown: which records are damaged or gone.
fn why_lost(c: &Chains, problems: &[Problem]) -> String {
    let journal = format!("journal/{}", c.id);
    let mut damaged: Vec<&str> =
        problems.iter().map(|p| p.object.as_str()).filter(|name| name.starts_with(&journal)).collect();
    damaged.dedup();
    let more = damaged.len().saturating_sub(DAMAGED_MAX);
    damaged.truncate(DAMAGED_MAX);
    match (damaged.is_empty(), more) {
        (true, _) => "its record, or one that it rests on, is not there".to_owned(),
        (false, 0) => format!("its record, or one that it rests on, is damaged or gone: {}", damaged.join(", ")),
        (false, _) => {
            format!("its record, or one that it rests on, is damaged or gone: {} and {more} more", damaged.join(", "))
        }
    }
}

/// What is done about damage that no repair has stated: from where good copies come. Nothing where there is none.
fn to_do(context: &Context, report: &Report) -> Option<String> {
    if report.problems.iter().all(|problem| problem.known) {
        return None;
    }
    Some(match context.config.sites.first() {
        Some(site) => format!(
            "`bygone verify --against {} --repair` fetches what is damaged from the copy there, as far as it has it; `bygone repair` keeps \
             the rest and names what is lost",
            site.name
        ),
        None => "there is no copy at a [[site]]: `bygone repair` keeps what is whole, stores anew what the disk still has, and names what \
                 is lost; first see with --dry-run"
            .to_owned(),
    })
}

fn chains_json(c: &Chains) -> Value {
    let costs: Vec<Value> = c
        .costs
        .iter()
        .map(|cost| json!({ "snapshot": cost.number.0, "tier": cost.tier.word(), "instants": cost.instants }))
        .collect();
    let lost: Vec<Value> = c.lost.iter().map(|(a, b)| json!({ "first": a.0, "last": b.0 })).collect();
    let [incremental, differential, full] = c.counts;
    json!({
        "id": c.id.to_string(), "host": c.of.as_ref().map(|(host, _)| host), "root": c.of.as_ref().map(|(_, r)| path::show(r)),
        "merged": c.merged, "full": full, "differential": differential, "incremental": incremental, "loss_would_cost": costs,
        "loss_of_an_incremental_would_cost_at_most": c.worst_incremental, "lost": lost,
    })
}

fn summary_json(r: &Report) -> Value {
    let unreferenced: Vec<String> = r.unreferenced.iter().map(ToString::to_string).collect();
    let set_aside: Vec<String> = r.set_aside.iter().map(ToString::to_string).collect();
    json!({
        "slots": r.slots, "packs": r.packs, "not_held": r.not_held, "frames": r.frames, "segments": r.segments, "snapshots": r.snapshots,
        "files": r.files, "read_frames": r.read_frames, "read_bytes": r.read_bytes, "seed": r.seed,
        "chains": r.chains.iter().map(chains_json).collect::<Vec<_>>(), "unreferenced": unreferenced, "strangers": r.strangers, "problems": r.problems.len(), "known_problems": r.problems.iter().filter(|p| p.known).count(), "set_aside": set_aside, "interrupted": r.stopped,
    })
}
