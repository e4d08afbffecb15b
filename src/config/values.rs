//! Values of single settings, read from TOML with their rules, so that an error is at the value.

use std::path::{Component, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::types::{
    location::{Location, S3Url},
    when::window::Window,
};

/// A path that is absolute and has no `..`; doubled slashes, `.` and a slash at the end are taken out.
#[derive(Clone)]
pub(super) struct Absolute(pub(super) PathBuf);

impl<'de> Deserialize<'de> for Absolute {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Absolute, D::Error> {
        let text = String::deserialize(from)?;
        absolute(&text).map(Absolute).map_err(D::Error::custom)
    }
}

/// Where a repository is: an absolute path or the URL of a bucket.
#[derive(Clone)]
pub(super) struct RepositoryAt(pub(super) Location);

impl<'de> Deserialize<'de> for RepositoryAt {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RepositoryAt, D::Error> {
        let text = String::deserialize(from)?;
        let at = match text.starts_with(S3Url::SCHEME) {
            true => text.parse().map(Location::Bucket).map_err(D::Error::custom)?,
            false => Location::Dir(absolute(&text).map_err(D::Error::custom)?),
        };
        Ok(RepositoryAt(at))
    }
}

/// A number of bytes like `500 MiB` or `10GiB`.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse_bytes(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write a whole number and KiB, MiB, GiB or TiB, such as \"10 GiB\"");
    let text_ = text.trim();
    let digits = text_.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let shift = match text_[digits..].trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = text_[..digits].parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= 1 << 60).ok_or_else(wrong)
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(format!("the path {text:?} is not absolute: write it from the root, beginning with /"));
    }
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(format!("the path {text:?} has a \"..\" in it: write the directory that is meant"));
    }
    if text.contains('\0') {
        return Err(format!("the path {text:?} has a NUL in it, which no path can have"));
    }
    Ok(path.components().collect())
}

/// The name of a host: it becomes the name of a directory.
pub(super) fn host<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    let good = crate::types::path::is_name(text.as_bytes()) && !text.chars().any(|c| c.is_control());
    match good {
        true => Ok(Some(text)),
        false => Err(D::Error::custom(format!("{text:?} can't name a host: it has to be a file name"))),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// A duration like `500ms`, `5s`, `1m 30s`, `1h` or `2d`: numbers with a unit each. At most ten years.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write a number and ms, s, m, h or d, such as \"500ms\" or \"1h\"");
    let mut sum_ms: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        rest = rest[letters..].trim_start();
        sum_ms = number.checked_mul(unit_ms).and_then(|ms| sum_ms.checked_add(ms)).ok_or_else(wrong)?;
    }
    match sum_ms {
        0..=315_360_000_000 => Ok(Duration::from_millis(sum_ms)),
        _ => Err(format!("{text:?} is longer than ten years")),
    }
}

/// A length of time like `48h`, `7y` or `forever`.
pub(super) fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Window>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

/// Numbers are read as far as they fit, and their ranges checked together afterwards.
pub(super) fn threads<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    i64::deserialize(from).map(|n| n.clamp(0, 1 << 16) as usize)
}

pub(super) fn level<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    i64::deserialize(from).map(|n| n.clamp(0, 1 << 16) as i32)
}

pub(super) fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    i64::deserialize(from).map(|n| n.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms(" 1m 30s"), Ok(90_000));
        assert_eq!(ms("1 h"), Ok(3_600_000));
        assert_eq!(ms("2d12h"), Ok(216_000_000));
        for wrong in
            ["", "5", "s", "5 parsecs", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d", "11000d"]
        {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_are_absolute_and_tidied() {
        assert_eq!(absolute("/a//b/./c/"), Ok(PathBuf::from("/a/b/c")));
        assert_eq!(absolute("/a//b/./c/").unwrap().as_os_str(), "/a/b/c");
        for wrong in ["", "a", "./a", "~/a", "/a/../b", "/a\0"] {
            assert!(absolute(wrong).is_err(), "{wrong}");
        }
    }
}
