//! A capture by a clock that is ahead.

use crate::capture::once;
use crate::config::{
    load,
    places::{Places, Surroundings},
};
use crate::crypto::slots::Secret;
use crate::progress::Quiet;
use crate::repo::{attach::Attached, open::Repository, replay};
use crate::store::local::LocalStore;
use crate::sys::clock::{Clock, SystemClock};
use crate::types::{snapshot::Tier, time::Instant};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// So far is the clock ahead, in nanoseconds: three days.
const AHEAD: i64 = 3 * 24 * 3600 * 1_000_000_000;

struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Instant {
        Instant(SystemClock.now().0 + AHEAD)
    }
}

/// Takes a snapshot of the first source of these settings, whose repository is a directory that the key file `key` opens. `home` is where
/// what the settings do not name would be.
pub(super) fn capture(settings: &Path, home: &Path, key: &Path) -> Result<(), String> {
    let told = |e: &dyn std::error::Error| e.to_string();
    let around = Surroundings {
        root: false,
        home: Some(home.to_owned()),
        config_home: None,
        state_home: None,
        runtime_dir: None,
        host: "rehearsal".to_owned(),
    };
    let places = Places::of(&around).map_err(|e| told(&e))?;
    let config = load::load_with_problems(Some(settings), &places).map_err(|e| told(&e))?.config;
    let dir = config.repository.dir().ok_or("the repository is no directory")?;
    let text = std::fs::read_to_string(key).map_err(|e| format!("cannot read {}: {e}", key.display()))?;
    let secret = Secret::from_key_file(&text).map_err(|e| told(&e))?;
    let repo = Repository::open(Arc::new(LocalStore::open(dir)), &secret).map_err(|e| told(&e))?;
    let at = Arc::new(Attached::open(Arc::new(repo), &config.state, Arc::new(Ahead)).map_err(|e| told(&e))?);
    replay::catch_up(&at, &Quiet).map_err(|e| told(&e))?;
    let source = config.sources.first().ok_or("the settings have no source")?;
    let never = AtomicBool::new(false);
    once::take(&config, &at, source, Tier::Incremental, (&Quiet, &never)).map_err(|e| told(&e))?;
    Ok(())
}
