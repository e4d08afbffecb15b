//! The settings by which bygone is watched: metrics, health and notifications.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::values;
use crate::schedule::{error::ScheduleError, model::Schedule};

/// How metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Metrics {
    /// The address at which the service serves them; nowhere if none.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
}

/// What health asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Health {
    /// A source without an objective is captured at least so often.
    #[serde(deserialize_with = "values::duration")]
    pub expected: Duration,
    /// What is captured is stored within this time.
    #[serde(deserialize_with = "values::duration")]
    pub stored_within: Duration,
    /// The repository is verified at least so often.
    #[serde(deserialize_with = "values::duration")]
    pub verified_within: Duration,
    /// A drill of each plan that is rehearsed has passed within this time.
    #[serde(deserialize_with = "values::duration")]
    pub drilled_within: Duration,
    /// Hosts that a collection waits for come back within this time.
    #[serde(deserialize_with = "values::duration")]
    pub collected_within: Duration,
    /// So many bytes are free for the state and the repository.
    #[serde(deserialize_with = "values::bytes")]
    pub free: u64,
}

impl Default for Health {
    fn default() -> Health {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        Health {
            expected: Duration::from_secs(26 * 3600),
            stored_within: Duration::from_secs(3600),
            verified_within: days(35),
            drilled_within: days(35),
            collected_within: days(7),
            free: 1 << 30,
        }
    }
}

/// What is told by notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Something failed.
    Failure,
    /// It does so no more.
    Recovery,
    /// Something has not succeeded within its time.
    Overdue,
    /// How everything stands, by a schedule.
    Digest,
}

/// A channel of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// By what way.
    pub way: Way,
    /// What is told.
    pub on: Vec<On>,
    /// When how everything stands is told.
    pub digest: Schedule,
    /// So many messages an hour, at most; what is more is told as one.
    pub hourly: u32,
}

/// By what way notifications go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By mail.
    Smtp(Smtp),
    /// By a request with a JSON body.
    Webhook {
        /// Its URL.
        url: String,
        /// A header with a secret, `Name: value`, from where it is read each time.
        header: Option<SecretFrom>,
        /// A file of certificates that its server is trusted by too, beside those that the system trusts.
        ca_file: Option<PathBuf>,
    },
    /// By a command, `sh -c`, with JSON on its standard input.
    Command(String),
}

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    /// The server: `smtp://host:port`, `smtps://...`, or with STARTTLS `smtp://...?tls=required`.
    pub server: String,
    /// The sender.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// The user to log in as.
    pub user: Option<String>,
    /// The password.
    pub password: Option<SecretFrom>,
    /// A file of certificates that the server is trusted by too, beside those that the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// Where a secret is read from, each time it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFrom {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

/// A channel as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNotify {
    #[serde(default)]
    name: Option<String>,
    smtp: Option<String>,
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    user: Option<String>,
    password_file: Option<values::Absolute>,
    password_env: Option<String>,
    webhook: Option<String>,
    header_file: Option<values::Absolute>,
    header_env: Option<String>,
    ca_file: Option<values::Absolute>,
    command: Option<String>,
    on: Option<Vec<On>>,
    #[serde(default, deserialize_with = "values::schedule_if_any")]
    digest: Option<Schedule>,
    hourly: Option<u32>,
}

impl RawNotify {
    /// The channel, the `number`-th of the file from 1. The error says what is wrong.
    pub(super) fn channel(self, number: usize) -> Result<Channel, String> {
        let header = secret(self.header_file, self.header_env, "header")?;
        let password = secret(self.password_file, self.password_env, "password")?;
        let mail = self.from.is_some() || !self.to.is_empty() || self.user.is_some() || password.is_some();
        let (of_mail, of_webhook) = (mail && self.smtp.is_none(), header.is_some() && self.webhook.is_none());
        if of_mail || of_webhook {
            let (what, needs) = if of_mail { ("from, to, user and password", "smtp") } else { ("a header", "webhook") };
            return Err(format!("[[notify]] has {what} without {needs}: they belong together"));
        }
        let ca_file = self.ca_file.map(|file| file.0);
        if ca_file.is_some() && self.smtp.is_none() && self.webhook.is_none() {
            return Err("[[notify]] has ca-file without smtp or webhook: they belong together".into());
        }
        let way = match (self.smtp, self.webhook, self.command) {
            (Some(server), None, None) => {
                let from = self.from.ok_or("[[notify]] with smtp needs `from`, the sender's address")?;
                if self.to.is_empty() {
                    return Err("[[notify]] with smtp needs `to`, a list of addresses".into());
                }
                check_url(&server, &["smtp://", "smtps://"], "smtp")?;
                Way::Smtp(Smtp { server, from, to: self.to, user: self.user, password, ca_file })
            }
            (None, Some(url), None) => {
                check_url(&url, &["http://", "https://"], "webhook")?;
                Way::Webhook { url, header, ca_file }
            }
            (None, None, Some(command)) => Way::Command(command),
            _ => return Err("[[notify]] needs exactly one of smtp, webhook and command".into()),
        };
        let digest = match self.digest {
            Some(digest) => digest,
            None => "daily 08:00".parse().map_err(|e: ScheduleError| e.to_string())?,
        };
        Ok(Channel {
            name: self.name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| format!("notify-{number}")),
            way,
            on: self.on.unwrap_or_else(|| vec![On::Failure, On::Recovery, On::Overdue]),
            digest,
            hourly: self.hourly.unwrap_or(20).max(1),
        })
    }
}

fn check_url(url: &str, schemes: &[&str], what: &str) -> Result<(), String> {
    match schemes.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty())) {
        true => Ok(()),
        false => Err(format!("{url:?} is no URL for {what}: it begins with {}", schemes.join(" or "))),
    }
}

fn secret(file: Option<values::Absolute>, env: Option<String>, what: &str) -> Result<Option<SecretFrom>, String> {
    match (file, env) {
        (Some(_), Some(_)) => {
            Err(format!("[[notify]] says twice from where the {what} comes: give {what}-file or {what}-env"))
        }
        (file, env) => Ok(file.map(|f| SecretFrom::File(f.0)).or(env.map(SecretFrom::Env))),
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || {
        D::Error::custom(format!("{text:?} is no address: write an IP address and a port, such as \"127.0.0.1:9841\""))
    };
    text.parse().map(Some).map_err(|_| wrong())
}
