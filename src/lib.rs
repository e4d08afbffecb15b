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
//! | 7 | `main.rs` |
//! | 6 | [`cli`] |
//! | 5 | [`mount`], [`restore`], [`verify`] |
//! | 4 | [`view`], [`capture`] |
//! | 3 | [`repo`] |
//! | 2 | [`store`], [`index`], [`chunk`], [`crypto`], [`config`] |
//! | 1 | [`types`], [`progress`], [`sys`] |

pub mod capture;
pub mod chunk;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod index;
pub mod mount;
pub mod progress;
pub mod repo;
pub mod restore;
pub mod store;
pub mod sys;
pub mod types;
pub mod verify;
pub mod view;
