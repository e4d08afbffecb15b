//! The machine: what the kernel offers and the standard library does not.

pub mod fanotify;
