//! The primitives of the stored format: little-endian base-128 integers, byte strings with a length, and a reader that never
//! reads past its end and never allocates more than its input holds.

use crate::types::{
    ids::{Hash, Id},
    time::Time,
};

/// Why stored bytes could not be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// The input ended inside a value.
    #[error("ends in the middle of a value")]
    Short,
    /// An integer, length or tag has a value that is not allowed there.
    #[error("has a value that is not allowed: {0}")]
    Invalid(&'static str),
}

/// Appends an unsigned integer, 7 bits a byte, lowest first, the high bit set on all but the last.
pub fn put_u64(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends a signed integer in zigzag form.
pub fn put_i64(out: &mut Vec<u8>, v: i64) {
    put_u64(out, (v << 1 ^ v >> 63) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a time: zigzag seconds, then nanoseconds.
pub fn put_time(out: &mut Vec<u8>, t: Time) {
    put_i64(out, t.sec);
    put_u64(out, u64::from(t.nsec));
}

/// Reads values from a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned integer of at most ten bytes.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        let mut v = 0u64;
        for (i, &b) in self.rest.iter().enumerate().take(10) {
            if i == 9 && b > 1 {
                return Err(WireError::Invalid("an integer above 64 bits"));
            }
            v |= u64::from(b & 0x7f) << (7 * i);
            if b & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(v);
            }
        }
        Err(WireError::Short)
    }

    /// An unsigned integer that must be at most `max`.
    pub fn u64_max(&mut self, max: u64, what: &'static str) -> Result<u64, WireError> {
        let v = self.u64()?;
        if v > max { Err(WireError::Invalid(what)) } else { Ok(v) }
    }

    /// An unsigned integer of 32 bits.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(self.u64_max(u64::from(u32::MAX), "an integer above 32 bits")? as u32)
    }

    /// A zigzag integer.
    pub fn i64(&mut self) -> Result<i64, WireError> {
        let v = self.u64()?;
        Ok((v >> 1) as i64 ^ -((v & 1) as i64))
    }

    /// Exactly `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        if n > self.rest.len() {
            return Err(WireError::Short);
        }
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        Ok(head)
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let n = self.u64_max(max as u64, "a byte string that is too long")?;
        self.take(n as usize)
    }

    /// A 32-byte hash.
    pub fn hash(&mut self) -> Result<Hash, WireError> {
        let mut h = [0; 32];
        h.copy_from_slice(self.take(32)?);
        Ok(Hash(h))
    }

    /// A 16-byte id.
    pub fn id(&mut self) -> Result<Id, WireError> {
        let mut h = [0; 16];
        h.copy_from_slice(self.take(16)?);
        Ok(Id(h))
    }

    /// A time with valid nanoseconds.
    pub fn time(&mut self) -> Result<Time, WireError> {
        let sec = self.i64()?;
        let nsec = self.u64_max(999_999_999, "nanoseconds of a second or more")? as u32;
        Ok(Time { sec, nsec })
    }
}
