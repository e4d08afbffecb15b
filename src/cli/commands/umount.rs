//! `bygone umount`.

use crate::cli::args::upkeep::Umount;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::mount::umount::{self, Unmounted};
use crate::types::path;

/// Runs it. It needs no settings: what is mounted says the mount table.
pub fn run(args: &Umount) -> Result<Outcome, Failure> {
    if umount::umount(&args.dir).into_failure()? == Unmounted::Dead {
        let dir = path::show(args.dir.as_os_str().as_encoded_bytes());
        tracing::warn!("the process that answered for {dir} had been killed; what it left was removed");
    }
    Ok(Outcome::Done)
}
