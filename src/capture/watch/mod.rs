//! Watching a source's root: what may have changed, as hints, and never silence where something was missed.
//!
//! An event is only a hint that a path is dirty; what counts is what `statx` then says. Two watchers give the same
//! hints: fanotify with one mark a file system, where the process may, and inotify with one watch a directory.

mod events;
mod fanotify;
pub mod hint;
mod inotify;
pub mod mounts;
mod outbox;
mod resolve;
mod root;
mod tree;
pub mod watcher;

#[cfg(test)]
mod tests;
