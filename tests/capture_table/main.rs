//! What is captured: every attribute on every file system, odd and huge trees, files that do not hold still, and what is left
//! out.

#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user")]

#[path = "../common/describe.rs"]
mod describe;
mod kept;
#[path = "../common/lab.rs"]
mod lab;
mod large;
#[path = "../common/loopfs.rs"]
mod loopfs;
#[path = "../common/program.rs"]
mod program;
mod scope;
mod unsteady;
