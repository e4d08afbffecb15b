//! The role of a key: what its holder may do, and what that keeps from him.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What the holder of a key may do with a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    #[default]
    Admin,
    /// Reads all history and content, and changes nothing.
    Reader,
    /// Captures, and can't read content: not even what it captured itself.
    Writer,
    /// Checks structure, retention and the audit trail, and sees no content.
    Auditor,
}

/// What something needs of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// What a repository says of itself: names, times, sizes, holds, the audit trail.
    Structure,
    /// To capture and deduplicate.
    Capture,
    /// To tell whether content that is at hand is in the repository.
    Known,
    /// The content of files.
    Content,
    /// To add, remove and rotate keys.
    Keys,
    /// To place, lengthen and release holds, and to export under them.
    Holds,
    /// To release and delete what is not kept, and to mend.
    Collect,
}

/// A key does not have the role that something needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this key has the role {role}: it cannot {need}; use a key with the role {}", need.roles())]
pub struct Denied {
    /// The role that it has.
    pub role: Role,
    /// What it was to be used for.
    pub need: Need,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Admin, Role::Reader, Role::Writer, Role::Auditor];

    /// Whether a key with this role is enough.
    pub fn may(self, need: Need) -> bool {
        match need {
            Need::Structure => true,
            Need::Capture => matches!(self, Role::Admin | Role::Writer),
            Need::Known => self != Role::Auditor,
            Need::Content => matches!(self, Role::Admin | Role::Reader),
            Need::Keys | Need::Holds | Need::Collect => self == Role::Admin,
        }
    }

    /// Fails where a key with this role is not enough.
    pub fn check(self, need: Need) -> Result<(), Denied> {
        if self.may(need) { Ok(()) } else { Err(Denied { role: self, need }) }
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Auditor => "auditor",
        }
    }

    /// Its number in stored bytes.
    pub fn number(self) -> u8 {
        match self {
            Role::Admin => 0,
            Role::Reader => 1,
            Role::Writer => 2,
            Role::Auditor => 3,
        }
    }
}

impl Role {
    /// The role with this number in stored bytes.
    pub fn of_number(number: u8) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.number() == number)
    }
}

impl Need {
    fn roles(self) -> String {
        let roles: Vec<&str> = Role::ALL.into_iter().rev().filter(|r| r.may(self)).map(Role::word).collect();
        roles.join(" or ")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Need::Structure => "read what the repository says of itself",
            Need::Capture => "capture",
            Need::Known => "tell whether content that is at hand is in the repository",
            Need::Content => "read content",
            Need::Keys => "add, remove or rotate keys",
            Need::Holds => "place or release holds",
            Need::Collect => "release, delete or mend what is stored",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("{text:?} is no role: there are admin, reader, writer and auditor"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_to_use() {
        let denied = Role::Writer.check(Need::Content).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "this key has the role writer: it cannot read content; use a key with the role reader or admin"
        );
        assert!(Role::ALL.into_iter().all(|role| role.check(Need::Structure).is_ok()));
        assert!(Role::ALL.into_iter().all(|role| role.word().parse() == Ok(role)));
    }
}
