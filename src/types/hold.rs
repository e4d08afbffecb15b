//! Legal holds: what a case touches is never released while it is in force.

use crate::types::{path, snapshot::Source, time::Instant};

/// A legal hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The id of the case: a file name.
    pub id: String,
    /// Who is responsible for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// What it touches.
    pub scope: Scope,
    /// The last instant at which it is in force; `None` until somebody ends it.
    pub until: Option<Instant>,
}

/// What a hold touches: what fits all of these. A list that is empty fits everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Absolute paths without a slash at the end: files, or directories with all below them.
    pub paths: Vec<Vec<u8>>,
    /// The absolute paths of the roots of sources.
    pub sources: Vec<Vec<u8>>,
    /// Hosts.
    pub hosts: Vec<String>,
    /// The first instant; from the beginning if `None`.
    pub from: Option<Instant>,
    /// The last instant; without an end if `None`.
    pub to: Option<Instant>,
}

/// The instants that show a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its own time, the first of them.
    pub from: Instant,
    /// The time of the next snapshot, the first that does not; `None` for the newest.
    pub next: Option<Instant>,
}

impl Hold {
    /// Whether it is in force at `now`.
    pub fn is_in_force(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now <= until)
    }

    /// Whether it touches a snapshot of a source: whether an instant of its time shows the snapshot, and its paths, sources and hosts
    /// have to do with the source. A snapshot is touched as a whole, also where a hold names a single file of it.
    pub fn touches(&self, shown: Shown, source: &Source) -> bool {
        let Scope { paths, sources, hosts, from, to } = &self.scope;
        let near = |p: &Vec<u8>| path::is_within(p, &source.root) || path::is_within(&source.root, p);
        (paths.is_empty() || paths.iter().any(near))
            && (sources.is_empty() || sources.contains(&source.root))
            && (hosts.is_empty() || hosts.contains(&source.host))
            && to.is_none_or(|to| shown.from <= to)
            && from.is_none_or(|from| shown.next.is_none_or(|next| from < next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{Id, SourceNum};

    fn touches(scope: Scope, from: i64, next: Option<i64>) -> bool {
        let source = Source { id: Id([1; 16]), num: SourceNum(1), host: "web1".into(), root: b"/srv/data".to_vec() };
        let hold = Hold { id: "c".into(), owner: "o".into(), reason: "r".into(), scope, until: None };
        hold.touches(Shown { from: Instant(from), next: next.map(Instant) }, &source)
    }

    #[test]
    fn a_scope_is_what_fits_all_of_it() {
        let bytes = |list: &[&str]| list.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>();
        let paths = |list: &[&str]| Scope { paths: bytes(list), ..Scope::default() };
        let sources = |list: &[&str]| Scope { sources: bytes(list), ..Scope::default() };
        let hosts = |list: &[&str]| Scope { hosts: list.iter().map(|s| (*s).to_owned()).collect(), ..Scope::default() };
        let now = |scope| touches(scope, 0, None);
        assert!(now(Scope::default()));
        assert!(now(paths(&["/srv/data/a/file"])) && now(paths(&["/srv"])) && now(paths(&["/x", "/"])));
        assert!(!now(paths(&["/srv/database", "/home"])));
        assert!(now(sources(&["/srv/data"])) && !now(sources(&["/srv", "/srv/data/a"])));
        assert!(now(hosts(&["db", "web1"])) && !now(hosts(&["web"])));
        assert!(!now(Scope { hosts: vec!["db".into()], ..paths(&["/srv"]) }));
    }

    #[test]
    fn a_snapshot_is_touched_where_an_instant_of_the_time_shows_it() {
        let scope = |from: Option<i64>, to: Option<i64>| Scope {
            from: from.map(Instant),
            to: to.map(Instant),
            ..Scope::default()
        };
        let held = || scope(Some(100), Some(200));
        for (from, next, is) in [
            (50, Some(100), false),
            (50, Some(101), true),
            (50, Some(500), true),
            (200, Some(201), true),
            (201, None, false),
            (0, None, true),
        ] {
            assert_eq!(touches(held(), from, next), is, "{from} to {next:?}");
        }
        assert!(touches(scope(None, Some(10)), i64::MIN, Some(5)) && touches(scope(Some(10), None), 99, Some(100)));
    }
}
