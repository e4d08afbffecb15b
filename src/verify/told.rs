//! What is told of a check to those who were not there: the note of this host, and the entry of the audit trail.

use crate::repo::{
    audit::{
        event::{Event, Kind, Outcome},
        found,
    },
    error::RepoError,
    verified::{self, Verification},
};
use crate::sys::clock;
use crate::verify::{check::Options, others::TRAIL, report::Report};
use std::path::Path;

/// So many problems are told in the audit trail.
const NOTED_MAX: usize = 20;

/// Notes it in the directory of the repository's state, for those who watch how much was verified lately. One that was stopped has
/// shown nothing, and is not noted.
pub fn note(dir: &Path, report: &Report) -> Result<(), RepoError> {
    if report.stopped {
        return Ok(());
    }
    let made = Verification {
        at_ns: clock::now().0,
        frames: report.frames,
        read_frames: report.read_frames,
        read_bytes: report.read_bytes,
        problems: report.problems.len() as u64,
        first: report.problems.first().map(ToString::to_string),
    };
    verified::note(dir, made)?;
    // The trail was checked with the rest.
    match report.problems.iter().any(|problem| problem.part == TRAIL) {
        true => Ok(()),
        false => found::note(dir, None),
    }
}

/// How it ended.
pub fn outcome(report: &Report) -> Outcome {
    match (report.stopped, report.problems.is_empty()) {
        (true, _) => Outcome::Failed,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Partial,
    }
}

/// The event of the audit trail.
pub fn event(options: &Options, report: &Report, ended: Outcome) -> Event {
    let problems: Vec<String> = report.problems.iter().take(NOTED_MAX).map(ToString::to_string).collect();
    Event::new(Kind::Verify, ended)
        .detail("data_read", options.read_data)
        .detail("subset_percent", options.subset_percent)
        .detail("frames", report.frames)
        .detail("read_frames", report.read_frames)
        .detail("read_bytes", report.read_bytes)
        .detail("snapshots", report.snapshots)
        .detail("packs", report.packs)
        .detail("problems", report.problems.len())
        .detail("known_problems", report.problems.iter().filter(|problem| problem.known).count())
        .detail("some_problems", problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::report::{Affected, Problem};

    #[test]
    fn a_check_that_was_stopped_is_not_noted() {
        let dir = tempfile::tempdir().unwrap();
        let text = String::from;
        let (object, part, why) = (text("packs/x"), text("table"), text("it is cut short"));
        let problem =
            Problem { object, part, why, lost: text(""), files: Affected::default(), to_do: text(""), known: false };
        let found = Report { frames: 7, problems: vec![problem], ..Report::default() };
        let stopped = Report { stopped: true, ..found.clone() };
        note(dir.path(), &stopped).unwrap();
        assert_eq!((verified::all(dir.path()), outcome(&stopped)), (Vec::new(), Outcome::Failed));
        note(dir.path(), &found).unwrap();
        let noted = verified::all(dir.path());
        assert_eq!((noted.len(), noted[0].frames, noted[0].problems), (1, 7, 1));
        assert_eq!(noted[0].first.as_deref(), Some("packs/x: table: it is cut short"));
        assert_eq!((outcome(&found), outcome(&Report::default())), (Outcome::Partial, Outcome::Done));
    }
}
