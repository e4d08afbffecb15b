//! `bygone status` for people.

use super::status::{Beat, History, SourceStatus, Status, Watch};
use crate::cli::out::Out;
use crate::cli::outcome::Failure;
use crate::cli::sizes::show_size;
use crate::observe::facts::DrillFacts;
use crate::types::{
    path,
    snapshot::WRITER_MARK,
    time::Instant,
    when::{
        show::{ago, show, show_span},
        zone::Zone,
    },
};

/// Prints how things stand.
pub(super) fn print(out: &mut Out, status: &Status, now: Instant, zone: &Zone) -> Result<(), Failure> {
    repository(out, status, now)?;
    for source in &status.sources {
        out.line("")?;
        self::source(out, source, now, zone)?;
    }
    for (n, drill) in status.drills.iter().enumerate() {
        if n == 0 {
            out.line("")?;
        }
        self::drill(out, drill, now)?;
    }
    if status.sources.is_empty() {
        out.line("\nnothing is protected yet: `bygone source add DIRECTORY`")?;
    }
    Ok(())
}

fn drill(out: &mut Out, drill: &DrillFacts, now: Instant) -> Result<(), Failure> {
    let passed = drill.passed_ns.map_or("never passed".to_owned(), |ns| format!("passed {}", ago(Instant(ns), now)));
    let failed = drill.failed.as_ref().map_or(String::new(), |(ns, _)| format!("; failed {}", ago(Instant(*ns), now)));
    let due = drill.due_ns.filter(|due| *due < now.0);
    let overdue = due.map_or(String::new(), |due| format!("; overdue since {}", ago(Instant(due), now)));
    out.line(format_args!("drill  {}: {passed}{failed}{overdue}", path::show(drill.plan.as_bytes())))
}

fn repository(out: &mut Out, status: &Status, now: Instant) -> Result<(), Failure> {
    let s = &status.stored;
    let times = |ratio: Option<f64>| ratio.map_or_else(String::new, |r| format!("  ({r:.2} : 1)"));
    out.line(format_args!("repository  {}  (id {})", status.repository, status.id))?;
    if let Some(away) = &status.away {
        out.line(format_args!(
            "  away        since {} ({}): {}",
            away.since,
            ago(Instant(away.since_ns), now),
            away.why
        ))?;
        out.line("              what follows is what this host knows")?;
    }
    out.line(format_args!("  stored      {} in {}", show_size(s.pack_bytes), count(s.packs, "pack")))?;
    if let Some(w) = &status.waiting {
        let lag = w.lag_seconds.map_or_else(String::new, |s| format!(", the oldest for {s} s"));
        let (objects, bytes) = (count(w.objects, "object"), show_size(w.bytes));
        out.line(format_args!("  waiting     {objects} captured and not stored yet, {bytes}{lag}"))?;
        if let (Some(why), Some(at)) = (&w.last_error, w.last_error_ns) {
            out.line(format_args!("              the last failure, {}: {why}", ago(Instant(at), now)))?;
        }
    }
    if let (Some(bytes), Some(segments)) = (s.journal_bytes, s.journal_segments) {
        out.line(format_args!("  journal     {} in {}", show_size(bytes), count(segments, "segment")))?;
    }
    out.line(format_args!("  versions    {} as plain copies", show_size(s.version_bytes)))?;
    out.line(format_args!("  each once   {}{}", show_size(s.chunk_bytes), times(s.dedup_ratio)))?;
    out.line(format_args!("  compressed  {}{}", show_size(s.sealed_bytes), times(s.compression_ratio)))?;
    out.line(format_args!("  index       {}  {}", show_size(status.index.bytes), status.index.path.display()))?;
    if let Some(behind) = s.journal_segments_not_in_index.filter(|n| *n > 0) {
        let behind = count(behind, "segment");
        out.line(format_args!("              {behind} of the journal not taken in yet, or not readable"))?;
    }
    out.line(format_args!("  keys        {}", count(status.keys, "slot")))?;
    if status.damaged_keys > 0 {
        let bad = count(status.damaged_keys, "slot");
        out.line(format_args!("              {bad} damaged: `bygone key list` says why"))?;
    }
    Ok(())
}

fn source(out: &mut Out, source: &SourceStatus, now: Instant, zone: &Zone) -> Result<(), Failure> {
    let known = match (source.configured, &source.watch) {
        (true, _) => "",
        (false, _) if source.of_another_writer || source.host.contains(WRITER_MARK) => {
            "  (of another writer under this name)"
        }
        (false, Watch::Elsewhere) => "  (of another host)",
        (false, _) => "  (not protected any more)",
    };
    out.line(format_args!("source  {}:{}{known}", path::show(source.host.as_bytes()), source.path))?;
    match &source.history {
        Some(history) => self::history(out, history, now, zone)?,
        None if source.lost.is_empty() => out.line("  snapshots   none yet")?,
        None => out.line("  snapshots   none that can be shown")?,
    }
    for lost in &source.lost {
        out.line(format_args!("  lost        snapshots {} to {}: {}", lost.first, lost.last, lost.why))?;
    }
    for gone in &source.absent {
        let (first, last, why) = (gone.first, gone.last, &gone.why);
        out.line(format_args!("  incomplete  the repository has lost records of snapshots {first} to {last}: {why}"))?;
        out.line("              this host's index still has them: `bygone maintain` writes them again")?;
    }
    watch(out, source, now)?;
    if let Some(history) = &source.history {
        gaps(out, history, zone)?;
    }
    Ok(())
}

fn history(out: &mut Out, h: &History, now: Instant, zone: &Zone) -> Result<(), Failure> {
    let last = Instant(h.last_ns);
    out.line(format_args!(
        "  snapshots   {}, the last {} ({})",
        thousands(h.snapshots),
        show(last, zone),
        ago(last, now)
    ))?;
    out.line(format_args!("  now         {}, {}", count(h.files, "file"), show_size(h.bytes)))?;
    let all = show_size(h.version_bytes);
    out.line(format_args!("  versions    {}, {all} as plain copies", thousands(h.versions)))?;
    if h.unreadable > 0 {
        out.line(format_args!("  unreadable  {} in the last snapshot", thousands(h.unreadable)))?;
    }
    if h.fuzzy > 0 {
        let n = thousands(h.fuzzy);
        out.line(format_args!(
            "  fuzzy       {n} in the last snapshot: changed while read, or databases without an image"
        ))?;
    }
    Ok(())
}

fn watch(out: &mut Out, source: &SourceStatus, now: Instant) -> Result<(), Failure> {
    match &source.watch {
        Watch::Watched(beat) => {
            let what = match beat.watcher.as_str() {
                "fanotify" => count(beat.watched, "file system"),
                _ if beat.watched == 1 => "1 directory".to_owned(),
                _ => format!("{} directories", thousands(beat.watched)),
            };
            out.line(format_args!("  watched     by {} ({what}), process {}", beat.watcher, beat.pid))?;
            lag(out, source, now)?;
            details(out, beat)
        }
        Watch::Capturing { pid } => {
            out.line(format_args!("  captured    at this moment, by process {pid}"))?;
            lag(out, source, now)
        }
        Watch::Unwatched { .. } => {
            out.line("  watched     by nobody")?;
            lag(out, source, now)
        }
        Watch::Elsewhere => lag(out, source, now),
    }
}

fn lag(out: &mut Out, source: &SourceStatus, now: Instant) -> Result<(), Failure> {
    match source.lag_ns {
        Some(ns) => {
            let seen = ago(Instant(now.0.saturating_sub(ns)), now);
            out.line(format_args!("  lag         everything was captured up to {seen}"))
        }
        None => Ok(()),
    }
}

fn details(out: &mut Out, beat: &Beat) -> Result<(), Failure> {
    if beat.root_gone {
        out.line("  gone        the directory is not there: it is watched for")?;
    }
    for (dir, why) in &beat.unwatched {
        let dir = if dir.is_empty() { "." } else { dir };
        out.line(format_args!("  unwatched   {dir}: scanned at an interval: {why}"))?;
    }
    for note in &beat.notes {
        out.line(format_args!("  note        {note}"))?;
    }
    Ok(())
}

fn gaps(out: &mut Out, h: &History, zone: &Zone) -> Result<(), Failure> {
    if h.gaps == 0 {
        return out.line("  gaps        none");
    }
    out.line(format_args!("  gaps        {}, {} in the last 7 days", thousands(h.gaps), thousands(h.gaps_recent)))?;
    for gap in &h.last_gaps {
        let (from, to) = show_span(Instant(gap.from_ns), Instant(gap.to_ns), zone);
        out.line(format_args!("    {from} to {to}  {}: {}", gap.path, path::show(gap.why.as_bytes())))?;
    }
    Ok(())
}

fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// A number with a comma between each three digits.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(count(1, "pack"), "1 pack");
        assert_eq!(count(2, "pack"), "2 packs");
    }
}
