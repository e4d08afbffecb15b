//! A `[[source]]` table, as it is written.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check::Problem;
use super::error::Place;
use super::invariant::{RawInvariant, invariants};
use super::kinds::{
    self, Atomic, CommandOutput, Hooks, Kind, KindWord, Postgres, PostgresMode, Produce, Sqlite, WalFrom, produced_dir,
};
use super::load::SEE;
use super::model::Source;
use super::retention::Retention;
use super::values::{self, Absolute};
use crate::schedule::{blackout::Blackout, model::Schedule};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSource {
    path: Option<Spanned<Absolute>>,
    #[serde(default, deserialize_with = "kinds::file_name_if_any")]
    name: Option<String>,
    #[serde(default)]
    kind: KindWord,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    one_file_system: bool,
    cachedir_tag: Option<bool>,
    retention: Option<Retention>,
    #[serde(default, deserialize_with = "values::duration_if_any")]
    objective: Option<Duration>,
    #[serde(default, deserialize_with = "values::schedule_if_any")]
    full: Option<Schedule>,
    #[serde(default, deserialize_with = "values::schedule_if_any")]
    differential: Option<Schedule>,
    #[serde(default, deserialize_with = "values::blackout")]
    blackout: Blackout,
    #[serde(default, deserialize_with = "values::duration")]
    jitter: Duration,
    #[serde(default, deserialize_with = "values::duration_if_any")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "values::schedule_if_any")]
    produce: Option<Schedule>,
    #[serde(default)]
    hooks: Hooks,
    #[serde(default)]
    sqlite: Sqlite,
    atomic: Option<Atomic>,
    #[serde(default)]
    command: Vec<CommandOutput>,
    #[serde(default)]
    invariant: Vec<RawInvariant>,
    connection: Option<String>,
    user: Option<String>,
    bin: Option<Absolute>,
    mode: Option<PostgresMode>,
    wal: Option<WalFrom>,
    slot: Option<String>,
    #[serde(default, deserialize_with = "values::duration_if_any")]
    timeout: Option<Duration>,
}

/// The sources that the tables say. One of the kind `system` brings a source of the directory /etc with it, unless that is
/// captured already.
pub(super) fn sources(
    tables: Vec<Spanned<RawSource>>,
    state: &Path,
    at: &impl Fn(Option<Range<usize>>) -> Place,
    problems: &mut Vec<Problem>,
) -> Vec<Source> {
    let mut sources = Vec::new();
    for table in tables {
        let whole = at(Some(table.span()));
        match table.into_inner().into_source(state, whole, at) {
            Ok(source) => sources.push(source),
            Err((place, what)) => problems.push(Problem { place, what, cure: SEE.into() }),
        }
    }
    let etc = Path::new("/etc");
    let covered = sources.iter().any(|s| etc.starts_with(&s.path));
    if let Some(system) = sources.iter().find(|s| s.kind == Kind::System).filter(|_| !covered) {
        let etc = Source {
            full: system.full.clone(),
            differential: system.differential.clone(),
            retention: system.retention,
            objective: system.objective,
            blackout: system.blackout.clone(),
            jitter: system.jitter,
            at: system.at.clone(),
            ..Source::new(etc.to_owned())
        };
        sources.push(etc);
    }
    sources
}

impl RawSource {
    fn into_source(
        self,
        state: &Path,
        place: Place,
        at: &impl Fn(Option<Range<usize>>) -> Place,
    ) -> Result<Source, (Place, String)> {
        let wrong = |what: String| (place.clone(), what);
        if let Some(setting) = self.misplaced() {
            return Err(wrong(format!("the setting `{setting}` does not belong to a source of this kind")));
        }
        if let Some(e) = super::patterns::errors(&self.sqlite.paths, &[]).first() {
            return Err(wrong(format!("sqlite.paths: the pattern {:?} cannot be used: {}", e.pattern, e.why)));
        }
        let word = self.kind;
        let kind = self.kind().map_err(wrong)?;
        let invariants = invariants(self.invariant, word, self.connection.as_deref(), &self.hooks).map_err(wrong)?;
        let name = match (&self.name, &kind) {
            (None, Kind::System) => Some("system".to_owned()),
            (name, _) => name.clone(),
        };
        let (path, place): (PathBuf, Place) = match (self.path, &name) {
            (Some(path), _) => (path.get_ref().0.clone(), at(Some(path.span()))),
            (None, Some(name)) if kind.is_produced() => (produced_dir(state, name), place),
            (None, _) if kind.is_produced() => {
                return Err(wrong(format!("missing field `name`: a source of kind {:?} needs one", kind.word())));
            }
            (None, _) => return Err(wrong("missing field `path`".into())),
        };
        let in_state = kind.is_produced() && path.parent() == Some(&state.join("produced"));
        let plain = Source::new(path);
        Ok(Source {
            name,
            exclude: self.exclude,
            include: self.include,
            one_file_system: self.one_file_system,
            cachedir_tag: self.cachedir_tag.unwrap_or(plain.cachedir_tag),
            retention: self.retention,
            objective: self.objective,
            full: self.full,
            differential: self.differential,
            blackout: self.blackout,
            jitter: self.jitter,
            produce: self.every.map(Produce::Every).or(self.produce.map(|s| Produce::At(Box::new(s)))),
            hooks: self.hooks,
            invariants,
            // What is produced is whole already.
            sqlite: if kind.is_produced() { Sqlite { find: false, ..self.sqlite } } else { self.sqlite },
            atomic: self.atomic,
            kind,
            in_state,
            at: place,
            ..plain
        })
    }

    /// The first setting that says something to another kind of source only.
    fn misplaced(&self) -> Option<&'static str> {
        let is = |kind| self.kind == kind;
        let produced = !is(KindWord::Directory);
        let postgres = is(KindWord::Postgres);
        let all = [
            ("command", !self.command.is_empty() && !is(KindWord::Command)),
            ("atomic", self.atomic.is_some() && produced),
            ("every", self.every.is_some() && !produced),
            ("produce", self.produce.is_some() && (!produced || self.every.is_some())),
            ("connection", self.connection.is_some() && !postgres),
            ("user", self.user.is_some() && !postgres),
            ("bin", self.bin.is_some() && !postgres),
            ("mode", self.mode.is_some() && !postgres),
            ("wal", self.wal.is_some() && !postgres),
            ("slot", self.slot.is_some() && !postgres),
            ("timeout", self.timeout.is_some() && !postgres),
        ];
        all.into_iter().find(|(_, wrong)| *wrong).map(|(setting, _)| setting)
    }

    fn kind(&self) -> Result<Kind, String> {
        Ok(match self.kind {
            KindWord::Directory => Kind::Directory,
            KindWord::System => Kind::System,
            KindWord::Command => {
                if self.command.is_empty() {
                    return Err("a source of kind \"command\" needs a [[source.command]] with name and run".into());
                }
                let twice = (1..self.command.len())
                    .find(|n| self.command[..*n].iter().any(|c| c.name == self.command[*n].name));
                if let Some(n) = twice {
                    return Err(format!("two commands of this source write the file {:?}", self.command[n].name));
                }
                Kind::Command(self.command.clone())
            }
            KindWord::Postgres => Kind::Postgres(Box::new(self.postgres()?)),
        })
    }

    fn postgres(&self) -> Result<Postgres, String> {
        let connection = self
            .connection
            .clone()
            .ok_or("a source of kind \"postgres\" needs connection, such as \"host=/run/postgresql user=postgres\"")?;
        let name = self.name.clone().unwrap_or_default();
        let tidy = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
        let slot = self.slot.clone().unwrap_or_else(|| {
            format!("bygone_{}", name.to_lowercase().chars().map(tidy).take(50).collect::<String>())
        });
        if slot.is_empty() || slot.len() > 63 || slot.chars().any(|c| tidy(c) != c) {
            return Err(format!("{slot:?} can't name a slot: it has a-z, 0-9 and _, and not more than 63 of them"));
        }
        Ok(Postgres {
            connection,
            user: self.user.clone(),
            bin: self.bin.as_ref().map(|p| p.0.clone()),
            mode: self.mode.unwrap_or_default(),
            wal: self.wal.unwrap_or_default(),
            slot,
            timeout: self.timeout.unwrap_or(Duration::from_secs(24 * 3600)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{kinds::OnFailure, load, model::Config, places};
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let around = places::Surroundings { root: true, ..places::Surroundings::default() };
        let places = places::Places::of(&around).unwrap();
        load::parse(text, Path::new("/c.toml"), &places).map_err(|e| e.to_string())
    }

    #[test]
    fn every_kind_is_read() {
        let config = read(
            r#"
            [[source]]
            path = "/srv"
            atomic = "btrfs"
            sqlite = { find = false, paths = ["*.db"] }
            [source.hooks]
            before = "sync"
            timeout = "1m"
            on-failure = "continue"
            [[source]]
            name = "dumps"
            kind = "command"
            every = "1h"
            [[source.command]]
            name = "globals.sql"
            run = "pg_dumpall --globals-only"
            [[source]]
            kind = "system"
            produce = "daily 02:30"
            [[source]]
            name = "Main DB"
            kind = "postgres"
            path = "/var/backups/main"
            connection = "host=/run/postgresql"
            "#,
        )
        .unwrap();
        let paths: Vec<_> = config.sources.iter().map(|s| s.path.to_str().unwrap()).collect();
        let produced = "/var/lib/bygone/produced";
        let dumps = format!("{produced}/dumps");
        assert_eq!(paths, ["/srv", &dumps, &format!("{produced}/system"), "/var/backups/main", "/etc"]);
        let first = &config.sources[0];
        assert_eq!((first.atomic, first.sqlite.find, first.sqlite.paths.len()), (Some(Atomic::Btrfs), false, 1));
        assert_eq!(first.hooks.on_failure, OnFailure::Continue);
        assert_eq!(config.sources[1].produce, Some(Produce::Every(Duration::from_secs(3600))));
        let Kind::Postgres(postgres) = &config.sources[3].kind else { panic!("a server") };
        assert_eq!((postgres.slot.as_str(), postgres.mode), ("bygone_main_db", PostgresMode::Physical));
        assert_eq!(super::super::check::overlaps(&config.sources), []);
        assert_eq!(super::super::check::own(&config), []);
    }

    #[test]
    fn etc_is_captured_once() {
        let config = read("[[source]]\nkind = \"system\"\n[[source]]\npath = \"/\"").unwrap();
        assert_eq!(config.sources.len(), 2);
    }

    #[test]
    fn what_a_kind_needs_and_does_not_know_is_told_with_its_place() {
        for (text, told) in [
            ("kind = \"command\"\nname = \"x\"", "needs a [[source.command]]"),
            ("kind = \"system\"\natomic = \"btrfs\"", "`atomic` does not belong"),
            ("path = \"/a\"\nevery = \"1h\"", "`every` does not belong"),
            ("kind = \"postgres\"\nname = \"x\"", "needs connection"),
            ("kind = \"postgres\"\nconnection = \"x\"", "missing field `name`"),
            ("kind = \"command\"\nname = \"a/b\"", "has to be a file name"),
        ] {
            let e = read(&format!("[[source]]\n{text}")).unwrap_err();
            assert!(e.starts_with("/c.toml:") && e.contains(told), "{text}: {e}");
        }
    }
}
