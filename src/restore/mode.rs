//! Changes of permissions, as chmod(1) takes them, each for directories, for everything else, or for both.

use std::str::FromStr;

/// What a change is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    All,
    Dirs,
    Others,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Add,
    Remove,
    Set,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Change {
    /// All permission bits, anew.
    Octal(u32),
    /// Whom it is for (a mask of `0o700`, `0o070` and `0o007`), and what is done with which letters.
    Letters(u32, Vec<(Op, Vec<u8>)>),
}

/// One change, as `u=rwX`, `go-w`, `644`, `D755` or `Fa+r`: with `D` for directories only, with `F` for everything else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModeChange {
    only: For,
    change: Change,
}

/// A text that is no change of permissions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is no change of permissions: write u=rwX, go-w, 0644 or the like, with D in front for directories only and F for all else"
)]
pub struct ModeError(String);

impl ModeChange {
    /// Reads changes that are separated by commas.
    pub fn parse_all(text: &str) -> Result<Vec<ModeChange>, ModeError> {
        text.split(',').map(str::parse).collect()
    }

    /// A mode (type and permissions) with the change made.
    pub(super) fn apply(&self, mode: u32) -> u32 {
        let is_dir = mode & libc::S_IFMT == libc::S_IFDIR;
        if (self.only == For::Dirs && !is_dir) || (self.only == For::Others && is_dir) {
            return mode;
        }
        match &self.change {
            Change::Octal(bits) => mode & !0o7777 | bits,
            Change::Letters(who, steps) => steps.iter().fold(mode, |mode, (op, letters)| {
                let bits = bits_of(letters, *who, mode, is_dir);
                match op {
                    Op::Add => mode | bits,
                    Op::Remove => mode & !bits,
                    Op::Set => mode & !cleared_by_set(*who, is_dir) | bits,
                }
            }),
        }
    }
}

/// The bits that letters mean for some: `s` is of the user and the group, `t` of all.
fn bits_of(letters: &[u8], who: u32, mode: u32, is_dir: bool) -> u32 {
    letters.iter().fold(0, |bits, letter| {
        bits | match letter {
            b'r' => who & 0o444,
            b'w' => who & 0o222,
            b'x' => who & 0o111,
            b'X' if is_dir || mode & 0o111 != 0 => who & 0o111,
            b's' => (if who & 0o700 != 0 { 0o4000 } else { 0 }) | (if who & 0o070 != 0 { 0o2000 } else { 0 }),
            b't' if who & 0o007 != 0 => 0o1000,
            _ => 0,
        }
    })
}

/// What `=` takes away first: as chmod(1), not the set-id bits of a directory.
fn cleared_by_set(who: u32, is_dir: bool) -> u32 {
    let special = if is_dir { b"t".as_slice() } else { b"st" };
    who | bits_of(special, who, 0, is_dir)
}

impl FromStr for ModeChange {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<ModeChange, ModeError> {
        let wrong = || ModeError(text.to_owned());
        let (only, rest) = match text.as_bytes() {
            [b'D', ..] => (For::Dirs, &text[1..]),
            [b'F', ..] => (For::Others, &text[1..]),
            _ => (For::All, text),
        };
        if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
            let bits = u32::from_str_radix(rest, 8).ok().filter(|bits| *bits <= 0o7777).ok_or_else(wrong)?;
            return Ok(ModeChange { only, change: Change::Octal(bits) });
        }
        let first = rest.find(['+', '-', '=']).ok_or_else(wrong)?;
        let mut who = 0;
        for letter in rest[..first].bytes() {
            who |= match letter {
                b'u' => 0o700,
                b'g' => 0o070,
                b'o' => 0o007,
                b'a' => 0o777,
                _ => return Err(wrong()),
            };
        }
        let mut steps: Vec<(Op, Vec<u8>)> = Vec::new();
        for letter in rest[first..].bytes() {
            let op = match letter {
                b'+' => Op::Add,
                b'-' => Op::Remove,
                b'=' => Op::Set,
                b'r' | b'w' | b'x' | b'X' | b's' | b't' => {
                    steps.last_mut().ok_or_else(wrong)?.1.push(letter);
                    continue;
                }
                _ => return Err(wrong()),
            };
            steps.push((op, Vec::new()));
        }
        Ok(ModeChange { only, change: Change::Letters(if who == 0 { 0o777 } else { who }, steps) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str, mode: u32) -> u32 {
        ModeChange::parse_all(text).unwrap().iter().fold(mode, |mode, change| change.apply(mode))
    }

    #[test]
    fn changes_are_those_of_chmod() {
        let (file, dir) = (libc::S_IFREG, libc::S_IFDIR);
        let cases = [
            ("u=rwX,go=rX", file | 0o600, file | 0o644),
            ("u=rwX,go=rX", file | 0o700, file | 0o755),
            ("u=rwX,go=rX", dir | 0o700, dir | 0o755),
            ("D2750,F0640", dir | 0o777, dir | 0o2750),
            ("D2750,F0640", file | 0o777, file | 0o640),
            ("go-rwx", file | 0o4777, file | 0o4700),
            ("u=rw", file | 0o4777, file | 0o677),
            ("g=rx", dir | 0o2777, dir | 0o2757),
            ("a+t,u+s,g+s", dir | 0o755, dir | 0o7755),
            ("+r-w", file | 0o222, file | 0o444),
            ("Da+x", file | 0o600, file | 0o600),
            ("o=", file | 0o777, file | 0o770),
        ];
        for (text, from, to) in cases {
            assert_eq!(made(text, from), to, "{text} of {from:o}");
        }
        for wrong in ["", "u", "z+r", "u+q", "888", "77777", "F", "u=rw,", "rw+u"] {
            assert!(ModeChange::parse_all(wrong).is_err(), "{wrong:?}");
        }
    }
}
