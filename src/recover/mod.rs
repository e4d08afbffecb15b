//! Giving a directory back at once, as it was: a view below, an overlay above, filled behind, and then a plain directory.
//!
//! Beside the directory stands a work directory with all that this needs: the state, the view, the layers of the overlay, and the
//! plain directory that is being filled. Whatever ends the process, [`state`] tells how far it has come, and nothing that was
//! written into the directory is lost.

pub mod checks;
pub mod error;
mod fill;
mod layers;
pub mod lease;
mod merge;
pub mod session;
pub mod state;
mod swap;
mod told;
