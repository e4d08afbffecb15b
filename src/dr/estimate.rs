//! How long recovery from a place would take, by what was measured.

use super::error::DrError;
use crate::config::model::Config;
use crate::drill::place::DrillDir;
use crate::index::tree::Reader;
use crate::plan::{journal::Amount, rates::Rates};
use crate::repo::sites::Run;
use crate::types::snapshot::Source;

/// How long recovery takes, and what says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Seconds; `None` where nothing was measured.
    pub seconds: Option<f64>,
    /// By what.
    pub by: String,
}

/// By the last drill from the place that passed, else by restores on this host, else by the last replication to the place. `config` are
/// the settings with the place as the repository, `here` those with the repository itself.
pub fn estimate(
    (here, config): (&Config, &Config),
    reader: &Reader,
    wanted: &[Source],
    last: Option<&Run>,
) -> Result<Estimate, DrError> {
    // Records that do not read tell nothing here; `bygone drill list` names them.
    let drills = DrillDir::records(config).unwrap_or_default();
    let passed = drills.iter().rev().map(|(_, record)| record).find(|record| record.verdict.has_passed());
    if let Some((record, ms)) = passed.and_then(|record| Some((record, record.recovery_time.ms?))) {
        let by = format!("the drill {}", record.drill);
        return Ok(Estimate { seconds: Some(ms as f64 / 1000.0), by });
    }
    let mut amount = Amount { files: 0, bytes: 0 };
    for source in wanted {
        let extent = reader.extent(source.num)?;
        amount.files = amount.files.saturating_add(extent.files);
        amount.bytes = amount.bytes.saturating_add(extent.bytes);
    }
    for of in [config, here] {
        if let Some(ms) = Rates::load(of).ok().and_then(|rates| rates.restore_ms(amount)) {
            let by = format!("restores measured on this host, for {} file(s)", amount.files);
            return Ok(Estimate { seconds: Some(ms as f64 / 1000.0), by });
        }
    }
    let took = last.map(|run| (run.bytes, run.ended_ns.saturating_sub(run.begun_ns)));
    if let Some((bytes, ns)) = took.filter(|(bytes, ns)| *bytes > 1 << 20 && *ns > 0) {
        let rate = bytes as f64 / (ns as f64 / 1e9);
        let by = format!("the rate of the last replication, {:.1} MiB/s", rate / f64::from(1 << 20));
        return Ok(Estimate { seconds: Some(amount.bytes as f64 / rate), by });
    }
    let by = "nothing was measured: `bygone dr test` rehearses a plan from there".to_owned();
    Ok(Estimate { seconds: None, by })
}
