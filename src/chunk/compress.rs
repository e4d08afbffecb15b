//! Compression of a frame: zstd, or nothing where it gains nothing. Contexts are kept and used again.

use crate::sys::buffer::Buffer;
use std::io::{self, Cursor};

/// How a stored run of bytes is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// As it is.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Method {
    /// The method with this number; `None` for one that this version does not know.
    pub fn from_u8(n: u8) -> Option<Method> {
        match n {
            0 => Some(Method::Raw),
            1 => Some(Method::Zstd),
            _ => None,
        }
    }
}

/// Why stored bytes did not decompress.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The bytes are not what the method promises.
    #[error("does not decompress: {0}")]
    Zstd(io::Error),
    /// They decompress to another length than stated.
    #[error("decompresses to {got} bytes where {stated} are stated")]
    Length {
        /// Bytes that came out.
        got: usize,
        /// Bytes that were promised.
        stated: usize,
    },
}

/// Compresses; one a thread.
pub struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
}

impl Compressor {
    /// A compressor of a zstd level (1 to 19).
    pub fn new(level: i32) -> io::Result<Compressor> {
        Ok(Compressor { zstd: zstd::bulk::Compressor::new(level)? })
    }

    /// Compresses `raw` to the end of `out`; stores it as it is where that saves less than a thirty-second part.
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Method {
        let start = out.len();
        let limit = raw.len() - raw.len() / 32;
        out.reserve(limit);
        let mut end = Cursor::new(std::mem::take(out));
        end.set_position(start as u64);
        let packed = self.zstd.compress_to_buffer(raw, &mut end);
        *out = end.into_inner();
        match packed {
            Ok(n) if n < limit => Method::Zstd,
            // No room for the result is how zstd says that it gains too little.
            _ => {
                out.truncate(start);
                out.extend_from_slice(raw);
                Method::Raw
            }
        }
    }
}

/// Decompresses; one a thread.
pub struct Decompressor {
    zstd: zstd::bulk::Decompressor<'static>,
}

impl Decompressor {
    /// A decompressor.
    pub fn new() -> io::Result<Decompressor> {
        Ok(Decompressor { zstd: zstd::bulk::Decompressor::new()? })
    }

    /// Decompresses `stored` to exactly `raw_len` bytes. The caller has bounded `raw_len`.
    pub fn decompress(&mut self, method: Method, stored: &[u8], raw_len: usize) -> Result<Buffer, DecompressError> {
        let mut out = Buffer::with_capacity(raw_len);
        match method {
            Method::Raw => out.extend_from_slice(stored),
            // What does not fit into the room is an error.
            Method::Zstd => {
                self.zstd.decompress_to_buffer(stored, &mut *out).map_err(DecompressError::Zstd)?;
            }
        }
        if out.len() != raw_len {
            return Err(DecompressError::Length { got: out.len(), stated: raw_len });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shrinks_and_noise_stays() {
        let (mut c, mut d) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());
        let text = b"the same words again and again, ".repeat(100);
        let mut out = Vec::new();
        assert_eq!(c.compress(&text, &mut out), Method::Zstd);
        assert!(out.len() < text.len() / 10);
        assert_eq!(*d.decompress(Method::Zstd, &out, text.len()).unwrap(), text);
        assert!(d.decompress(Method::Zstd, &out, text.len() - 1).is_err());
        assert!(d.decompress(Method::Zstd, &out, text.len() + 1).is_err());
        let noise: Vec<u8> = (0..64u8).collect();
        let mut out = Vec::new();
        assert_eq!(c.compress(&noise, &mut out), Method::Raw);
        assert_eq!(out, noise);
        let mut out = Vec::new();
        assert_eq!(c.compress(b"", &mut out), Method::Raw);
    }
}
