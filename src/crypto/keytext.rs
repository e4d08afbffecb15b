//! A key as text that a person can copy by hand: `BYGONE-KEY-1` and 14 groups of five characters.
//!
//! The alphabet is Crockford's base 32 (no I, L, O or U). The 256 bits of the secret fill 52 characters, most significant
//! bit first, the last four bits zero; the 53rd to 56th hold the first 20 bits of a BLAKE3 hash of the secret. Each group
//! is four of these 56 characters and a check character: the sum, in GF(32) with x^5 + x^2 + 1, of the characters
//! multiplied by x, x^2, x^3 and x^4, and of the group's number from 1. All weights differ, so any one wrong character and
//! any two exchanged ones fail in their group; the group's number makes exchanged groups fail too.
//!
//! Read back, case, spaces, dashes and line ends do not matter, O is 0, and I and L are 1.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// What a key begins with, for people.
pub const PREFIX: &str = "BYGONE-KEY-1";
/// The prefix after [`fold`], without its version.
const FOLDED: &[u8] = b"BYG0NEKEY";
const GROUPS: usize = 14;
/// Data characters in a group; the check character follows.
const DATA: usize = 4;
const GROUP: usize = DATA + 1;
/// Characters that hold the secret; the rest of the data characters hold its hash.
const SECRET_CHARS: usize = 52;

/// Why a text is not a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// No line begins with the prefix.
    #[error("there is no key here: no line begins with {PREFIX}")]
    NoKey,
    /// A key of a later version.
    #[error("this key has format {0:?}, which this version of bygone does not know: use a newer bygone")]
    Newer(char),
    /// A character that no key has.
    #[error("the key has {ch:?} in group {group} of {GROUPS}, which is in no key: look at that group again")]
    Character {
        /// The character.
        ch: char,
        /// The group it stands in, from 1.
        group: usize,
    },
    /// Characters are missing or too many.
    #[error(
        "the key has {found} characters after {PREFIX} and not {expected}: look at group {group} of {GROUPS} and at the next", expected = GROUPS * GROUP
    )]
    Length {
        /// How many there are.
        found: usize,
        /// The first group that does not check, from 1.
        group: usize,
    },
    /// A group's check character does not fit.
    #[error("the key has a wrong or exchanged character in group {group} of {GROUPS}: look at that group again")]
    Group {
        /// The first such group, from 1.
        group: usize,
    },
    /// All groups check and the whole does not.
    #[error("the key does not check as a whole: at least two characters are wrong; compare every group again")]
    Whole,
}

/// The key as one line: the prefix and 14 groups, without a line end.
pub fn encode(secret: &[u8; 32]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(PREFIX.len() + GROUPS * (GROUP + 1)));
    out.push_str(PREFIX);
    for (n, group) in groups(secret).iter().enumerate() {
        out.push(if n == 0 { ' ' } else { '-' });
        out.extend(group.iter().map(|d| char::from(ALPHABET[usize::from(*d)])));
    }
    out
}

/// Whether `text` claims to be a key of this format: it is taken as one wherever a passphrase is asked for.
pub fn is_key(text: &str) -> bool {
    let mut rest = text.chars().filter_map(fold);
    rest.by_ref().take(FOLDED.len()).eq(folded_prefix()) && rest.next() == Some('1')
}

/// The secret in `text`: a key as typed, a key file, or a page made by [`super::paper`]. The key is the first line that
/// begins with the prefix and the lines that follow it, up to an empty one, a comment or the end.
pub fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyTextError> {
    let typed = block(text)?;
    let digits = digits(&typed)?;
    let wrong = (0..GROUPS).find(|n| !checks(*n, &digits)).map(|n| n + 1);
    match (digits.len() == GROUPS * GROUP, wrong) {
        (false, group) => Err(KeyTextError::Length { found: digits.len(), group: group.unwrap_or(GROUPS) }),
        (true, Some(group)) => Err(KeyTextError::Group { group }),
        (true, None) => whole(&digits),
    }
}

/// The folded characters of the key's lines, after the prefix.
fn block(text: &str) -> Result<Zeroizing<Vec<char>>, KeyTextError> {
    let mut out = Zeroizing::new(Vec::with_capacity(2 * GROUPS * GROUP));
    let mut lines = text.lines().map(str::trim).skip_while(|l| !begins_like_key(l));
    let first = lines.next().ok_or(KeyTextError::NoKey)?;
    out.extend(first.chars().filter_map(fold).skip(FOLDED.len()));
    match out.first() {
        Some('1') => out.remove(0),
        Some(other) => return Err(KeyTextError::Newer(*other)),
        None => return Err(KeyTextError::NoKey),
    };
    for line in lines.take_while(|l| !l.is_empty() && !l.starts_with('#')) {
        // More than a key can be is wrong in any case, and need not be kept.
        out.extend(line.chars().filter_map(fold).take(2 * GROUPS * GROUP));
        if out.len() > 2 * GROUPS * GROUP {
            break;
        }
    }
    Ok(out)
}

fn begins_like_key(line: &str) -> bool {
    line.chars().filter_map(fold).take(FOLDED.len()).eq(folded_prefix())
}

fn folded_prefix() -> impl Iterator<Item = char> {
    FOLDED.iter().map(|b| char::from(*b))
}

/// A character in its canonical form; `None` for what only separates.
fn fold(c: char) -> Option<char> {
    match c.to_ascii_uppercase() {
        c if c.is_whitespace() => None,
        '-' | '_' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{feff}' => None,
        'O' => Some('0'),
        'I' | 'L' => Some('1'),
        c => Some(c),
    }
}

fn digits(typed: &[char]) -> Result<Zeroizing<Vec<u8>>, KeyTextError> {
    let digit = |(n, ch): (usize, &char)| {
        let place = ALPHABET.iter().position(|a| char::from(*a) == *ch);
        place.map(|p| p as u8).ok_or(KeyTextError::Character { ch: *ch, group: (n / GROUP + 1).min(GROUPS) })
    };
    let mut out = Zeroizing::new(Vec::with_capacity(typed.len()));
    for d in typed.iter().enumerate().map(digit) {
        out.push(d?);
    }
    Ok(out)
}

/// Whether group `n`, from 0, is there and its check character fits.
fn checks(n: usize, digits: &[u8]) -> bool {
    digits.get(n * GROUP..(n + 1) * GROUP).is_some_and(|g| g[DATA] == check(n, &g[..DATA]))
}

/// The secret of digits whose groups all check.
fn whole(digits: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyTextError> {
    let data = digits.chunks_exact(GROUP).flat_map(|g| &g[..DATA]).take(SECRET_CHARS);
    let mut secret = Zeroizing::new([0; 32]);
    for (n, digit) in data.enumerate() {
        for bit in 0..5 {
            let at = n * 5 + bit;
            if digit >> (4 - bit) & 1 == 1 && at < 256 {
                secret[at / 8] |= 0x80 >> (at % 8);
            }
        }
    }
    let again = groups(&secret);
    if again.iter().flatten().eq(digits) { Ok(secret) } else { Err(KeyTextError::Whole) }
}

/// The 14 groups of a secret, as digits of 0 to 31.
fn groups(secret: &[u8; 32]) -> Zeroizing<[[u8; GROUP]; GROUPS]> {
    let mut bits = Zeroizing::new([0u8; 36]);
    bits[..32].copy_from_slice(secret);
    let hash = blake3::derive_key("bygone 1 key text check", secret);
    // The hash begins at bit 260, in the middle of byte 32.
    bits[32] = hash[0] >> 4;
    bits[33] = hash[0] << 4 | hash[1] >> 4;
    bits[34] = hash[1] << 4 | hash[2] >> 4;
    let mut out = Zeroizing::new([[0; GROUP]; GROUPS]);
    for n in 0..GROUPS {
        for k in 0..DATA {
            out[n][k] = five_bits(&bits[..], (n * DATA + k) * 5);
        }
        out[n][DATA] = check(n, &out[n][..DATA]);
    }
    out
}

fn five_bits(bytes: &[u8], at: usize) -> u8 {
    let pair = u16::from_be_bytes([bytes[at / 8], bytes[at / 8 + 1]]);
    (pair >> (11 - at % 8) & 31) as u8
}

/// The check character of group `n`, from 0.
fn check(n: usize, data: &[u8]) -> u8 {
    let sum = data.iter().enumerate().fold(0, |sum, (k, d)| sum ^ times_x(*d, k + 1));
    sum ^ (n as u8 + 1)
}

/// `digit` times x to the power `n`, in GF(32).
fn times_x(mut digit: u8, n: usize) -> u8 {
    for _ in 0..n {
        digit <<= 1;
        if digit & 32 != 0 {
            digit ^= 0b10_0101;
        }
    }
    digit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(secret: [u8; 32]) -> String {
        encode(&secret).to_string()
    }

    /// The positions of the 70 characters of the key in its line.
    fn places(line: &str) -> Vec<usize> {
        (PREFIX.len() + 1..line.len()).filter(|i| line.as_bytes()[*i] != b'-').collect()
    }

    #[test]
    fn known_text_stays_readable() {
        let secret: [u8; 32] = std::array::from_fn(|n| n as u8);
        let line = text(secret);
        assert_eq!(line, KNOWN);
        assert_eq!(*decode(&line).unwrap(), secret);
    }

    const KNOWN: &str =
        "BYGONE-KEY-1 000GC-40R4Y-0M301-E209M-185G2-R38EE-1W810-24GKG-2GAH0-C5RR1-34D1A-P70XT-3RFGY-ZRPT7";

    #[test]
    fn typing_habits_do_not_matter() {
        let line = text([0x21; 32]);
        let typed = line.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert!(is_key(&typed));
        assert_eq!(*decode(&typed).unwrap(), [0x21; 32]);
        assert_eq!(*decode(&line.replace('-', "\u{2013}")).unwrap(), [0x21; 32]);
        assert_eq!(*decode(&line.replace(['-', ' '], "")).unwrap(), [0x21; 32]);
    }

    #[test]
    fn other_texts_are_told_apart() {
        assert!(!is_key("correct horse battery staple"));
        assert!(!is_key("BYGONE-KEY-2 00000"));
        assert!(!is_key("BYGONE-KEY"));
        assert_eq!(decode("# nothing\n").unwrap_err(), KeyTextError::NoKey);
        assert_eq!(decode("BYGONE-KEY-2 00000").unwrap_err(), KeyTextError::Newer('2'));
        assert_eq!(decode("BYGONE-KEY-1 0000U").unwrap_err(), KeyTextError::Character { ch: 'U', group: 1 });
    }

    proptest! {
        #[test]
        fn any_one_wrong_character_is_found_in_its_group(secret: [u8; 32], place in 0usize..70, to in 0usize..32) {
            let line = text(secret);
            let at = places(&line)[place];
            let mut typed = line.clone().into_bytes();
            prop_assume!(typed[at] != ALPHABET[to]);
            typed[at] = ALPHABET[to];
            let error = decode(std::str::from_utf8(&typed).unwrap()).unwrap_err();
            prop_assert_eq!(error, KeyTextError::Group { group: place / GROUP + 1 });
        }

        #[test]
        fn any_two_exchanged_characters_are_found(secret: [u8; 32], a in 0usize..70, b in 0usize..70) {
            let line = text(secret);
            let at = places(&line);
            let mut typed = line.clone().into_bytes();
            prop_assume!(typed[at[a]] != typed[at[b]]);
            typed.swap(at[a], at[b]);
            let error = decode(std::str::from_utf8(&typed).unwrap()).unwrap_err();
            prop_assert_eq!(error, KeyTextError::Group { group: a.min(b) / GROUP + 1 });
        }

        #[test]
        fn exchanged_groups_are_found(secret: [u8; 32], a in 0usize..14, b in 0usize..14) {
            prop_assume!(a != b);
            let line = text(secret);
            let mut groups: Vec<&str> = line[PREFIX.len() + 1..].split('-').collect();
            groups.swap(a, b);
            let typed = format!("{PREFIX} {}", groups.join("-"));
            prop_assert!(decode(&typed).is_err());
        }

        #[test]
        fn a_missing_or_doubled_character_is_placed(secret: [u8; 32], place in 0usize..70, double: bool) {
            let line = text(secret);
            let at = places(&line)[place];
            let mut typed = line.clone();
            let c = typed.remove(at);
            if double {
                typed.insert(at, c);
                typed.insert(at, c);
            }
            match decode(&typed).unwrap_err() {
                KeyTextError::Length { group, .. } => prop_assert!(group > place / GROUP),
                other => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn any_text_is_survived(text in ".{0,200}", tail in "[0-9a-zA-Z -]{0,200}") {
            let _ = decode(&text);
            let typed = format!("BYGONE-KEY-1{text}{tail}");
            prop_assert!(decode(&typed).is_err());
        }

        #[test]
        fn round_trip(secret: [u8; 32]) {
            prop_assert_eq!(*decode(&text(secret)).unwrap(), secret);
        }
    }
}
