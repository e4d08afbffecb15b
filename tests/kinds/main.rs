//! Every kind of data, by the real program: what commands print, the system, SQLite databases, PostgreSQL servers, sources
//! that are held still, and hooks.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod atomic;
mod cluster;
#[path = "../common/loopfs.rs"]
mod loopfs;
mod postgres;
mod produced;
mod sqlite;
mod world;
