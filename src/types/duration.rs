//! Durations as people write them.

use std::time::Duration;

/// The units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration like `500ms`, `5s`, `1m 30s`, `1h` or `2d`: numbers with a unit each. At most ten years. The error says
/// what is wrong with it and how it is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
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
        let unit = if &rest[..letters] == "min" { "m" } else { &rest[..letters] };
        let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
        sum_ms = number.checked_mul(unit_ms).and_then(|ms| sum_ms.checked_add(ms)).ok_or_else(wrong)?;
    }
    match sum_ms {
        0..=315_360_000_000 => Ok(Duration::from_millis(sum_ms)),
        _ => Err(format!("{text:?} is longer than ten years")),
    }
}

/// The duration as [`parse_duration`] reads it, in the fewest words: `1m 30s`. Less than a millisecond is cut off.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut words = Vec::new();
    for (name, unit_ms) in UNITS {
        if rest >= unit_ms {
            words.push(format!("{}{name}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
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
        assert_eq!(ms("3min"), Ok(180_000));
        for wrong in
            ["", "5", "s", "5 parsecs", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d", "11000d"]
        {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shown_as_they_are_read() {
        for text in ["0s", "500ms", "1m 30s", "15m", "2d 12h", "3650d"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(show_duration(Duration::from_secs(3600)), "1h");
    }
}
