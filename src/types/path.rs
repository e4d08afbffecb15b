//! Paths and names are bytes. These helpers show them to people and take them apart.

use std::fmt::Write as _;

/// How the names of directories begin in which a restore keeps what it replaces.
pub const ASIDE_PREFIX: &str = ".bygone-aside-";
/// How the names of directories begin in which a restore makes a tree.
pub const STAGE_PREFIX: &str = ".bygone-stage-";

/// What stands in the name of the directory beside one that is being brought back by a recovery, before its id.
pub const RECOVERY_MARK: &str = ".bygone-recover-";
/// What stands in the name of the directory beside one that a recovery has brought back, in which is what stood there before; an id comes
/// after it.
pub const BEFORE_MARK: &str = ".bygone-before-";
/// The hexadecimal digits of the id of a recovery.
const RECOVERY_ID: usize = 8;

/// Whether a name is that of a directory which a restore or a recovery has made beside what is brought back: never captured, and never
/// removed by a restore.
pub fn is_beside(name: &[u8]) -> bool {
    [ASIDE_PREFIX, STAGE_PREFIX].iter().any(|prefix| name.starts_with(prefix.as_bytes())) || is_of_recovery(name)
}

/// Whether a name is that of a directory which a recovery has made.
pub fn is_of_recovery(name: &[u8]) -> bool {
    let Some((rest, id)) = name.len().checked_sub(RECOVERY_ID).map(|at| name.split_at(at)) else { return false };
    let is_marked = [RECOVERY_MARK, BEFORE_MARK].iter().any(|mark| rest.ends_with(mark.as_bytes()));
    is_marked && id.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name or path for people: printable text as it is, anything else as `\n`, `\t`, `\\` or `\xNN`, so that a name can't
/// disturb a terminal and two names never look the same.
pub fn show(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                c if c.is_control() || is_invisible(c) => {
                    let _ = c.to_string().bytes().try_for_each(|b| write!(out, "\\x{b:02x}"));
                }
                c => out.push(c),
            }
        }
        for b in part.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// A text of our own that may have names in it which were shown to nobody before: what would disturb a terminal is told as
/// `\xNN`, all else, lines too, is left as it is.
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && (c.is_control() || is_invisible(c)) {
            let _ = c.to_string().bytes().try_for_each(|b| write!(out, "\\x{b:02x}"));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that reorder or hide text: bidirectional controls, zero-width characters, line separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The components of a path; empty ones and `.` are left out, `..` is not resolved.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// `dir/name`, without doubling the slash of the root.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = dir.to_vec();
    if !name.is_empty() {
        if out.last() != Some(&b'/') && !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(name);
    }
    out
}

/// How a path stands to another one, for a message: it `is` that, `lies inside` it or `contains` it; `None` where they are apart.
pub fn relation(path: &[u8], other: &[u8]) -> Option<&'static str> {
    match (is_within(path, other), is_within(other, path)) {
        (true, true) => Some("is"),
        (true, false) => Some("lies inside"),
        (false, true) => Some("contains"),
        (false, false) => None,
    }
}

/// Whether `path` is `dir` or lies below it. Both absolute, without a trailing slash.
pub fn is_within(path: &[u8], dir: &[u8]) -> bool {
    dir == b"/" || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Whether `name` can be the name of an entry: 1 to 255 bytes, no slash, no NUL, not `.` or `..`.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_escapes_what_could_mislead() {
        assert_eq!(show(b"a b\n"), "a b\\n");
        assert_eq!(show(b"\xff\x1b"), "\\xff\\x1b");
        assert_eq!(show("\u{202e}x".as_bytes()), "\\xe2\\x80\\xaex");
        assert_eq!(show("naïve\\".as_bytes()), "naïve\\\\");
    }

    #[test]
    fn within_needs_a_whole_component() {
        assert!(is_within(b"/a/b", b"/a"));
        assert!(is_within(b"/a", b"/a"));
        assert!(!is_within(b"/ab", b"/a"));
        assert!(is_within(b"/ab", b"/"));
    }
}
