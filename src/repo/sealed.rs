//! Small sealed objects: a header, and one piece sealed at position 0.

use crate::crypto::{random, seal::ObjectKind};
use crate::repo::{error::RepoError, header, open::Repository};

/// The longest such object that a reader accepts, in bytes.
pub(super) const MAX: u64 = 4 << 20;

/// The bytes of an object of this name that holds `plain`.
pub(super) fn seal(repo: &Repository, kind: ObjectKind, name: &str, plain: &[u8]) -> Result<Vec<u8>, RepoError> {
    let id = random::id()?;
    let generation = repo.keys().in_force()?;
    let mut bytes = header::write(kind, id, repo.keys().sealing(), generation).to_vec();
    bytes.extend_from_slice(plain);
    repo.keys().object(generation, kind, id, name)?.seal(0, &mut bytes, header::LEN);
    Ok(bytes)
}

/// What the object of this name holds.
pub(super) fn read(repo: &Repository, kind: ObjectKind, name: &str) -> Result<Vec<u8>, RepoError> {
    open(repo, kind, name, &repo.store().get(name, MAX)?)
}

/// What an object of this name and these bytes holds.
pub(super) fn open(repo: &Repository, kind: ObjectKind, name: &str, bytes: &[u8]) -> Result<Vec<u8>, RepoError> {
    let damaged = |why| repo.damaged(name, "header", why);
    let (id, generation) = header::read(bytes, kind, repo.keys().sealing()).map_err(damaged)?;
    let key = repo.keys().object(generation, kind, id, name).map_err(|e| repo.damaged(name, "header", e.into()))?;
    let mut piece = bytes[header::LEN..].to_vec();
    key.open(0, &mut piece).map_err(|e| repo.damaged(name, "content", e.into()))?;
    Ok(piece)
}
