//! Keys and ciphers: the master secret, what follows from it for each role, and the slots that wrap that; the text form of a key; derive, seal, open, wipe.
//! The only room that knows the cipher.

mod bundle;
mod content;
pub mod generation;
pub mod keys;
pub mod keytext;
mod later;
pub mod master;
pub mod paper;
pub mod random;
mod readers;
pub mod seal;
pub mod sha256;
mod slot_error;
mod slot_text;
pub mod slots;
mod stretch;
