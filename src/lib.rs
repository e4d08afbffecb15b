//! bygone: every moment of your files is a folder.
//!
//! bygone watches directories, captures each change into an encrypted, deduplicated repository, and mounts any past
//! instant as a read-only tree.
//!
//! # The house
//!
//! A room may use the floors below it and never those above; there are no circles. `tests/layers.rs` checks it.
//!
//! | floor | rooms |
//! | --- | --- |
//! | 8 | `main.rs` |
//! | 7 | [`cli`] |
//! | 6 | [`daemon`], [`dr`], [`drill`], [`plan`], [`recover`], [`repair`], [`report`] |
//! | 5 | [`mount`], [`observe`], [`produce`], [`replicate`], [`restore`], [`retention`], [`verify`] |
//! | 4 | [`view`], [`capture`] |
//! | 3 | [`repo`] |
//! | 2 | [`store`], [`index`], [`chunk`], [`crypto`], [`schedule`], [`config`] |
//! | 1 | [`types`], [`progress`], [`sys`] |
//!
//! # The two trips of a byte
//!
//! Down: [`capture::watch`] > [`capture::dirty`] > [`capture::engine`] > [`capture::copy`] > [`repo::ingest`] (cut, hash, frame, seal)
//! > [`repo::pack`] > [`store`], then the journal record ([`repo::write`]), then the [`index`].
//!
//! Up: kernel > [`mount::fuse`] > [`mount::fs`] > [`view`] > [`repo::frames`] > [`store`] > open > decompress.
//!
//! # Who holds what
//!
//! | who | holds | how long | so |
//! | --- | --- | --- | --- |
//! | the writer of a source ([`repo::write::SourceWriter`]) | `writer-<source>.lock` in the state directory | while it exists | a source has one writer on a host; a second one is refused at once |
//! | a record, being written or replayed ([`index::apply`]) | the index's write transaction | from its beginning to its commit | one record at a time enters the index; others wait, also other sources' |
//! | whoever gives a snapshot its time, or shows an instant ([`repo::moment`]) | the lock on `moment` in the state directory | for some reads and writes of it | no snapshot lands at or before an instant that was shown |
//! | a snapshot that has its time and does not show yet | a word in `moment`, with its process | until it shows or the process is gone | instants from it on are not settled |
//! | the service ([`daemon::run`]) | `daemon/lock` in the state directory | while it runs | a state directory has one service |
//! | readers of the index | a read transaction | one look-up, or some that belong together | they see one state, and never wait for a writer |
//! | the store ([`store::api::Store`]) | nothing | | objects are written once under names that nobody else chooses |
//! | settings and heartbeats | nothing | | files are replaced whole |
//!
//! Locks are taken in the order of the table, and given back by the kernel however a process ends. Writers on several hosts need
//! none: names in the store carry a random part, and two writers of one source are detected and both kept.

pub mod capture;
pub mod chunk;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod daemon;
pub mod dr;
pub mod drill;
pub mod index;
pub mod mount;
pub mod observe;
pub mod plan;
pub mod produce;
pub mod progress;
pub mod recover;
pub mod repair;
pub mod replicate;
pub mod repo;
pub mod report;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod store;
pub mod sys;
pub mod types;
pub mod verify;
pub mod view;
