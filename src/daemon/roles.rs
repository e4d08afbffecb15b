//! Which role somebody at the socket has.

use crate::config::roles::{Role, Roles, Who};
use crate::sys::{local::Peer, users};
use std::io;

/// The numbers of users and groups.
pub(super) trait Names {
    fn uid(&self, name: &str) -> io::Result<Option<u32>>;
    fn gid(&self, name: &str) -> io::Result<Option<u32>>;
}

/// As the system has them.
pub(super) struct System;

impl Names for System {
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        users::uid_of(name)
    }

    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        users::gid_of(name)
    }
}

/// The highest role that somebody has; root and the user `own` of the service administer. A name that nobody has, or that
/// can't be looked up, gives nobody anything.
pub(super) fn role_of(peer: &Peer, own: u32, roles: &Roles, names: &dyn Names) -> Option<Role> {
    if peer.uid == 0 || peer.uid == own {
        return Some(Role::Administer);
    }
    let known = |name: &str, found: io::Result<Option<u32>>| {
        found.unwrap_or_else(|e| {
            tracing::warn!("cannot look up {name:?} of [roles]: {e}");
            None
        })
    };
    let is = |who: &Who| match who {
        Who::Uid(uid) => *uid == peer.uid,
        Who::Gid(gid) => peer.gids.contains(gid),
        Who::User(name) => known(name, names.uid(name)) == Some(peer.uid),
        Who::Group(name) => known(name, names.gid(name)).is_some_and(|gid| peer.gids.contains(&gid)),
    };
    Role::ALL.into_iter().rev().find(|role| roles.of(*role).iter().any(is))
}

/// Somebody, for messages.
pub(super) fn shown(peer: &Peer) -> String {
    match users::name_of(peer.uid) {
        Ok(Some(name)) => format!("{name} (uid {})", peer.uid),
        _ => format!("uid {}", peer.uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Some3;

    impl Names for Some3 {
        fn uid(&self, name: &str) -> io::Result<Option<u32>> {
            match name {
                "alice" => Ok(Some(1000)),
                "broken" => Err(io::Error::other("no database")),
                _ => Ok(None),
            }
        }

        fn gid(&self, name: &str) -> io::Result<Option<u32>> {
            Ok((name == "auditors").then_some(50))
        }
    }

    #[test]
    fn the_highest_role_counts() {
        let who = |names: &[&str]| -> Vec<Who> {
            let list = names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(",");
            toml::from_str::<Roles>(&format!("view = [{list}]")).unwrap().view
        };
        let roles = Roles {
            view: who(&["@auditors", "alice", "broken"]),
            restore: who(&["nobody-of-this-name"]),
            operate: who(&["@60", "1001"]),
            administer: Vec::new(),
        };
        let role = |uid, gids: &[u32]| role_of(&Peer { pid: 1, uid, gids: gids.to_vec() }, 7, &roles, &Some3);
        assert_eq!(role(0, &[]), Some(Role::Administer));
        assert_eq!(role(7, &[]), Some(Role::Administer));
        assert_eq!(role(1000, &[]), Some(Role::View));
        assert_eq!(role(1000, &[60]), Some(Role::Operate));
        assert_eq!(role(1001, &[50]), Some(Role::Operate));
        assert_eq!(role(2000, &[50]), Some(Role::View));
        assert_eq!(role(2000, &[51]), None);
    }
}
