//! What the service is given from above: whoever starts it knows the environment, the settings' file and the key.

use crate::config::{model::Config, site::Site};
use crate::repo::{attach::Attached, audit::writer::Audit, open::Repository};
use std::sync::Arc;

/// What the service asks of whoever started it. Errors are texts for people, with place and cure.
pub trait Host: Send + Sync {
    /// Reads the settings anew.
    fn load(&self) -> Result<Config, String>;
    /// Opens the repository of the settings, with its index up to date as far as the store can be reached.
    fn open(&self, config: &Config) -> Result<Arc<Attached>, String>;
    /// The same, reading what the store gives now and nothing from a cache: for checks.
    fn fresh(&self, config: &Config) -> Result<Arc<Attached>, String>;
    /// The repository in the store of a site.
    fn copy(&self, config: &Config, at: &Arc<Attached>, site: &Site) -> Result<Repository, String>;
    /// How the sources and the repository stand, as JSON.
    fn standing(&self, config: &Config, at: &Arc<Attached>) -> Result<serde_json::Value, String>;
    /// The audit trail of the repository, as this process writes it.
    fn audit(&self, config: &Config, at: &Arc<Attached>) -> Result<Audit, String>;
    /// Records the rules of retention of the settings, where they are others than were recorded last, and tells which of their
    /// locks have no effect.
    fn note_policy(&self, config: &Config, at: &Arc<Attached>, audit: &Audit);
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}
