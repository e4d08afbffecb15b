//! Keys and ciphers: derive, wrap, wipe; seal and open. The only room that knows the cipher.

pub mod seal;
//! Keys: the master secret, the slots that wrap it, and the text form of a key.

pub mod keytext;
pub mod master;
pub mod paper;
pub mod random;
mod slot_error;
mod slot_text;
pub mod slots;
mod stretch;
