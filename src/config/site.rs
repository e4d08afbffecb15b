//! A `[[site]]` table: another place that is to have a copy of the repository.

use std::ops::Range;
use std::os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check::Problem;
use super::error::Place;
use super::own;
use super::values::{self, Absolute, RepositoryAt};
use crate::schedule::{blackout::Blackout, model::Schedule};
use crate::types::{
    location::Location,
    snapshot::{Source, Tier},
};

/// What the place of the repository is called where nothing else is said.
pub const ORIGIN: &str = "origin";

/// What a site is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteRole {
    /// It takes over where the repository is lost.
    #[default]
    Standby,
    /// It keeps a copy, and is never promoted.
    Archive,
}

impl SiteRole {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            SiteRole::Standby => "standby",
            SiteRole::Archive => "archive",
        }
    }
}

/// A place that is to have a copy of the repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its name, which no other has.
    pub name: String,
    /// Where the copy is.
    pub repository: Location,
    /// The URL of the service, where it is a bucket and not of the service of `[remote]`.
    pub endpoint: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// The sources of this host that it has, by their directories; all of the repository if none are named.
    pub sources: Vec<PathBuf>,
    /// The tiers whose snapshots are whole there, with what they need; all of them if none are named.
    pub tiers: Vec<Tier>,
    /// When it is brought up to date, if it is by schedule.
    pub schedule: Option<Schedule>,
    /// When it does not begin.
    pub blackout: Blackout,
    /// How much later than its time it may begin.
    pub jitter: Duration,
    /// Whether it is brought up to date after each snapshot.
    pub continuous: bool,
    /// How many bytes a second go to it.
    pub limit: Option<u64>,
    /// How far it may be behind.
    pub objective: Option<Duration>,
    /// How long recovery from it may take.
    pub recovery_time: Option<Duration>,
    /// What it is there for.
    pub role: SiteRole,
    /// Where the file says so.
    pub at: Place,
}

impl Site {
    /// Whether it is to have a source, by the settings of `host`.
    pub fn wants(&self, host: &str, source: &Source) -> bool {
        let is_named = |path: &PathBuf| path.as_os_str().as_bytes() == source.root && source.is_of(host);
        self.sources.is_empty() || self.sources.iter().any(is_named)
    }

    /// Why it is no copy of what is at `repository`: it is that itself, by another name.
    pub fn no_copy(&self, repository: &Location) -> Option<String> {
        is_one_place(&self.repository, repository).then(|| {
            format!(
                "the site {:?}, {}, is the repository {repository} itself, by another name, and no copy of it",
                self.name, self.repository
            )
        })
    }

    /// The sources that it is to have, by `host` and their paths; none where it has all.
    pub fn sources_of(&self, host: &str) -> Vec<(String, Vec<u8>)> {
        self.sources.iter().map(|path| (host.to_owned(), path.as_os_str().as_bytes().to_owned())).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSite {
    #[serde(deserialize_with = "values::job_name")]
    name: String,
    repository: RepositoryAt,
    endpoint: Option<String>,
    region: Option<String>,
    #[serde(default)]
    sources: Vec<Absolute>,
    #[serde(default, deserialize_with = "values::tiers")]
    tiers: Vec<Tier>,
    #[serde(default, deserialize_with = "values::schedule_if_any")]
    schedule: Option<Schedule>,
    #[serde(default, deserialize_with = "values::blackout")]
    blackout: Blackout,
    #[serde(default, deserialize_with = "values::duration")]
    jitter: Duration,
    #[serde(default)]
    continuous: bool,
    #[serde(default, deserialize_with = "values::rate")]
    limit: Option<u64>,
    #[serde(default, deserialize_with = "values::duration_if_any")]
    objective: Option<Duration>,
    #[serde(default, deserialize_with = "values::duration_if_any")]
    recovery_time: Option<Duration>,
    #[serde(default)]
    role: SiteRole,
}

/// The sites that the tables say; those that can't be are problems.
pub(super) fn sites(
    tables: Vec<Spanned<RawSite>>,
    (repository, own): (&Location, Option<&str>),
    at: &impl Fn(Option<Range<usize>>) -> Place,
    problems: &mut Vec<Problem>,
) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for table in tables {
        let place = at(Some(table.span()));
        let site = table.into_inner().into_site(place.clone());
        let wrong = if let Some(other) = sites.iter().find(|other| other.repository == site.repository) {
            Some((format!("the sites {:?} and {:?} have one place", other.name, site.name), "name a place for each"))
        } else if sites.iter().any(|other| other.name == site.name) {
            Some((format!("there are two sites of the name {:?}", site.name), "give each site a name of its own"))
        } else if own == Some(&site.name) {
            Some((
                format!("the site {:?} has the name of the repository's own place", site.name),
                "give it another name, or change `site-name`",
            ))
        } else if is_within(&site.repository, repository) || is_within(repository, &site.repository) {
            Some((
                format!("the site {:?} lies where the repository lies", site.name),
                "name another place for the copy",
            ))
        } else if site.continuous && site.schedule.is_some() {
            Some((format!("the site {:?} is both continuous and by schedule", site.name), "give it one of the two"))
        } else {
            None
        };
        match wrong {
            None => sites.push(site),
            Some((what, cure)) => problems.push(Problem { place, what, cure: cure.into() }),
        }
    }
    sites
}

/// Whether two places are one whatever they are called, or one lies in the other: by links and mounts too.
pub fn is_one_place(one: &Location, other: &Location) -> bool {
    let (Location::Dir(one), Location::Dir(other)) = (one, other) else { return one == other };
    let (real, real_other) = (own::real_whole(one), own::real_whole(other));
    if real.starts_with(&real_other) || real_other.starts_with(&real) {
        return true;
    }
    let place = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    place(one).is_some_and(|found| place(other) == Some(found))
}

fn is_within(one: &Location, other: &Location) -> bool {
    match (one, other) {
        (Location::Dir(one), Location::Dir(other)) => one.starts_with(other),
        // One bucket may hold both, below prefixes of their own.
        (one, other) => one == other,
    }
}

impl RawSite {
    fn into_site(self, at: Place) -> Site {
        Site {
            name: self.name,
            repository: self.repository.0,
            endpoint: self.endpoint,
            region: self.region,
            sources: self.sources.into_iter().map(|path| path.0).collect(),
            tiers: self.tiers,
            schedule: self.schedule,
            blackout: self.blackout,
            jitter: self.jitter,
            continuous: self.continuous,
            limit: self.limit,
            objective: self.objective,
            recovery_time: self.recovery_time,
            role: self.role,
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::places::{Places, Surroundings};
    use std::path::Path;

    fn problems(text: &str) -> Vec<String> {
        let places = Places::of(&Surroundings { root: true, ..Surroundings::default() }).unwrap();
        let text = format!("repository = \"/srv/repo\"\n{text}");
        match load::parse(&text, Path::new("/c.toml"), &places) {
            Ok(config) => config.sites.iter().map(|site| site.name.clone()).collect(),
            Err(e) => vec![e.to_string()],
        }
    }

    #[test]
    fn sites_are_read_and_those_that_cannot_be_are_told() {
        let site =
            |name: &str, at: &str, more: &str| format!("[[site]]\nname = \"{name}\"\nrepository = \"{at}\"\n{more}");
        let two =
            site("a", "/mnt/a", "limit = \"1 MiB/s\"\nobjective = \"1h\"\ncontinuous = true\ntiers = [\"full\"]\n")
                + &site("b", "s3://b/p", "schedule = \"hourly\"");
        assert_eq!(problems(&two), ["a", "b"]);
        let wrong = [
            (site("a", "/mnt/a", "") + &site("a", "/mnt/b", ""), "two sites of the name"),
            (site("a", "/mnt/a", "") + &site("b", "/mnt/a", ""), "have one place"),
            (site("a", "/srv/repo/sub", ""), "lies where the repository lies"),
            (site("a", "/srv", ""), "lies where the repository lies"),
            (site("a", "/mnt/a", "continuous = true\nschedule = \"hourly\""), "both continuous and by schedule"),
            (site("a b", "/mnt/a", ""), "can't name a job"),
            (site("a", "/mnt/a", "tiers = [\"weekly\"]"), "is no tier"),
            (site("a", "/mnt/a", "tiers = []"), "no tier"),
            ("[[site]]\nname = \"a\"".to_owned(), "missing field `repository`"),
        ];
        for (text, says) in wrong {
            assert!(problems(&text)[0].contains(says), "{text}: {:?}", problems(&text));
        }
    }
}
