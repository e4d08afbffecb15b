//! What of a tree is compared, and what is left out.

/// Something that can differ between a directory and an instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Aspect {
    /// The type of a node.
    Type,
    /// The bytes of a file, the target of a symbolic link, the number of a device.
    Content,
    /// The permission bits, with setuid, setgid and sticky.
    Mode,
    /// Owner and group.
    Owner,
    /// The time of the last modification.
    Times,
    /// Extended attributes, ACLs among them.
    Xattrs,
    /// Inode flags that can be set.
    Flags,
    /// Which names lead to one file.
    Links,
    /// Names that the instant does not have.
    Extra,
}

impl Aspect {
    /// Those that may be left out.
    pub const OPTIONAL: [Aspect; 7] =
        [Aspect::Mode, Aspect::Owner, Aspect::Times, Aspect::Xattrs, Aspect::Flags, Aspect::Links, Aspect::Extra];

    /// Its word in messages and receipts.
    pub fn word(self) -> &'static str {
        match self {
            Aspect::Type => "type",
            Aspect::Content => "content",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Times => "times",
            Aspect::Xattrs => "xattrs",
            Aspect::Flags => "flags",
            Aspect::Links => "links",
            Aspect::Extra => "extra",
        }
    }
}

/// What is left out of a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ignored(Vec<Aspect>);

impl Ignored {
    /// These, in a fixed order, each once. Type and content are never left out.
    pub fn new(aspects: impl IntoIterator<Item = Aspect>) -> Ignored {
        let mut all: Vec<Aspect> = aspects.into_iter().filter(|a| Aspect::OPTIONAL.contains(a)).collect();
        all.sort_unstable();
        all.dedup();
        Ignored(all)
    }

    /// Whether an aspect is left out.
    pub fn has(&self, aspect: Aspect) -> bool {
        self.0.contains(&aspect)
    }

    /// Their words.
    pub fn words(&self) -> Vec<&'static str> {
        self.0.iter().map(|aspect| aspect.word()).collect()
    }
}
