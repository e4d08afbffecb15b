//! Invariants of a source: what is measured when a snapshot of it is taken, and compared with what came back in a drill.

use std::fmt;
use std::path::{Component, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::kinds::{Hooks, KindWord, Postgres};
use super::values;

/// Something that can be measured of a source, and measured again of what came back of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    /// Its name, which no other of the source has.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// How the two values are compared.
    pub compare: Compare,
    /// After this time measuring it is ended, and has failed.
    pub timeout: Duration,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// The files at or below a path in the source, and their bytes.
    Files(PathBuf),
    /// What a query gives on a SQLite database in the source.
    Sqlite {
        /// The database, in the source.
        database: PathBuf,
        /// The query.
        query: String,
    },
    /// What a command prints; `sh -c` runs it.
    Command(String),
    /// What a query gives on the PostgreSQL server that the source is.
    Postgres {
        /// The database of the server.
        database: String,
        /// The query.
        query: String,
    },
}

/// How the value of what came back is compared with the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// It is the same text.
    Exact,
    /// It is a number, and not a smaller one.
    AtLeast,
    /// It is a number, and differs by so many percent of the recorded one at the most.
    Within(u8),
}

impl Compare {
    fn parse(text: &str) -> Result<Compare, String> {
        let percent = |rest: &str| rest.trim().strip_suffix('%')?.trim_end().parse().ok().filter(|n| *n <= 100);
        match text {
            "exact" => Ok(Compare::Exact),
            "at-least" => Ok(Compare::AtLeast),
            _ => text.strip_prefix("within ").and_then(percent).map(Compare::Within).ok_or_else(|| {
                format!("{text:?} is no way to compare: write \"exact\", \"at-least\", or as in \"within 5%\"")
            }),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compare::Exact => f.write_str("exact"),
            Compare::AtLeast => f.write_str("at-least"),
            Compare::Within(percent) => write!(f, "within {percent}%"),
        }
    }
}

impl Invariant {
    /// What is measured, in one line: a value that was recorded of something else is not comparable.
    pub fn definition(&self) -> String {
        match &self.measure {
            Measure::Files(path) => format!("files {path:?}"),
            Measure::Sqlite { database, query } => format!("sqlite {database:?} {query:?}"),
            Measure::Command(line) => format!("command {line:?}"),
            Measure::Postgres { database, query } => format!("postgres {database:?} {query:?}"),
        }
    }
}

/// A `[[source.invariant]]` table, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawInvariant {
    name: String,
    files: Option<PathBuf>,
    sqlite: Option<PathBuf>,
    command: Option<String>,
    query: Option<String>,
    database: Option<String>,
    compare: Option<String>,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    timeout: Duration,
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

/// The invariants of a source of a kind. An error says what is wrong with which.
pub(super) fn invariants(
    raw: Vec<RawInvariant>,
    kind: KindWord,
    connection: Option<&str>,
    hooks: &Hooks,
) -> Result<Vec<Invariant>, String> {
    let mut all: Vec<Invariant> = Vec::new();
    for raw in raw {
        let name = raw.name.clone();
        let wrong = |what: String| format!("the invariant {name:?}: {what}");
        if name.trim().is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(wrong("its name is a line of 1 to 100 bytes".into()));
        }
        if all.iter().any(|other| other.name == name) {
            return Err(wrong("another one of this source has the same name".into()));
        }
        all.push(raw.invariant(kind, connection, hooks).map_err(wrong)?);
    }
    Ok(all)
}

impl RawInvariant {
    fn invariant(self, kind: KindWord, connection: Option<&str>, hooks: &Hooks) -> Result<Invariant, String> {
        if self.database.is_some() && (kind != KindWord::Postgres || self.query.is_none()) {
            return Err("`database` belongs to a query of a source of the kind \"postgres\"".into());
        }
        // A connection written as a URL names its database itself.
        if self.database.is_some() && connection.is_some_and(Postgres::is_url) {
            return Err("`database` can't be given where `connection` is a URL: name the database there".into());
        }
        let database = self.database.unwrap_or_else(|| "postgres".to_owned());
        let measure = match (self.files, self.sqlite, self.command, self.query) {
            (Some(path), None, None, None) => Measure::Files(inside(path)?),
            (None, Some(path), None, Some(query)) => Measure::Sqlite { database: inside(path)?, query },
            (None, None, Some(line), None) => Measure::Command(line),
            (None, None, None, Some(query)) if kind == KindWord::Postgres => Measure::Postgres { database, query },
            _ => {
                let has = "give one of `files`, `sqlite` with `query`, and `command`";
                return Err(format!("{has}; `query` alone is for a source of the kind \"postgres\""));
            }
        };
        let compare = match (self.compare.as_deref().map(Compare::parse).transpose()?, &measure) {
            (Some(compare), _) => compare,
            (None, Measure::Files(_) | Measure::Sqlite { .. }) => Compare::Exact,
            (None, _) if hooks.before.is_some() => Compare::Exact,
            (None, _) => {
                return Err("it needs `compare`, since the source may change between its measuring and the snapshot: \
                            \"at-least\", \"within 5%\", or \"exact\" where it does not; a hook before the snapshot that holds \
                            it still makes \"exact\" the default"
                    .into());
            }
        };
        if matches!(measure, Measure::Files(_)) && compare != Compare::Exact {
            return Err("what is known of files is exact: it has no `compare`".into());
        }
        Ok(Invariant { name: self.name, measure, compare, timeout: self.timeout })
    }
}

/// A path in a source; `.` is the source.
fn inside(path: PathBuf) -> Result<PathBuf, String> {
    let good = |c: &Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    match !path.as_os_str().is_empty() && path.components().all(|c| good(&c)) {
        true => Ok(path.components().filter(|c| *c != Component::CurDir).collect()),
        false => Err(format!("{} is no path in the source: write it from there, without \"..\"", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kind: KindWord, before: bool) -> Result<Invariant, String> {
        let raw = toml::from_str(text).unwrap();
        let hooks = Hooks { before: before.then(|| "sync".to_owned()), ..Hooks::default() };
        invariants(vec![raw], kind, None, &hooks).map(|mut all| all.remove(0))
    }

    #[test]
    fn what_is_compared_exactly_is_what_holds_still() {
        let compare = |text, kind, before| read(text, kind, before).map(|i| i.compare);
        let dir = KindWord::Directory;
        assert_eq!(compare("name = \"a\"\nsqlite = \"x/a.db\"\nquery = \"select 1\"", dir, false), Ok(Compare::Exact));
        assert_eq!(compare("name = \"a\"\nfiles = \".\"", dir, false), Ok(Compare::Exact));
        assert!(compare("name = \"a\"\ncommand = \"x\"", dir, false).unwrap_err().contains("needs `compare`"));
        assert_eq!(compare("name = \"a\"\ncommand = \"x\"", dir, true), Ok(Compare::Exact));
        let within = compare("name = \"a\"\ncommand = \"x\"\ncompare = \"within 5%\"", dir, true);
        assert_eq!(within, Ok(Compare::Within(5)));
        assert_eq!(within.unwrap().to_string(), "within 5%");
        let query = "name = \"a\"\nquery = \"select 1\"\ncompare = \"at-least\"";
        assert_eq!(compare(query, KindWord::Postgres, false), Ok(Compare::AtLeast));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_name() {
        for (text, told) in [
            ("name = \"a\"", "give one of"),
            ("name = \"a\"\nquery = \"select 1\"", "give one of"),
            ("name = \"a\"\nsqlite = \"a.db\"", "give one of"),
            ("name = \"a\"\nfiles = \".\"\ncommand = \"x\"", "give one of"),
            ("name = \"a\"\nfiles = \"../b\"", "no path in the source"),
            ("name = \"a\"\nfiles = \"/b\"", "no path in the source"),
            ("name = \"a\"\nfiles = \".\"\ncompare = \"at-least\"", "is exact"),
            ("name = \"a\"\ncommand = \"x\"\ncompare = \"within 500%\"", "no way to compare"),
            ("name = \"a\"\ncommand = \"x\"\ncompare = \"exact\"\ndatabase = \"x\"", "`database` belongs"),
            ("name = \"\"\nfiles = \".\"", "its name"),
        ] {
            let e = read(text, KindWord::Directory, false).unwrap_err();
            assert!(e.contains(told) && e.starts_with("the invariant "), "{text}: {e}");
        }
    }
}
