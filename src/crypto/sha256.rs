//! SHA-256, for checksums that other programs check.

use sha2::{Digest as _, Sha256};

/// A running SHA-256.
#[derive(Default)]
pub struct Sum(Sha256);

impl Sum {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum, in hexadecimal digits.
    pub fn finish(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0.finalize())
    }
}

/// The sum of some bytes, in hexadecimal digits.
pub fn sum(bytes: &[u8]) -> String {
    let mut sum = Sum::default();
    sum.update(bytes);
    sum.finish()
}

/// A line as `sha256sum` writes it. A name with a backslash or an end of a line in it is escaped, and the line says so.
pub fn line(sum: &str, name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            other => escaped.push(*other),
        }
    }
    let mark: &[u8] = if escaped == name { b"" } else { b"\\" };
    [mark, sum.as_bytes(), b"  ", &escaped, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_sum_and_its_line() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum(b"abc"), abc);
        assert_eq!(line(abc, b"a b"), format!("{abc}  a b\n").as_bytes());
        assert_eq!(line(abc, b"a\nb\\"), format!("\\{abc}  a\\nb\\\\\n").as_bytes());
    }
}
