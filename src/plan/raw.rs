//! A plan as it is written.

use super::model::{OnFailure, Sort};
use serde::{Deserialize, Deserializer, de, de::Visitor};
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;

/// A text, and where it is.
pub(super) type Text = Spanned<String>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPlan {
    #[serde(default)]
    pub(super) about: String,
    #[serde(default)]
    pub(super) on_failure: OnFailure,
    pub(super) parallel: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) input: BTreeMap<String, Spanned<RawInput>>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<RawStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawInput {
    #[serde(default)]
    pub(super) about: String,
    #[serde(default, rename = "type")]
    pub(super) sort: Sort,
    pub(super) default: Option<Spanned<Given>>,
}

/// The value of an input as a plan has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Given {
    /// The text that a value of this type is. The error says what is wrong.
    pub(super) fn text(self, sort: Sort) -> Result<String, String> {
        match (self, sort) {
            (Given::Text(text), _) => Ok(text),
            (Given::Number(number), Sort::Number) => Ok(number.to_string()),
            (Given::Flag(flag), Sort::YesNo) => Ok(if flag { "yes" } else { "no" }.to_owned()),
            (Given::Number(value), _) => Err(format!("the number {value} is no value of the type {:?}", sort.word())),
            (Given::Flag(value), _) => Err(format!("{value} is no value of the type {:?}", sort.word())),
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Given, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Given;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, or true or false")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Given, E> {
                Ok(Given::Text(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Given, E> {
                Ok(Given::Number(number))
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Given, E> {
                Ok(Given::Flag(flag))
            }
        }
        from.deserialize_any(Any)
    }
}

/// The word of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KindWord {
    Restore,
    Postgres,
    Command,
    Check,
    Wait,
    Manual,
    Notify,
}

/// How a step is taken back, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum UndoWord {
    Remove,
}

/// What becomes of a step in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum InDrill {
    Run,
    Skip,
}

/// What becomes of a server that was recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Then {
    Run,
    Stop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawStep {
    pub(super) name: Option<Text>,
    pub(super) kind: Option<Text>,
    #[serde(default)]
    pub(super) about: String,
    #[serde(default)]
    pub(super) needs: Vec<Text>,
    #[serde(default)]
    pub(super) when: Vec<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) retries: Option<Spanned<i64>>,
    pub(super) retry_after: Option<Text>,
    pub(super) again: Option<bool>,
    #[serde(default)]
    pub(super) may_fail: bool,
    pub(super) drill: Option<Spanned<InDrill>>,
    pub(super) undo: Option<Spanned<UndoWord>>,
    pub(super) undo_run: Option<Vec<Text>>,
    pub(super) undo_shell: Option<Text>,

    pub(super) paths: Option<Vec<Text>>,
    pub(super) source: Option<Text>,
    pub(super) to: Option<Text>,
    pub(super) in_place: Option<Spanned<bool>>,
    pub(super) delete: Option<Spanned<bool>>,
    pub(super) overwrite: Option<Spanned<bool>>,
    pub(super) host: Option<Text>,
    pub(super) at: Option<Text>,

    pub(super) data: Option<Text>,
    pub(super) then: Option<Spanned<Then>>,
    pub(super) bin: Option<Text>,

    pub(super) run: Option<Vec<Text>>,
    pub(super) shell: Option<Text>,
    pub(super) env: Option<BTreeMap<String, Text>>,
    pub(super) user: Option<Text>,
    pub(super) dir: Option<Text>,
    pub(super) sets: Option<Text>,

    pub(super) exists: Option<Vec<Text>>,
    pub(super) sqlite: Option<Vec<Text>>,
    pub(super) file: Option<Text>,
    pub(super) hash: Option<Text>,
    pub(super) same: Option<Text>,
    pub(super) here: Option<Text>,
    pub(super) prints: Option<Text>,
    pub(super) query: Option<Text>,
    pub(super) expect: Option<Text>,
    pub(super) server: Option<Text>,
    pub(super) connection: Option<Text>,
    pub(super) database: Option<Text>,
    pub(super) invariants: Option<Spanned<bool>>,
    pub(super) probe: Option<Vec<Text>>,
    pub(super) before: Option<Text>,
    pub(super) tries: Option<Spanned<i64>>,

    #[serde(rename = "for")]
    pub(super) for_: Option<Text>,
    pub(super) every: Option<Text>,
    pub(super) port: Option<Text>,

    pub(super) ask: Option<Text>,

    pub(super) channel: Option<Text>,
    pub(super) message: Option<Text>,
}

impl RawStep {
    /// The settings that are given and belong to some kinds of steps only, by name.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let all = [
            ("paths", self.paths.is_some()),
            ("source", self.source.is_some()),
            ("to", self.to.is_some()),
            ("in-place", self.in_place.is_some()),
            ("delete", self.delete.is_some()),
            ("overwrite", self.overwrite.is_some()),
            ("host", self.host.is_some()),
            ("at", self.at.is_some()),
            ("data", self.data.is_some()),
            ("then", self.then.is_some()),
            ("bin", self.bin.is_some()),
            ("run", self.run.is_some()),
            ("shell", self.shell.is_some()),
            ("env", self.env.is_some()),
            ("user", self.user.is_some()),
            ("dir", self.dir.is_some()),
            ("sets", self.sets.is_some()),
            ("exists", self.exists.is_some()),
            ("sqlite", self.sqlite.is_some()),
            ("file", self.file.is_some()),
            ("hash", self.hash.is_some()),
            ("same", self.same.is_some()),
            ("here", self.here.is_some()),
            ("prints", self.prints.is_some()),
            ("query", self.query.is_some()),
            ("expect", self.expect.is_some()),
            ("server", self.server.is_some()),
            ("connection", self.connection.is_some()),
            ("database", self.database.is_some()),
            ("invariants", self.invariants.is_some()),
            ("probe", self.probe.is_some()),
            ("before", self.before.is_some()),
            ("tries", self.tries.is_some()),
            ("for", self.for_.is_some()),
            ("every", self.every.is_some()),
            ("port", self.port.is_some()),
            ("ask", self.ask.is_some()),
            ("channel", self.channel.is_some()),
            ("message", self.message.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

impl KindWord {
    /// All of them, with their words.
    const ALL: [(KindWord, &'static str); 7] = [
        (KindWord::Restore, "restore"),
        (KindWord::Postgres, "postgres"),
        (KindWord::Command, "command"),
        (KindWord::Check, "check"),
        (KindWord::Wait, "wait"),
        (KindWord::Manual, "manual"),
        (KindWord::Notify, "notify"),
    ];

    /// The words, as they are told.
    pub(super) fn words() -> String {
        KindWord::ALL.map(|(_, word)| word).join(", ")
    }

    /// The kind of a word.
    pub(super) fn parse(text: &str) -> Option<KindWord> {
        KindWord::ALL.into_iter().find(|(_, word)| *word == text).map(|(kind, _)| kind)
    }

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        KindWord::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The kind that a step with these settings most likely is of: that which knows most of them.
    pub(super) fn guess(given: &[&str]) -> KindWord {
        let known = |kind: KindWord| given.iter().filter(|setting| kind.knows().contains(setting)).count();
        let best = |best: KindWord, (kind, _): (KindWord, &str)| if known(kind) > known(best) { kind } else { best };
        KindWord::ALL.into_iter().fold(KindWord::Command, best)
    }

    /// The settings that a step of this kind can have beside those of all.
    pub(super) fn knows(self) -> &'static [&'static str] {
        match self {
            KindWord::Restore => &["paths", "source", "to", "in-place", "delete", "overwrite", "host", "at"],
            KindWord::Postgres => &["source", "data", "at", "then", "user", "bin"],
            KindWord::Command => &["run", "shell", "env", "user", "dir", "sets"],
            KindWord::Check => &[
                "exists",
                "sqlite",
                "file",
                "hash",
                "same",
                "here",
                "at",
                "host",
                "run",
                "shell",
                "env",
                "user",
                "dir",
                "prints",
                "query",
                "expect",
                "server",
                "connection",
                "database",
                "invariants",
                "probe",
                "before",
                "tries",
                "sets",
            ],
            KindWord::Wait => &["for", "run", "shell", "env", "user", "dir", "every", "port"],
            KindWord::Manual => &["ask"],
            KindWord::Notify => &["channel", "message"],
        }
    }
}
