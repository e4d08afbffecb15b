//! Sizes as people write and read them.

/// Why a text is no size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SizeError {
    /// Not a number with a known unit.
    #[error(
        "cannot take {text:?} as a size; write bytes (4096), or a number with a unit: 512K, 1.5 MiB, 2G, 1TiB (powers of \
         1024) or 500 MB, 2 GB (powers of 1000)"
    )]
    Unknown {
        /// What was given.
        text: String,
    },
    /// More than 64 bits of bytes.
    #[error("the size {text:?} is larger than 16 EiB")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

const PREFIXES: &str = "KMGTPE";

/// A size in binary units, rounded to one decimal: `512 B`, `1.5 GiB`, `1023.9 KiB`.
pub fn show_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 1024u128;
    for prefix in PREFIXES.chars() {
        let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
        if tenths < 10_240 || prefix == 'E' {
            return format!("{}.{} {prefix}iB", tenths / 10, tenths % 10);
        }
        unit *= 1024;
    }
    format!("{bytes} B")
}

/// Reads a size in bytes: a number, with a fraction if it has a unit, then the unit. `K`, `M`, `G`, `T`, `P`, `E` and `KiB`,
/// `MiB` and so on are powers of 1024; `KB`, `MB` and so on are powers of 1000; case does not matter. What is less than a
/// byte is cut off.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let unknown = || SizeError::Unknown { text: text.to_owned() };
    let trimmed = text.trim();
    let (number, unit) =
        trimmed.split_at(trimmed.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(trimmed.len()));
    let factor = unit_bytes(unit.trim_start()).ok_or_else(unknown)?;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if factor > 1 => (whole, Some(fraction)),
        Some(_) => return Err(unknown()),
        None => (number, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !fraction.is_none_or(|f| digits(f) && f.len() <= 9) {
        return Err(unknown());
    }
    let bytes = whole.parse::<u64>().ok().and_then(|n| u128::from(n).checked_mul(factor));
    let part = fraction.map_or(0, |f| fraction_bytes(f, factor));
    let sum = bytes.and_then(|n| u64::try_from(n + part).ok());
    sum.ok_or_else(|| SizeError::TooLarge { text: text.to_owned() })
}

/// Of at most nine digits.
fn fraction_bytes(digits: &str, factor: u128) -> u128 {
    let (value, scale) = digits.bytes().fold((0, 1), |(v, s), b| (v * 10 + u128::from(b - b'0'), s * 10));
    value * factor / scale
}

fn unit_bytes(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_uppercase();
    let mut letters = unit.chars();
    let power = match letters.next() {
        None => return Some(1),
        Some('B') if unit.len() == 1 => return Some(1),
        Some(prefix) => PREFIXES.find(prefix)? as u32 + 1,
    };
    match letters.as_str() {
        "" | "IB" => Some(1024u128.pow(power)),
        "B" => Some(1000u128.pow(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_shown() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn sizes_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("100 B", 100),
            ("512 MiB", 512 << 20),
            ("512mib", 512 << 20),
            ("2G", 2 << 30),
            (" 1.5K ", 1536),
            ("2 GB", 2_000_000_000),
            ("0.001 KB", 1),
            ("15.999999999E", 18_446_744_072_556_627_066),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in
            ["", "G", "-1", "+1", "1.5", "1.5 B", "1..5K", ".5K", "1.K", "2 GG", "2 Gi", "2 iB", "1 2", "1e9", "٣K"]
        {
            assert_eq!(parse_size(text), Err(SizeError::Unknown { text: text.to_owned() }));
        }
        for text in ["16E", "18446744073709551616", "99999999999999999999K"] {
            assert_eq!(parse_size(text), Err(SizeError::TooLarge { text: text.to_owned() }));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9.]{1,22} ?[KMGTPEkib]{0,3}") {
            let _ = parse_size(&text);
        }

        #[test]
        fn what_is_shown_reads_back_within_its_rounding(bytes in any::<u64>()) {
            if let Ok(read) = parse_size(&show_size(bytes)) {
                prop_assert!(read.abs_diff(bytes) <= bytes / 20 + 1);
            } else {
                prop_assert!(show_size(bytes) == "16.0 EiB");
            }
        }
    }
}
