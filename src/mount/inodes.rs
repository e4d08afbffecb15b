//! Inode numbers: arithmetic, without a table of files. All lie below 2^63.
//!
//! | bits 62, 61 | below | what |
//! | --- | --- | --- |
//! | 1 | source (14), names but one (8), version (40) | anything but a directory; the same in every view that shows this version with as many names |
//! | 1 | view (20), source's place in this mount (6), version (36) | the same where each view has its own numbers |
//! | 0, 1 | view (20), source (14), serial of the directory (27) | a directory of a view |
//! | 0, 0 | number of a place | the root, the timeline, links that move |
//!
//! A directory never has the same number in two views: a process that stands in it would be moved to the other one.

use crate::config::model::Inodes;
use crate::types::ids::{Node, SourceNum, Ver};

const FILE: u64 = 1 << 62;
const DIR: u64 = 1 << 61;

const TAG_BITS: u32 = 20;
const SOURCE_BITS: u32 = 14;
const SERIAL_BITS: u32 = 27;
const VER_BITS: u32 = 40;
/// Names of a file beyond the first; a file with more of them has the largest number.
const LINK_BITS: u32 = 8;
/// Of [`Split::PerView`]: sources that a mount can show, and versions of each.
const SLOT_BITS: u32 = 6;
const OWN_VER_BITS: u32 = 36;

/// The mount's root, as FUSE numbers it.
pub const ROOT: u64 = 1;

/// The number of a view in this mount: 20 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tag(pub u32);

impl Tag {
    /// How many there are.
    pub const COUNT: u32 = 1 << TAG_BITS;
}

/// How many numbers there are for directories above the roots of sources.
pub const ABOVE_COUNT: u32 = 1 << SERIAL_BITS;

/// How files are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Split {
    /// By version: a file that is unchanged between two views is the same file to every program.
    #[default]
    Shared,
    /// By view and version: for programs that must not take two views' files for one. Up to 64 sources a mount and 2^36
    /// versions a source; beyond that EOVERFLOW.
    PerView,
}

impl Split {
    /// What the settings say.
    pub fn of(inodes: Inodes) -> Split {
        match inodes {
            Inodes::Shared => Split::Shared,
            Inodes::PerView => Split::PerView,
        }
    }
}

/// What an inode number means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ino {
    /// A place of the mount's own, by its number.
    Place(u64),
    /// A directory above the roots of sources, by the number of its path.
    Above(Tag, u32),
    /// A captured directory.
    Dir(Tag, SourceNum, Node),
    /// Anything else that was captured, with the number of names that it has beyond the first: what a program sees of a file never
    /// changes, and the number of its names is part of that.
    File(SourceNum, u8, Ver),
    /// The same, where each view has its own numbers: the view, and the source's slot.
    OwnFile(Tag, u8, Ver),
}

/// A number does not fit: the repository has outgrown this way of numbering.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} {number} does not fit into an inode number")]
pub struct TooLarge {
    /// What was to be numbered.
    pub what: &'static str,
    /// Its number.
    pub number: u64,
}

fn fit(what: &'static str, number: u64, bits: u32) -> Result<u64, TooLarge> {
    if number >> bits == 0 { Ok(number) } else { Err(TooLarge { what, number }) }
}

impl Ino {
    /// As a number.
    pub fn encode(self) -> Result<u64, TooLarge> {
        let dir = |tag: Tag, source: u64, serial: u64| {
            DIR | u64::from(tag.0) << (SOURCE_BITS + SERIAL_BITS) | source << SERIAL_BITS | serial
        };
        Ok(match self {
            Ino::Place(number) => fit("the place", number, 61)?,
            Ino::Above(tag, number) => dir(tag, 0, fit("the path", u64::from(number), SERIAL_BITS)?),
            Ino::Dir(tag, source, node) => {
                let source = fit("the source", u64::from(source.0), SOURCE_BITS)?;
                dir(tag, source, fit("the directory", node.serial(), SERIAL_BITS)?)
            }
            Ino::File(source, links, ver) => {
                let source = fit("the source", u64::from(source.0), SOURCE_BITS)?;
                let ver = fit("the version", ver.0, VER_BITS)?;
                FILE | source << (LINK_BITS + VER_BITS) | u64::from(links) << VER_BITS | ver
            }
            Ino::OwnFile(tag, slot, ver) => {
                let slot = fit("the source", u64::from(slot), SLOT_BITS)?;
                let ver = fit("the version", ver.0, OWN_VER_BITS)?;
                FILE | u64::from(tag.0) << (SLOT_BITS + OWN_VER_BITS) | slot << OWN_VER_BITS | ver
            }
        })
    }

    /// From a number.
    pub fn decode(number: u64, split: Split) -> Ino {
        let field = |shift: u32, bits: u32| number >> shift & ((1 << bits) - 1);
        if number & FILE != 0 {
            return match split {
                Split::Shared => Ino::File(
                    SourceNum(field(LINK_BITS + VER_BITS, SOURCE_BITS) as u16),
                    field(VER_BITS, LINK_BITS) as u8,
                    Ver(field(0, VER_BITS)),
                ),
                Split::PerView => Ino::OwnFile(
                    Tag(field(SLOT_BITS + OWN_VER_BITS, TAG_BITS) as u32),
                    field(OWN_VER_BITS, SLOT_BITS) as u8,
                    Ver(field(0, OWN_VER_BITS)),
                ),
            };
        }
        if number & DIR == 0 {
            return Ino::Place(number);
        }
        let tag = Tag(field(SOURCE_BITS + SERIAL_BITS, TAG_BITS) as u32);
        match field(SERIAL_BITS, SOURCE_BITS) as u16 {
            0 => Ino::Above(tag, field(0, SERIAL_BITS) as u32),
            source => Ino::Dir(tag, SourceNum(source), Node::directory(field(0, SERIAL_BITS))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_and_stay_below_two_to_the_63rd() {
        let (tag, source) = (Tag(Tag::COUNT - 1), SourceNum(SourceNum::MAX));
        for (ino, split) in [
            (Ino::Place(ROOT), Split::Shared),
            (Ino::Place((1 << 61) - 1), Split::PerView),
            (Ino::Above(Tag(0), 0), Split::Shared),
            (Ino::Above(tag, ABOVE_COUNT - 1), Split::PerView),
            (Ino::Dir(tag, source, Node::directory((1 << 27) - 1)), Split::Shared),
            (Ino::Dir(Tag(0), SourceNum(1), Node::ROOT), Split::PerView),
            (Ino::File(source, 255, Ver((1 << 40) - 1)), Split::Shared),
            (Ino::File(SourceNum(1), 0, Ver(1)), Split::Shared),
            (Ino::OwnFile(tag, 63, Ver((1 << 36) - 1)), Split::PerView),
            (Ino::OwnFile(Tag(0), 0, Ver(1)), Split::PerView),
        ] {
            let number = ino.encode().unwrap();
            assert!(number < 1 << 63 && number != 0, "{ino:?}");
            assert_eq!(Ino::decode(number, split), ino);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for ino in [
            Ino::Dir(Tag(1), SourceNum(1), Node::directory(1 << 27)),
            Ino::Dir(Tag(1), SourceNum(1 << 14), Node::ROOT),
            Ino::File(SourceNum(1), 0, Ver(1 << 40)),
            Ino::OwnFile(Tag(1), 64, Ver(1)),
            Ino::OwnFile(Tag(1), 0, Ver(1 << 36)),
            Ino::Place(1 << 61),
        ] {
            assert!(ino.encode().is_err(), "{ino:?}");
        }
    }

    #[test]
    fn directories_differ_between_views_and_files_do_not() {
        let dir = |tag| Ino::Dir(Tag(tag), SourceNum(3), Node::ROOT).encode().unwrap();
        assert_ne!(dir(1), dir(2));
        let own = |tag| Ino::OwnFile(Tag(tag), 0, Ver(9)).encode().unwrap();
        assert_ne!(own(1), own(2));
    }
}
