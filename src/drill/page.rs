//! The report of a drill as one page of HTML that needs nothing else.

use super::record::{Measured, Record, Verdict};
use crate::report::html::Html;
use crate::types::{
    time::Instant,
    when::{show, zone::Zone},
};

/// The page. Times are shown in the zone.
pub fn page(record: &Record, zone: &Zone) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        )
        .raw("<title>Recovery drill</title>\n<style>\n")
        .raw(include_str!("../report/page.css"))
        .raw("</style>\n</head>\n<body>\n<main>\n")
        .line("<h1>", &format!("Recovery drill: {}", record.plan), "</h1>");
    let verdict = match record.verdict {
        Verdict::Passed => "Passed: everything came back, and was proved.".to_owned(),
        Verdict::PassedInPart => format!(
            "Passed: everything came back, and was proved. {} step(s) failed, which the plan lets them.",
            record.failed_steps().count()
        ),
        Verdict::Failed => format!("Failed, for {} reason(s).", record.failures.len()),
    };
    html.line("<p class=\"soft\">", &show::show_second(Instant(record.begun_ns), zone), "</p>");
    html.line("<p><strong>", &verdict, "</strong></p>").raw("<ul>\n");
    for failure in &record.failures {
        html.line("<li>", failure, "</li>");
    }
    html.raw("</ul>\n<table>\n");
    let proved = &record.proved;
    for (name, value) in [
        ("Drill", record.drill.clone()),
        ("Host", record.host.clone()),
        ("Repository", record.repository.clone()),
        ("Instant", format!("{} ({})", record.at, record.chosen)),
        ("Recovery time", measured(record.recovery_time)),
        ("Rehearsed in", seconds(record.rehearsed_ms)),
        ("Recovery point", measured(record.recovery_point)),
        ("Came back", format!("{} files, {} bytes", proved.files, proved.bytes)),
        (
            "Read and compared",
            format!(
                "{} files, {} bytes: part {} of {}",
                proved.read_files, proved.read_bytes, record.part, record.parts
            ),
        ),
        ("Databases read whole", proved.databases.to_string()),
        ("Taken on the disk", format!("{} bytes", record.scratch_bytes)),
        ("Authentication", record.authentication.clone()),
    ] {
        html.line("<tr><th>", name, "</th>").line("<td>", &value, "</td></tr>");
    }
    html.raw("</table>\n");
    if !record.invariants.is_empty() {
        html.raw("<h2>Invariants</h2>\n<table>\n").raw(
            "<tr><th>Source</th><th>Invariant</th><th>Snapshot</th><th>Expected</th><th>Found</th><th></th></tr>\n",
        );
        for of in &record.invariants {
            let shown = |value: &Option<String>| value.clone().unwrap_or_default();
            let verdict = match &of.why {
                Some(why) => format!("{}: {why}", of.verdict.words()),
                None => format!("{} ({})", of.verdict.words(), of.compare),
            };
            html.line("<tr><td>", &of.source, "</td>")
                .line("<td>", &of.name, "</td>")
                .line("<td>", &of.snapshot.map(|n| n.to_string()).unwrap_or_default(), "</td>")
                .line("<td>", &shown(&of.expected), "</td>")
                .line("<td>", &shown(&of.found), "</td>")
                .line("<td>", &verdict, "</td></tr>");
        }
        html.raw("</table>\n");
    }
    html.raw("<h2>Steps</h2>\n<table>\n<tr><th>Step</th><th>Ended</th><th>Took</th><th></th></tr>\n");
    for step in &record.steps {
        let more = step.why.clone().or_else(|| step.told.clone()).unwrap_or_default();
        html.line("<tr><td>", &step.step, "</td>")
            .line("<td>", &step.ended, "</td>")
            .line("<td>", &seconds(step.took_ms), "</td>")
            .line("<td>", &more, "</td></tr>");
    }
    html.raw("</table>\n</main>\n</body>\n</html>\n");
    html.finish()
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

fn measured(of: Measured) -> String {
    let is = of.ms.map_or("not measured".to_owned(), seconds);
    match of.objective_ms {
        None => format!("{is}; no objective"),
        Some(wanted) => format!("{is}; objective {}, {}", seconds(wanted), if of.is_met() { "met" } else { "not met" }),
    }
}
