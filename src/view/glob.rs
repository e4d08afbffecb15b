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
}

impl Pattern {
    /// Reads a pattern. One with a slash that does not begin with one matches below any directory.
    pub fn new(text: &str) -> Result<Pattern, GlobError> {
        let glob = |text: &str| {
            let built = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
            built.map(|g| g.compile_matcher()).map_err(|source| GlobError { pattern: text.to_owned(), source })
        };
        let Some((_, last)) = text.rsplit_once('/') else {
            return Ok(Pattern { whole: glob(text)?, last: None, paths: false });
        };
        let rooted = if text.starts_with('/') { text.to_owned() } else { format!("/**/{text}") };
        // A slash inside braces or brackets takes the last part apart: then only the whole is compared.
        let last = if last.is_empty() || last.contains("**") { None } else { glob(last).ok() };
        let last = last.filter(|_| !text.contains(['{', '[', '\\']));
        Ok(Pattern { whole: glob(&rooted)?, last, paths: true })
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

    /// Whether a path matches whose name does.
    pub fn path(&self, absolute: &[u8]) -> bool {
        !self.paths || self.whole.is_match(OsStr::from_bytes(absolute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &[u8]) -> bool {
        let pattern = Pattern::new(pattern).unwrap();
        let name = path.rsplit(|b| *b == b'/').next().unwrap();
        pattern.name(name) && pattern.path(path)
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
