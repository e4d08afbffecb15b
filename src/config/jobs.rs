//! The jobs that the settings make: those of the sources, and those with a table of their own.

use std::path::PathBuf;

use super::drill::DrillSettings;
use super::kinds::Produce;
use super::model::{Config, JobSettings, Source, Task};
use super::site::Site;
use crate::schedule::job::{Job, Retries};
use crate::schedule::model::Schedule;
use crate::types::when::zone::Zone;

/// A job, and what it does.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// When it runs. The name of a source's is its task and its path, with a space between them.
    pub job: Job,
    /// What it does.
    pub task: Task,
    /// The source it is for; all of them if none.
    pub source: Option<PathBuf>,
    /// The site it is for, where it brings one up to date.
    pub site: Option<String>,
    /// The plan it is for, where it rehearses one.
    pub drill: Option<String>,
}

/// All jobs: those of the sources in their order, full before differential before produce, then
/// those of the sites, then those of the drills, and then the others.
pub fn jobs(config: &Config) -> Vec<Assigned> {
    let of_sources = config.sources.iter().flat_map(|source| {
        let produce = source.produce.as_ref().map(Produce::schedule);
        let tasks = [
            (Task::Full, source.full.clone()),
            (Task::Differential, source.differential.clone()),
            (Task::Produce, produce),
        ];
        tasks.into_iter().filter_map(move |(task, schedule)| Some(of_source(config, source, task, schedule?)))
    });
    let of_sites = config.sites.iter().filter_map(|site| Some(of_site(config, site, site.schedule.clone()?)));
    let of_drills = config.drills.iter().map(|drill| of_drill(config, drill));
    of_sources.chain(of_sites).chain(of_drills).chain(config.jobs.iter().map(|job| of_table(config, job))).collect()
}

/// The zone of schedules that do not name one: that of `[schedule]`, or the one in which times are shown. One that there is not is
/// told where it is looked at.
pub fn zone(config: &Config) -> Zone {
    config.schedule.zone.clone().unwrap_or_else(|| config.zone().unwrap_or_else(|_| Zone::system()))
}

fn of_source(config: &Config, source: &Source, task: Task, schedule: Schedule) -> Assigned {
    let job = Job {
        name: format!("{} {}", task.word(), source.path.display()),
        schedule,
        zone: zone(config),
        jitter: source.jitter,
        blackout: source.blackout.clone(),
        retries: Retries { count: config.schedule.retries, after: config.schedule.retry_after },
    };
    Assigned { job, task, source: Some(source.path.clone()), site: None, drill: None }
}

fn of_site(config: &Config, site: &Site, schedule: Schedule) -> Assigned {
    let job = Job {
        name: format!("{} {}", Task::Replicate.word(), site.name),
        schedule,
        zone: zone(config),
        jitter: site.jitter,
        blackout: site.blackout.clone(),
        retries: Retries { count: config.schedule.retries, after: config.schedule.retry_after },
    };
    Assigned { job, task: Task::Replicate, source: None, site: Some(site.name.clone()), drill: None }
}

fn of_drill(config: &Config, of: &DrillSettings) -> Assigned {
    let job = Job {
        name: format!("{} {}", Task::Drill.word(), of.plan),
        schedule: of.schedule.clone(),
        zone: zone(config),
        jitter: of.jitter,
        blackout: of.blackout.clone(),
        retries: Retries { count: config.schedule.retries, after: config.schedule.retry_after },
    };
    Assigned { job, task: Task::Drill, source: None, site: None, drill: Some(of.plan.clone()) }
}

fn of_table(config: &Config, of: &JobSettings) -> Assigned {
    let job = Job {
        name: of.name.clone(),
        schedule: of.schedule.clone(),
        zone: of.zone.clone().unwrap_or_else(|| zone(config)),
        jitter: of.jitter,
        blackout: of.blackout.clone(),
        retries: Retries {
            count: of.retries.unwrap_or(config.schedule.retries),
            after: of.retry_after.unwrap_or(config.schedule.retry_after),
        },
    };
    Assigned { job, task: of.run, source: None, site: None, drill: None }
}
