//! Whether a PostgreSQL server gets rid of its WAL by its archive command.

use std::sync::atomic::AtomicBool;

use crate::config::kinds::{Kind, PostgresMode, WalFrom};
use crate::config::model::Source;
use crate::produce::{error::ProduceError, tools};

/// The last segment that failed and when, where nothing was archived since.
const QUESTION: &str = "select last_failed_wal || ' failed at ' || to_char(last_failed_time, 'YYYY-MM-DD HH24:MI:SSOF') || ', ' \
    || failed_count || ' time(s) since the counters began, and ' || case when last_archived_time is null then \
    'none was ever archived' else 'the last that was archived is of ' || to_char(last_archived_time, 'YYYY-MM-DD HH24:MI:SSOF') \
    end from pg_stat_archiver where last_failed_time > coalesce(last_archived_time, '-infinity')";

/// Why WAL does not come from the server of a source by its archive command; `None` where it does, where the server has nothing to
/// do with that, and where it can't be asked.
///
/// A server that does not answer is told of where its data is produced.
pub fn failing(source: &Source) -> Option<String> {
    let Kind::Postgres(server) = &source.kind else { return None };
    if server.mode != PostgresMode::Physical || server.wal != WalFrom::Archive {
        return None;
    }
    match ask(server) {
        Ok(said) => Some(said).filter(|said| !said.is_empty()),
        Err(e) => {
            tracing::debug!("cannot ask whether WAL is archived: {e}");
            None
        }
    }
}

fn ask(server: &crate::config::kinds::Postgres) -> Result<String, ProduceError> {
    tools::ask(server, QUESTION, &AtomicBool::new(false))
}
