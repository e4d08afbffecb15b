//! Paths relative to a root: bytes without a slash at either end; `""` is the root itself.

/// The directory and the name; both empty for the root.
pub(crate) fn split(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (path[..at].to_vec(), path[at + 1..].to_vec()),
        None => (Vec::new(), path.to_vec()),
    }
}

/// Whether `path` is `dir` or lies below it.
pub(crate) fn within(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The path itself and all directories above it, to the root.
pub(crate) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]);
    let root = (!path.is_empty()).then_some(&b""[..]);
    std::iter::once(path).chain(slashes).chain(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_splits_into_directory_and_name() {
        assert_eq!(split(b"a/b/c"), (b"a/b".to_vec(), b"c".to_vec()));
        assert_eq!(split(b"c"), (vec![], b"c".to_vec()));
        assert_eq!(split(b""), (vec![], vec![]));
    }

    #[test]
    fn within_needs_a_whole_component_and_everything_is_in_the_root() {
        for (path, dir, is) in
            [("a/b", "a", true), ("a", "a", true), ("ab", "a", false), ("x", "", true), ("", "a", false)]
        {
            assert_eq!(within(path.as_bytes(), dir.as_bytes()), is, "{path} in {dir}");
        }
    }

    #[test]
    fn ancestors_end_at_the_root() {
        let all: Vec<&[u8]> = ancestors(b"a/b/c").collect();
        assert_eq!(all, [&b"a/b/c"[..], b"a/b", b"a", b""]);
        assert_eq!(ancestors(b"").count(), 1);
    }
}
