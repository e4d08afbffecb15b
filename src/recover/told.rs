//! Telling the same thing once.

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told(String);

impl Told {
    /// Tells it, unless it was the last thing told.
    pub(super) fn once(&mut self, what: &str) {
        if self.0 != what {
            tracing::info!("{what}");
            self.0 = what.to_owned();
        }
    }
}
