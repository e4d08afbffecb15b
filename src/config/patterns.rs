//! What of a source is left out.
//!
//! Patterns have gitignore syntax and are relative to the root of the source. All `exclude` patterns are taken in their
//! order, then all `include` patterns; the last one that matches decides. An `include` pattern is the `exclude` pattern with a
//! `!` before it: an exception. With no `exclude` it therefore says nothing, and nothing is left out.
//!
//! As in git, a directory that is left out is not descended into, so nothing below it can be taken back: to keep one file
//! of a directory, exclude `/cache/*` and not `/cache`, and include `/cache/keep`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A pattern that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {list} pattern {pattern:?} cannot be used: {why}")]
pub struct PatternError {
    /// `exclude` or `include`.
    pub list: &'static str,
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it and what to write.
    pub why: String,
}

/// The compiled patterns of one source. Cheap to ask, from any thread.
#[derive(Debug)]
pub struct Patterns {
    /// None if there is no pattern: then a look-up costs nothing.
    set: Option<Gitignore>,
}

impl Patterns {
    /// Compiles the patterns of a source. The first that can't be used is the error; [`errors`] finds them all.
    pub fn compile(exclude: &[String], include: &[String]) -> Result<Patterns, PatternError> {
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        for pattern in exclude {
            add(&mut builder, "exclude", pattern)?;
        }
        for pattern in include {
            add(&mut builder, "include", pattern)?;
        }
        if exclude.is_empty() && include.is_empty() {
            return Ok(Patterns { set: None });
        }
        let whole = |e: ignore::Error| PatternError {
            list: "exclude",
            pattern: exclude.join(", "),
            why: format!("together the patterns are too large: {e}"),
        };
        Ok(Patterns { set: Some(builder.build().map_err(whole)?) })
    }

    /// Whether the entry `rel`, a path relative to the root of the source, is left out. What lies below a directory that is
    /// left out is not to be asked for: the caller does not descend.
    pub fn excluded(&self, rel: &[u8], is_dir: bool) -> bool {
        match &self.set {
            None => false,
            Some(set) => set.matched(Path::new(OsStr::from_bytes(rel)), is_dir).is_ignore(),
        }
    }
}

/// All patterns that can't be used.
pub fn errors(exclude: &[String], include: &[String]) -> Vec<PatternError> {
    let each = |list, patterns: &[String]| -> Vec<PatternError> {
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        patterns.iter().filter_map(|p| add(&mut builder, list, p).err()).collect()
    };
    let mut all = each("exclude", exclude);
    all.extend(each("include", include));
    all
}

fn add(builder: &mut GitignoreBuilder, list: &'static str, pattern: &str) -> Result<(), PatternError> {
    let error = |why: String| PatternError { list, pattern: pattern.to_owned(), why };
    let blank = pattern.trim_end().trim_start_matches(['!', '/']).is_empty();
    if blank {
        return Err(error("it names nothing".into()));
    }
    if pattern.starts_with('#') {
        return Err(error("gitignore takes it for a comment; write \\# for a name that begins with #".into()));
    }
    if list == "include" && pattern.starts_with('!') {
        return Err(error("an include pattern already is an exception; take the ! away, or write \\!".into()));
    }
    let line = if list == "include" { format!("!{pattern}") } else { pattern.to_owned() };
    builder.add_line(None, &line).map(|_| ()).map_err(|e| match e {
        ignore::Error::Glob { err, .. } => error(err),
        other => error(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn patterns(exclude: &[&str], include: &[&str]) -> Patterns {
        let owned = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        Patterns::compile(&owned(exclude), &owned(include)).unwrap()
    }

    #[test]
    fn gitignore_syntax_relative_to_the_root() {
        let p = patterns(&["*.o", "/build", "tmp/", "a/**/z", "!keep.o"], &[]);
        for (path, is_dir, out) in [
            ("x.o", false, true),
            ("deep/x.o", false, true),
            ("deep/keep.o", false, false),
            ("build", true, true),
            ("deep/build", true, false),
            ("deep/tmp", true, true),
            ("deep/tmp", false, false),
            ("a/b/c/z", false, true),
            ("b/a/z", false, false),
            (".", true, false),
            (".hidden", false, false),
        ] {
            assert_eq!(p.excluded(path.as_bytes(), is_dir), out, "{path}");
        }
    }

    #[test]
    fn includes_are_exceptions_and_no_restriction() {
        let p = patterns(&["/cache/*", "*.iso"], &["/cache/keep", "\\!odd.iso"]);
        assert!(p.excluded(b"cache/drop", false) && !p.excluded(b"cache/keep", false));
        assert!(p.excluded(b"odd.iso", false) && !p.excluded(b"!odd.iso", false));
        let only = patterns(&[], &["*.rs"]);
        assert!(!only.excluded(b"x.c", false) && !only.excluded(b"x.rs", false));
    }

    #[test]
    fn names_that_are_no_text() {
        let p = patterns(&["*.bak", "f?o"], &[]);
        assert!(p.excluded(b"\xff\xfe.bak", false));
        assert!(p.excluded(b"dir\xff/x\ny.bak", false));
        assert!(p.excluded(b"f\xffo", false));
        assert!(!p.excluded(b"\xff\xfe.bat", false));
    }

    #[test]
    fn git_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| Command::new("git").current_dir(dir.path()).args(args).output();
        if git(&["init", "-q"]).is_err() {
            eprintln!("git is not installed: not compared");
            return;
        }
        let list = ["*.o", "/top", "d/", "a/*/c", "**/deep", "x/**", "![ab].o", "s\\ ", "\\#h", "[!z]q", "f?o"];
        crate::sys::durable::replace(&dir.path().join(".gitignore"), list.join("\n").as_bytes(), 0o644).unwrap();
        let p = patterns(&list, &[]);
        for path in [
            "x.o", "a.o", "n/b.o", "top", "n/top", "a/b/c", "a/b/b/c", "n/a/b/c", "deep", "n/n/deep", "x", "x/y",
            "n/x/y", "s ", "s", "#h", "aq", "zq", "foo", "fo", "f/o", "d",
        ] {
            let ignored = git(&["check-ignore", "-q", "--no-index", path]).unwrap().status.success();
            assert_eq!(p.excluded(path.as_bytes(), false), ignored, "{path}");
        }
    }

    #[test]
    fn errors_name_their_pattern() {
        let list = ["a[".to_owned(), String::new(), "# x".to_owned(), "/".to_owned(), "ok".to_owned()];
        let found = errors(&list, &["!x".to_owned()]);
        let named: Vec<_> = found.iter().map(|e| (e.list, e.pattern.as_str())).collect();
        assert_eq!(
            named,
            [("exclude", "a["), ("exclude", ""), ("exclude", "# x"), ("exclude", "/"), ("include", "!x")]
        );
        assert!(Patterns::compile(&list, &[]).unwrap_err().to_string().contains("\"a[\""));
    }
}
