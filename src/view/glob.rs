//! Patterns for names and paths.

use globset::{GlobBuilder, GlobMatcher};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

/// A pattern that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the pattern {pattern:?}: {source}")]
pub struct GlobError {
    pattern: String,
    source: globset::Error,
}

/// A pattern: without a slash for names, with one for whole paths. `*` and `?` stop at slashes, `**` does not.
#[derive(Clone, Debug)]
pub struct Pattern {
    whole: GlobMatcher,
    /// What the last component of a path must match, where the pattern has a slash and says so.
    last: Option<GlobMatcher>,
    paths: bool,
    /// Bytes that every name which matches contains.
    needle: Vec<u8>,
    /// The plain text that every path which matches begins with.
    start: Vec<u8>,
}

impl Pattern {
    /// Reads a pattern. One with a slash that does not begin with one matches below any directory.
    pub fn new(text: &str) -> Result<Pattern, GlobError> {
        let glob = |text: &str| {
            let built = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
            built.map(|g| g.compile_matcher()).map_err(|source| GlobError { pattern: text.to_owned(), source })
        };
        let Some((_, last)) = text.rsplit_once('/') else {
            return Ok(Pattern {
                whole: glob(text)?,
                last: None,
                paths: false,
                needle: needle(text),
                start: Vec::new(),
            });
        };
        let rooted = if text.starts_with('/') { text.to_owned() } else { format!("/**/{text}") };
        // A slash inside braces or brackets takes the last part apart: then only the whole is compared.
        let last = Some(last).filter(|l| !l.is_empty() && !l.contains("**") && !text.contains(SPECIAL));
        let needle = last.map(needle).unwrap_or_default();
        let start = rooted.split(['*', '?', '{', '[', '\\']).next().unwrap_or_default().as_bytes().to_vec();
        Ok(Pattern { whole: glob(&rooted)?, last: last.map(glob).transpose()?, paths: true, needle, start })
    }

    /// Bytes that every name which matches contains: what the index can look for by itself. May be empty.
    pub fn needle(&self) -> &[u8] {
        &self.needle
    }

    /// Whether a name may match: for patterns of paths, whether it is worth making the path.
    pub fn name(&self, name: &[u8]) -> bool {
        let name = OsStr::from_bytes(name);
        match (self.paths, &self.last) {
            (false, _) => self.whole.is_match(name),
            (true, Some(last)) => last.is_match(name),
            (true, None) => true,
        }
    }

    /// Whether something in this directory may match; cheaper than the pattern itself.
    pub fn dir(&self, absolute: &[u8]) -> bool {
        absolute.iter().zip(&self.start).all(|(a, b)| a == b)
    }

    /// Whether a path matches whose name does.
    pub fn path(&self, absolute: &[u8]) -> bool {
        !self.paths || self.whole.is_match(OsStr::from_bytes(absolute))
    }
}

/// What may stand for something else than a run of any characters or one character.
const SPECIAL: [char; 3] = ['{', '[', '\\'];

/// The longest run of plain text in a pattern for names.
fn needle(text: &str) -> Vec<u8> {
    if text.contains(SPECIAL) {
        return Vec::new();
    }
    text.split(['*', '?']).max_by_key(|part| part.len()).unwrap_or_default().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &[u8]) -> bool {
        let pattern = Pattern::new(pattern).unwrap();
        let name = path.rsplit(|b| *b == b'/').next().unwrap();
        let matches = pattern.name(name) && pattern.path(path);
        let needle = pattern.needle();
        assert!(!matches || pattern.dir(&path[..path.len() - name.len() - 1]), "{pattern:?}");
        assert!(!matches || needle.is_empty() || name.windows(needle.len()).any(|w| w == needle), "{pattern:?}");
        matches
    }

    #[test]
    fn names_and_paths() {
        assert!(matches("*.odt", b"/home/me/thesis.odt"));
        assert!(matches("th?sis.{odt,tex}", b"/home/me/thesis.odt"));
        assert!(!matches("home", b"/home/me/thesis.odt"));
        assert!(matches("me/*.odt", b"/home/me/thesis.odt"));
        assert!(matches("/home/**/*.odt", b"/home/me/x/thesis.odt"));
        assert!(!matches("/home/*.odt", b"/home/me/thesis.odt"));
        assert!(matches("/home/**", b"/home/me/x"));
        assert!(matches("{a/b,c/d}", b"/x/c/d"));
        assert!(matches("*\u{ff}*", "/x/a\u{ff}b".as_bytes()) && matches("a*b", b"/x/a\xffb"));
        assert!(Pattern::new("a[").is_err());
    }
}
