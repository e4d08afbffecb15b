//! Collection: merged histories take the place of segments, and what nothing needs any more is deleted, in two phases.

pub mod attend;
pub mod give_up;
pub mod locks;
pub mod losses;
pub mod mend;
pub mod merged;
pub mod proof;
mod repack;
pub mod statement;
mod strangers;
pub mod sweep;
pub mod tables;
pub mod take;
