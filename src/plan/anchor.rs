//! A place as it was when something was made there: the directory that was there already, by its identity, and the way below it.

use crate::repo::audit::event::{bytes_value, value_bytes};
use crate::sys::{dir, stat};
use crate::types::{attr::Place, path};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Where a path led to, so that nothing is ever removed from where it leads to later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The directory that was there: the path itself, or the nearest one above it.
    #[serde(with = "as_value")]
    above: Vec<u8>,
    /// Its device.
    dev: u64,
    /// Its inode number.
    ino: u64,
    /// The rest of the path below it, which was not there.
    #[serde(with = "as_value")]
    rest: Vec<u8>,
}

impl Anchor {
    /// Where `path` (absolute, without `..`) leads to now.
    pub(super) fn of(path: &Path) -> io::Result<Anchor> {
        for above in path.ancestors() {
            match dir::open_root(above) {
                Ok(fd) => {
                    let Place { dev, ino } = stat::of(&fd)?.place;
                    let rest = path.strip_prefix(above).unwrap_or(Path::new("")).as_os_str().as_bytes().to_vec();
                    return Ok(Anchor { above: above.as_os_str().as_bytes().to_vec(), dev, ino, rest });
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// The directory that was there, open. The error says why it is not the same one.
    pub(super) fn open(&self) -> Result<OwnedFd, String> {
        let shown = path::show(&self.above);
        let found = dir::open_root(Path::new(OsStr::from_bytes(&self.above)))
            .and_then(|fd| stat::of(&fd).map(|now| (fd, now.place)));
        match found {
            Ok((fd, place)) if place == (Place { dev: self.dev, ino: self.ino }) => Ok(fd),
            Ok(_) => Err(format!("{shown} is another directory now than the one that was used")),
            Err(e) => Err(format!("{shown}, the directory that was used, can't be opened: {e}")),
        }
    }

    /// The names below the directory that was there.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// The path as it was named.
    pub(super) fn path(&self) -> Vec<u8> {
        match self.rest.is_empty() {
            true => self.above.clone(),
            false => path::join(&self.above, &self.rest),
        }
    }

    /// Whether the path `path` was meant, and leads to the same place still.
    pub(super) fn still_leads(&self, path: &Path) -> bool {
        let place = |fd: OwnedFd| stat::of(fd).map(|now| now.place);
        let Ok(above) = self.open() else { return false };
        let here = dir::open_root(path).and_then(place);
        let there = dir::open_beneath(&above, &self.rest).and_then(place);
        let both_gone =
            |a: &io::Error, b: &io::Error| a.kind() == io::ErrorKind::NotFound && b.kind() == io::ErrorKind::NotFound;
        self.path() == path.as_os_str().as_bytes()
            && match (here, there) {
                (Ok(here), Ok(there)) => here == there,
                (Err(a), Err(b)) => both_gone(&a, &b),
                _ => false,
            }
    }
}

/// Bytes as they stand in JSON.
pub(super) mod as_value {
    use super::{bytes_value, value_bytes};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(in crate::plan) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        bytes_value(bytes).serialize(to)
    }

    pub(in crate::plan) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        value_bytes(&value).ok_or_else(|| D::Error::custom("neither a text nor bytes"))
    }
}
