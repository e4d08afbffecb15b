//! Keys and ciphers: derive, wrap, wipe; seal and open. The only room that knows the cipher.

pub mod seal;
