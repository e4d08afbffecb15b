//! Where an entry stands: the run of a program on a host, and its number there.

use crate::repo::names::{AUDIT, Epoch};
use crate::repo::open::Repository;
use crate::types::ids::Id;
use std::fmt;

/// One run of a program that wrote entries.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Run {
    /// What stands for the host: its name, hashed under a key.
    pub host: Id,
    /// The run.
    pub epoch: Epoch,
}

impl Run {
    /// The run written `<host>/<epoch>`.
    pub fn parse(text: &str) -> Option<Run> {
        let (host, epoch) = text.split_once('/')?;
        Some(Run { host: Id::parse(host)?, epoch: Epoch::parse(epoch)? })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.epoch.as_str())
    }
}

/// The place of an entry.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The run.
    pub run: Run,
    /// The entry's number in it, from 0.
    pub number: u64,
}

impl Place {
    /// Its object's name: `audit/<host>/<epoch>-<number>`.
    pub fn name(&self) -> String {
        format!("{AUDIT}{}-{:012x}", self.run, self.number)
    }

    /// The place with this name; `None` for any other name.
    pub fn parse(name: &str) -> Option<Place> {
        let (run, number) = name.strip_prefix(AUDIT)?.split_once('-')?;
        let place = Place { run: Run::parse(run)?, number: u64::from_str_radix(number, 16).ok()? };
        (place.name() == name).then_some(place)
    }
}

/// What stands for a host in names, so that the store does not learn its name.
pub fn host_id(repo: &Repository, host: &str) -> Id {
    let hash = repo.keys().authenticate(format!("audit host {host}").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.0[..16]);
    Id(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let run = Run { host: Id([3; 16]), epoch: Epoch::new(7, [1, 2, 3, 4]) };
        let place = Place { run, number: 300 };
        assert_eq!(Place::parse(&place.name()), Some(place.clone()));
        for wrong in [place.name().to_uppercase(), place.name().replace("-0", "-"), format!("{}0", place.name())] {
            assert_eq!(Place::parse(&wrong), None, "{wrong}");
        }
    }
}
