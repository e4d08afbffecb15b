//! Keys: the master secret, the slots that wrap it, and the text form of a key.

pub mod keytext;
pub mod master;
pub mod paper;
pub mod random;
mod slot_error;
mod slot_text;
pub mod slots;
mod stretch;
