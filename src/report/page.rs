//! The report as one page of HTML that needs nothing else.

use crate::report::{
    findings::{share, words},
    html::Html,
    model::{Compliance, Protected, Row, SOME, Stretch, Weight, When},
};
use crate::types::when::{show, zone::Zone};

/// The page. Times are shown in the zone.
pub fn page(report: &Compliance, zone: &Zone) -> String {
    let mut page = Page { html: Html::default(), zone };
    page.html
        .raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        )
        .raw("<title>Backup compliance report</title>\n<style>\n")
        .raw(include_str!("page.css"))
        .raw("</style>\n</head>\n<body>\n<main>\n");
    page.summary(report);
    page.sources(report);
    page.verified(report);
    page.kept(report);
    page.events(report);
    page.trail(report);
    page.about(report);
    page.html.raw("</main>\n</body>\n</html>\n");
    page.html.finish()
}

struct Page<'a> {
    html: Html,
    zone: &'a Zone,
}

fn class(weight: Weight) -> &'static str {
    match weight {
        Weight::Note => "note",
        Weight::Attention => "attention",
        Weight::Problem => "problem",
    }
}

impl Page<'_> {
    fn time(&self, at: When) -> String {
        show::show_second(at.0, self.zone)
    }

    fn summary(&mut self, r: &Compliance) {
        let span = format!("{} to {} ({})", self.time(r.from), self.time(r.to), r.zone);
        let problems = r.findings.iter().filter(|f| f.weight == Weight::Problem).count();
        let attention = r.findings.iter().filter(|f| f.weight == Weight::Attention).count();
        let verdict = match r.verdict() {
            Weight::Note => "Backups were as they should be.".to_owned(),
            Weight::Attention => format!("Backups were made; {attention} point(s) need attention."),
            Weight::Problem => format!("Backups were not as they should be: {problems} problem(s)."),
        };
        self.html.line("<h1>", "Backup compliance report", "</h1>").line("<p class=\"soft\">", &span, "</p>");
        self.html.raw("<div class=\"verdict ").text(class(r.verdict())).raw("\">").text(&verdict).raw("</div>\n");
        if !r.findings.is_empty() {
            self.html.raw("<ul class=\"findings\">\n");
            for finding in &r.findings {
                let mark = class(finding.weight);
                self.html.raw("<li><span class=\"mark ").text(mark).raw("\">").text(mark).raw("</span>");
                self.html.line("<span>", &finding.text, "</span></li>");
            }
            self.html.raw("</ul>\n");
        }
    }

    fn sources(&mut self, r: &Compliance) {
        self.html.raw("<h2>What was protected</h2>\n").raw(
            "<p class=\"soft\">A source is a directory that is backed up, with everything below it. A recovery point is an instant to which \
             it can be brought back. The objective says how old the newest recovery point may be at any time: it bounds how \
             much work can be lost. While a source is watched all the time, each moment counts as a recovery point.</p>\n",
        );
        for source in &r.sources {
            self.source(source, r);
        }
    }

    fn source(&mut self, s: &Protected, r: &Compliance) {
        self.html.raw("<div class=\"source\">\n<h3>").text(&s.source).raw(" <span class=\"soft\">on ").text(&s.host);
        self.html.raw("</span></h3>\n<dl>\n");
        let since = s.since.map_or("not yet: there is no recovery point".to_owned(), |at| self.time(at));
        self.fact("Protected since", &since);
        let last = s.last.map_or(String::new(), |at| format!("; the last one at {}", self.time(at)));
        self.fact("Recovery points", &format!("{}{last}", s.recovery_points));
        self.fact("Changes in them", &format!("{} file(s) and directories", s.changes));
        if !s.incomplete.is_empty() {
            self.fact("Missing at the last one", &s.incomplete.join("; "));
        }
        if s.since.is_some() {
            let from = s.longest_from.map_or(String::new(), |at| format!(", from {}", self.time(at)));
            self.fact("Longest time without one", &format!("{}{from}", words(s.longest_ns)));
        }
        match (s.objective_ns, s.met_percent) {
            (Some(objective), Some(percent)) => {
                let held = format!("{}; it held for {} of the time", words(objective), share(percent));
                self.fact("Objective", &held);
            }
            (Some(objective), None) => self.fact("Objective", &words(objective)),
            (None, _) => self.fact("Objective", "none is set"),
        }
        if !s.retention.is_empty() {
            self.fact("Kept", &s.retention.join("; "));
        }
        self.html.raw("</dl>\n");
        if s.met_percent.is_some() {
            self.bar(s, r);
        }
        self.stretches("Times in which the objective did not hold", &s.missed, s.missed_count);
        self.stretches("Times in which capture was blind", &s.gaps, s.gap_count);
        self.stretches("Recovery points that were lost", &s.lost, s.lost.len() as u64);
        self.html.raw("</div>\n");
    }

    fn fact(&mut self, name: &'static str, value: &str) {
        self.html.raw("<dt>").raw(name).raw("</dt>").line("<dd>", value, "</dd>");
    }

    /// The span as a bar: where the objective held, where not, and where there was no source yet.
    fn bar(&mut self, s: &Protected, r: &Compliance) {
        let (from, to) = (r.from.0.0, r.to.0.0);
        let at = |when: When| {
            let share = (when.0.0.clamp(from, to) as f64 - from as f64) / (to as f64 - from as f64).max(1.0);
            share * 1000.0
        };
        let begin = s.since.map_or(1000.0, at);
        let mut parts = vec![(0.0, begin, "#d9dee5"), (begin, 1000.0 - begin, "#4caf7d")];
        // A short time is seen all the same.
        parts.extend(s.missed.iter().map(|m| (at(m.from), (at(m.to) - at(m.from)).max(1.5), "#c9372c")));
        let label = "<svg class=\"bar\" viewBox=\"0 0 1000 16\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"green where the objective held, red where it did not, grey before the first recovery point\">";
        self.html.raw(label);
        for (x, width, fill) in parts {
            self.html.raw("<rect y=\"0\" height=\"16\" x=\"").number(x).raw("\" width=\"").number(width);
            self.html.raw("\" fill=\"").raw(fill).raw("\"/>");
        }
        let (first, last) = (self.time(r.from), self.time(r.to));
        self.html
            .raw("</svg>\n<div class=\"ends\"><span>")
            .text(&first)
            .raw("</span><span>green: the objective held; red: it did not; grey: before the first recovery point");
        self.html.raw("</span><span>").text(&last).raw("</span></div>\n");
    }

    fn stretches(&mut self, title: &'static str, all: &[Stretch], count: u64) {
        if all.is_empty() {
            return;
        }
        self.html.raw("<p><strong>").raw(title).raw("</strong>");
        if count > all.len() as u64 {
            self.html.text(&format!(" ({count}, of which {} are listed)", all.len()));
        }
        self.html.raw("</p>\n<table><tr><th class=\"time\">From</th><th class=\"time\">To</th><th>Why</th></tr>\n");
        for s in all {
            let (from, to) = show::show_span(s.from.0, s.to.0, self.zone);
            let edge = |at: When, shown: String| match at.0.0 {
                i64::MIN => "the beginning".to_owned(),
                i64::MAX => "now".to_owned(),
                _ => shown,
            };
            let (from, to) = (edge(s.from, from), edge(s.to, to));
            self.html
                .raw("<tr><td class=\"time\">")
                .text(&from)
                .raw("</td><td class=\"time\">")
                .text(&to)
                .raw("</td><td>");
            self.html.text(&s.why).raw("</td></tr>\n");
        }
        self.html.raw("</table>\n");
    }

    fn verified(&mut self, r: &Compliance) {
        self.html.raw("<h2>What was verified</h2>\n").raw(
            "<p class=\"soft\">A verification reads the repository and compares it with itself. One of the structure shows that nothing is \
             missing or altered; one of the data also reads every byte that is stored.</p>\n",
        );
        self.rows(&r.verifications, "No verification was made in this time.");
    }

    fn kept(&mut self, r: &Compliance) {
        self.html.raw("<h2>Legal holds in force</h2>\n").raw(
            "<p class=\"soft\">What a legal hold touches is kept, whatever the rules of retention say, until it is released.</p>\n",
        );
        if r.holds.is_empty() {
            self.html.raw("<p class=\"none\">None is in force.</p>\n");
        } else {
            self.html.raw("<table><tr><th>Case</th><th>Owner and reason</th><th>What it touches</th><th class=\"time\">Placed</th><th class=\"time\">Until</th></tr>\n");
            for hold in &r.holds {
                let until = hold.until.map_or("it is released".to_owned(), |at| self.time(at));
                let placed = self.time(hold.placed);
                self.html
                    .raw("<tr><td>")
                    .text(&hold.case)
                    .raw("</td><td>")
                    .text(&hold.owner)
                    .raw(": ")
                    .text(&hold.reason);
                self.html
                    .raw("</td><td>")
                    .text(&format!("{} ({} recovery point(s))", hold.scope, hold.touches))
                    .raw("</td><td class=\"time\">")
                    .text(&placed);
                self.html.raw("</td><td class=\"time\">").text(&until).raw("</td></tr>\n");
            }
            self.html.raw("</table>\n");
        }
        self.html.raw("<h3>What was done about holds in this time</h3>\n");
        self.rows(&r.hold_events, "Nothing.");
    }

    fn events(&mut self, r: &Compliance) {
        self.html.raw("<h2>What was deleted, and on what authority</h2>\n");
        self.rows(&r.deletions, "Nothing was deleted.");
        self.html.raw("<h2>What was restored, handed over or mounted</h2>\n");
        self.rows(&r.restores, "Nothing.");
        self.html.raw("<h2>Changes of keys and rules</h2>\n").raw(
            "<p class=\"soft\">Whoever has a key can read all backups. Rules of retention are recorded when they differ from those before.</p>\n",
        );
        self.rows(&r.changes, "None.");
        self.html.raw("<h2>What failed</h2>\n");
        self.rows(&r.failures, "Nothing failed.");
        self.html.raw("<h2>What was asked for and not done</h2>\n");
        self.rows(&r.refused, "Nothing.");
    }

    fn rows(&mut self, rows: &[Row], none: &'static str) {
        if rows.is_empty() {
            self.html.raw("<p class=\"none\">").raw(none).raw("</p>\n");
            return;
        }
        let listed = &rows[rows.len().saturating_sub(10 * SOME)..];
        if listed.len() < rows.len() {
            let told = format!("The last {} of {}; the JSON form of this report has all.", listed.len(), rows.len());
            self.html.line("<p class=\"soft\">", &told, "</p>");
        }
        self.html.raw("<table><tr><th class=\"time\">When</th><th>What</th><th class=\"end\">Outcome</th><th class=\"who\">By whom</th></tr>\n");
        for row in listed {
            let time = self.time(row.time);
            let end = if matches!(row.outcome.as_str(), "failed" | "partial") { "<td class=\"bad\">" } else { "<td>" };
            self.html.raw("<tr><td class=\"time\">").text(&time).raw("</td><td>").text(&row.what).raw("</td>").raw(end);
            self.html.text(&row.outcome).raw("</td><td>").text(&row.who).raw("</td></tr>\n");
        }
        self.html.raw("</table>\n");
    }

    fn trail(&mut self, r: &Compliance) {
        self.html.raw("<h2>Whether this record is whole</h2>\n").raw(
            "<p class=\"soft\">What is told above comes from the audit trail: entries that are sealed and name one another by their hashes, so \
             that an entry which is altered or removed is missed by the others.</p>\n",
        );
        match r.trail.problems.is_empty() {
            true => {
                let told = format!(
                    "All {} entries of {} runs of programs were read and compared: none is altered or missing.",
                    r.trail.entries, r.trail.runs
                );
                self.html.line("<p>", &told, "</p>");
            }
            false => {
                self.html.raw("<p><strong>It is not.</strong> These are altered or missing:</p>\n<ul>\n");
                for problem in &r.trail.problems {
                    self.html.line("<li>", problem, "</li>");
                }
                self.html.raw("</ul>\n");
            }
        }
        if let Some(newest) = &r.trail.newest {
            self.html.line("<p class=\"soft\">The hash of the newest entry is ", newest, ".</p>");
        }
    }

    fn about(&mut self, r: &Compliance) {
        let made = self.time(r.made);
        let told = format!(
            "Made {made} by {} with {}, from the repository {} at {}. Times are those of {}.",
            r.made_by, r.program, r.repository, r.location, r.zone
        );
        self.html.line("<footer>", &told, "</footer>");
    }
}
