//! Where a repository is: a directory, or `s3://bucket/prefix`.

use serde::{Serialize, Serializer};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where a repository is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// A directory of this machine.
    Dir(PathBuf),
    /// Below a prefix in a bucket.
    Bucket(S3Url),
}

impl Location {
    /// The directory, where it is one.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Location::Dir(dir) => Some(dir),
            Location::Bucket(_) => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Dir(dir) => dir.display().fmt(f),
            Location::Bucket(url) => url.fmt(f),
        }
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Location::Dir(dir) => dir.serialize(serializer),
            Location::Bucket(url) => url.to_string().serialize(serializer),
        }
    }
}

/// A bucket, and what the keys of its objects begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// The prefix without slashes at its ends; may be empty.
    pub prefix: String,
}

/// Why a text is no such place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is no place of a repository in an object store ({why}); write s3://BUCKET or s3://BUCKET/PREFIX")]
pub struct UrlError {
    text: String,
    why: &'static str,
}

impl S3Url {
    /// How such a place begins.
    pub const SCHEME: &str = "s3://";

    /// The key of an object.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// The name of the object with this key; `None` for one that is not below the prefix.
    pub fn name<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() { Some(key) } else { key.strip_prefix(&self.prefix)?.strip_prefix('/') }
    }
}

impl FromStr for S3Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<S3Url, UrlError> {
        let failed = |why| UrlError { text: text.to_owned(), why };
        let rest = text.strip_prefix(S3Url::SCHEME).ok_or_else(|| failed("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(failed("a bucket's name has letters, digits, dots and dashes"));
        }
        let prefix = prefix.trim_matches('/');
        let parts = || prefix.split('/');
        if !prefix.is_empty() && !parts().all(|p| !matches!(p, "" | "." | "..") && p.chars().all(plain)) {
            return Err(failed("a prefix has letters, digits, dots and dashes between single slashes"));
        }
        Ok(S3Url { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", S3Url::SCHEME, self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown() {
        for (text, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://my.bucket-1/backups/host_a/", "my.bucket-1", "backups/host_a"),
        ] {
            let url: S3Url = text.parse().unwrap();
            assert_eq!((url.bucket.as_str(), url.prefix.as_str()), (bucket, prefix));
            assert_eq!(url.to_string().trim_end_matches('/'), text.trim_end_matches('/'));
            assert_eq!(url.name(&url.key("packs/ab/cd")), Some("packs/ab/cd"));
        }
        let url: S3Url = "s3://b/p".parse().unwrap();
        assert_eq!((url.name("px/y"), url.name("other/y")), (None, None));
        for bad in ["", "b/p", "s3:/b", "s3://", "s3:///p", "s3://b/../p", "s3://b/a//c", "s3://b c/d", "s3://b/d e"] {
            assert!(bad.parse::<S3Url>().unwrap_err().to_string().contains("s3://BUCKET"), "{bad}");
        }
    }
}
