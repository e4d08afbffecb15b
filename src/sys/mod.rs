//! What the operating system gives, behind small interfaces: the only room that reads the clock or writes files.

pub mod clock;
