//! `bygone report compliance`.

use crate::cli::args::evidence::{Compliance, Report};
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::Past;
use crate::cli::trail;
use crate::repo::audit::event::{Event, Kind, Outcome as Ended, bytes_value};
use crate::report::{
    gather::{Ask, ReportError, gather},
    page::page,
};
use crate::sys::{clock, durable};

/// Runs it.
pub fn run(context: &Context, command: &Report) -> Result<Outcome, Failure> {
    match command {
        Report::Compliance(args) => compliance(context, args),
    }
}

fn compliance(context: &Context, args: &Compliance) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let now = clock::now();
    let from = past.time_from(&args.from)?;
    let to = args.to.as_deref().map(|text| past.time(text)).transpose()?.map_or(now, |time| time.instant);
    let audit = trail::open(context, past.at.repo());
    let config = &context.config;
    let ask = Ask { at: &past.at, config, who: audit.who(), from, to, now, zone: &past.zone };
    let report = gather(&ask).map_err(|e| match e {
        ReportError::NoTime { .. } => Failure::usage(e),
        e => Failure::from_error(&e),
    })?;
    let text = match context.json {
        true => serde_json::to_string(&report).explain(|| "cannot write the report as JSON")? + "\n",
        false => page(&report, &past.zone),
    };
    let mut recorded = Outcome::Done;
    if let Some(file) = &args.out {
        let file = absolute(file)?;
        durable::replace(&file, text.as_bytes(), 0o644).explain(|| "cannot write the report")?;
        let event =
            Event::new(Kind::Report, Ended::Done).about("file", bytes_value(file.as_os_str().as_encoded_bytes()));
        let shown = |at| crate::cli::past::json_time(at);
        recorded =
            trail::told(audit.record(event.detail("from", shown(report.from.0)).detail("to", shown(report.to.0))));
    }
    let mut out = context.out();
    match &args.out {
        None => out.bytes(text.as_bytes())?,
        Some(file) if !context.quiet && !context.json => {
            out.line(format_args!("wrote the report to {}", file.display()))?
        }
        Some(_) => {}
    }
    out.finish()?;
    Ok(past.outcome.and(recorded))
}
