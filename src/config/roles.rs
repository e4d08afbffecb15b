//! Who may do what by the socket of the service.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// What somebody may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See how things stand.
    View,
    /// Bring files back.
    Restore,
    /// Capture, pause, cancel.
    Operate,
    /// Change the settings.
    Administer,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 4] = [Role::View, Role::Restore, Role::Operate, Role::Administer];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Role::View => "view",
            Role::Restore => "restore",
            Role::Operate => "operate",
            Role::Administer => "administer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Somebody, as the settings name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A user by name.
    User(String),
    /// A user by number.
    Uid(u32),
    /// Everybody in the group of this name.
    Group(String),
    /// Everybody in the group of this number.
    Gid(u32),
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Who, D::Error> {
        let text = String::deserialize(from)?;
        let (is_group, name) = text.strip_prefix('@').map_or((false, text.as_str()), |name| (true, name));
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '/' | '@' | ',');
        if name.is_empty() || name.len() > 256 || !name.chars().all(plain) {
            let rule = "write a user like \"alice\", a group like \"@auditors\", or a number like \"1000\" or \"@100\"";
            return Err(D::Error::custom(format!("{text:?} names nobody: {rule}")));
        }
        Ok(match (name.parse().ok(), is_group) {
            (Some(number), false) => Who::Uid(number),
            (Some(number), true) => Who::Gid(number),
            (None, false) => Who::User(name.to_owned()),
            (None, true) => Who::Group(name.to_owned()),
        })
    }
}

/// Who has which role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Roles {
    /// Who may see how things stand.
    pub view: Vec<Who>,
    /// Who may bring files back.
    pub restore: Vec<Who>,
    /// Who may capture, pause and cancel.
    pub operate: Vec<Who>,
    /// Who may change the settings.
    pub administer: Vec<Who>,
}

impl Roles {
    /// Who has a role by name.
    pub fn of(&self, role: Role) -> &[Who] {
        match role {
            Role::View => &self.view,
            Role::Restore => &self.restore,
            Role::Operate => &self.operate,
            Role::Administer => &self.administer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_by_name_and_number() {
        let roles: Roles = toml::from_str("view = [\"@auditors\", \"alice\"]\noperate = [\"1000\", \"@100\"]").unwrap();
        assert_eq!(roles.view, [Who::Group("auditors".into()), Who::User("alice".into())]);
        assert_eq!(roles.of(Role::Operate), [Who::Uid(1000), Who::Gid(100)]);
        for wrong in ["\"\"", "\"@\"", "\"a b\"", "\"@@x\"", "7", "\"a:b\""] {
            assert!(toml::from_str::<Roles>(&format!("view = [{wrong}]")).is_err(), "{wrong}");
        }
        assert!(Role::View < Role::Restore && Role::Restore < Role::Operate && Role::Operate < Role::Administer);
    }
}
