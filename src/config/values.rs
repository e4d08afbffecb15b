//! Values of single settings, read from TOML with their rules, so that an error is at the value.

use std::path::{Component, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::schedule::{
    blackout::{self, Blackout},
    model::Schedule,
};
use crate::types::{
    duration::parse_duration,
    location::{Location, S3Url},
    snapshot::Tier,
    when::{window::Window, zone::Zone},
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

/// An absolute path, if there is one.
pub(super) fn absolute_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Absolute::deserialize(from).map(|path| Some(path.0))
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

/// Tiers by their words, of which there has to be one at least.
pub(super) fn tiers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Tier>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    if words.is_empty() {
        return Err(D::Error::custom("there is no tier in it: name some, or leave the setting out for all"));
    }
    let tier = |word: &String| {
        Tier::parse(word)
            .ok_or_else(|| D::Error::custom(format!("{word:?} is no tier: full, differential, incremental")))
    };
    words.iter().map(tier).collect()
}

/// A number of bytes a second like `100 MiB/s`, above 0.
pub(super) fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    parse_rate(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no rate: write a whole number and KiB/s, MiB/s or GiB/s, such as \"10 MiB/s\"");
    let bytes = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
    parse_bytes(bytes).ok().filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// A share of the time in percent, 1 to 100.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let number = i64::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{number} is no share of the time: write percent from 1 to 100"));
    u8::try_from(number).ok().filter(|n| (1..=100).contains(n)).ok_or_else(wrong)
}

/// A part in percent, 0 to 100.
pub(super) fn part<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let number = i64::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{number} is no part in percent: write a whole number from 0 to 100"));
    u8::try_from(number).ok().filter(|n| *n <= 100).ok_or_else(wrong)
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

pub(super) fn schedule<'de, D: Deserializer<'de>>(from: D) -> Result<Schedule, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

pub(super) fn schedule_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Schedule>, D::Error> {
    schedule(from).map(Some)
}

/// A list of blackout windows; an error is at the list.
pub(super) fn blackout<'de, D: Deserializer<'de>>(from: D) -> Result<Blackout, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let windows = texts.iter().map(|text| blackout::Window::parse(text)).collect::<Result<Vec<_>, _>>();
    windows.and_then(Blackout::new).map_err(D::Error::custom)
}

pub(super) fn duration_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

/// The name of a time zone that can be used.
pub(super) fn zone<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zone>, D::Error> {
    Zone::named(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

/// The name of the repository's own place among the sites.
pub(super) fn site_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    job_name(from).map(Some)
}

/// The name of a job.
pub(super) fn job_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.len() <= 100 && text.chars().all(good) {
        true => Ok(text),
        false => {
            let rule = "it has letters, digits, -, _ and ., and not more than 100 of them";
            Err(D::Error::custom(format!("{text:?} can't name a job: {rule}")))
        }
    }
}

/// A length of time like `48h`, `7y` or `forever`.
pub(super) fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Window>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

pub(super) fn retries<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = i64::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{number} is no number of retries: write one from 0 to 20"));
    u32::try_from(number).ok().filter(|n| *n <= 20).ok_or_else(wrong)
}

pub(super) fn retries_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    retries(from).map(Some)
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
    fn rates() {
        assert_eq!(parse_rate("100MiB/s"), Ok(100 << 20));
        assert_eq!(parse_rate(" 64 KiB/s "), Ok(64 << 10));
        for wrong in ["", "100", "100 MiB", "0 KiB/s", "fast", "-1 MiB/s", "1.5 MiB/s", "10 MB/s", "10 MiB/min"] {
            assert!(parse_rate(wrong).unwrap_err().contains("is no rate"), "{wrong}");
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
