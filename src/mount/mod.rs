//! The mount: every instant as a directory, through FUSE.
//!
//! A request goes `fuse` (the one file that knows fuser) > `fs` (what is asked, of which node) > `top` (names of time, timeline,
//! hosts) or `tree` (inside a view) > the view and the index. Errors become numbers in `errno` alone.

pub mod errno;
pub mod follow;
pub mod fs;
pub mod fuse;
pub mod history;
pub mod inodes;
pub mod listing;
pub mod node;
pub mod places;
pub mod read;
pub mod session;
pub mod tags;
pub mod top;
pub mod tree;
pub mod umount;
pub mod xattr;
