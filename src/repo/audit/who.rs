//! Who did something.

use serde::{Deserialize, Serialize};

/// Who did something, as far as the machine knows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Who {
    /// The host, as the settings name it.
    pub host: String,
    /// The user whose rights the process has.
    pub uid: u32,
    /// That user's name.
    pub user: Option<String>,
    /// Who became that user by sudo.
    pub sudo_user: Option<String>,
    /// Who logged in to the session.
    pub login_user: Option<String>,
    /// The program and its version.
    pub program: String,
    /// The number of the process.
    pub pid: u32,
}

impl Who {
    /// For people: `root (sudo by anna) on web1`.
    pub fn words(&self) -> String {
        let user = self.user.clone().unwrap_or_else(|| format!("user {}", self.uid));
        let by = match (&self.sudo_user, &self.login_user) {
            (Some(sudo), _) if *sudo != user => format!(" (by sudo of {sudo})"),
            (_, Some(login)) if *login != user => format!(" (logged in as {login})"),
            _ => String::new(),
        };
        format!("{user}{by} on {}", self.host)
    }
}
