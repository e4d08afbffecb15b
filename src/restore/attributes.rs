//! Attributes at the end of making something, and at the end of everything.

use crate::index::error::IndexError;
use crate::index::tree::Reader;
use crate::restore::{
    mapping::Mapping,
    plan::Wanted,
    report::{Report, Why},
};
use crate::sys::{apply::Applied, meta};
use crate::types::attr::{Attr, Xattrs};
use std::collections::HashMap;

/// Sets of extended attributes that a thread keeps.
const SETS_MAX: usize = 1024;

/// Completes attributes from the index. One a thread.
pub(super) struct Attributes<'a> {
    index: &'a Reader,
    mapping: &'a Mapping,
    sets: HashMap<i64, Xattrs>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(index: &'a Reader, mapping: &'a Mapping) -> Attributes<'a> {
        Attributes { index, mapping, sets: HashMap::new() }
    }

    /// All attributes of a version.
    pub(super) fn whole(&mut self, wanted: &Wanted) -> Result<Attr, IndexError> {
        let mut attr = wanted.attr.clone();
        if wanted.xattr != 0 {
            if !self.sets.contains_key(&wanted.xattr) {
                if self.sets.len() >= SETS_MAX {
                    self.sets.clear();
                }
                self.sets.insert(wanted.xattr, self.index.xattrs(wanted.xattr)?);
            }
            attr.xattrs = self.mapping.xattrs(self.sets[&wanted.xattr].clone(), attr.mode);
        }
        Ok(attr)
    }
}

/// The flags that would keep a file from being put in place or linked: they are set when everything else is done.
pub(super) fn is_protected(attr: &Attr) -> bool {
    attr.flags & meta::PROTECTING_FLAGS != 0
}

/// The attributes without those flags.
pub(super) fn unprotected(attr: &Attr) -> Attr {
    Attr { flags: attr.flags & !meta::PROTECTING_FLAGS, ..attr.clone() }
}

/// Notes what could not be set.
pub(super) fn note(report: &mut Report, path: impl Fn() -> Vec<u8>, applied: Applied) {
    for problem in applied.problems {
        report.problem(path(), Why::Attribute(problem));
    }
}
