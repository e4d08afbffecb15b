//! `bygone umount`.

use std::path::{Path, PathBuf};

use crate::cli::args::top::Global;
use crate::cli::args::upkeep::Umount;
use crate::cli::context::Context;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::service;
use crate::daemon::{
    protocol::{Answer, What},
    standing::Standing,
};
use crate::mount::umount::{self, Unmounted};
use crate::types::path;

/// Runs it. It needs no settings: what is mounted says the mount table. They tell which service may have mounted it.
pub fn run(global: &Global, args: &Umount) -> Result<Outcome, Failure> {
    let service = mounted_by(global, &args.dir);
    let dir = path::show(args.dir.as_os_str().as_encoded_bytes());
    if umount::umount(&args.dir).into_failure()? == Unmounted::Dead {
        tracing::warn!("the process that answered for {dir} had been killed; what it left was removed");
    }
    if let Some(service) = service {
        let Standing { pid, settings, .. } = *service;
        tracing::warn!(
            "{dir} is unmounted, but the service (process {pid}) mounts it there by its settings and will mount it again; to do: take \
             `at` out of [mount] in {} and run `bygone reload`",
            settings.display()
        );
    }
    Ok(Outcome::Done)
}

/// The service that mounts history on this directory, if one that can be asked does.
fn mounted_by(global: &Global, dir: &Path) -> Option<Box<Standing>> {
    let dir = umount::resolve(dir).ok()?;
    let context = Context::load_to_look(global).ok()?;
    let mut told = None;
    service::ask_any(&context, What::Jobs, &mut |answer| told = Some(answer)).ok()?;
    let Some(Answer::Standing { service, .. }) = told else { return None };
    let is_there = |at: &str| umount::resolve(&PathBuf::from(at)).is_ok_and(|at| at == dir);
    service.tasks.iter().any(|task| task.name.strip_prefix("mount ").is_some_and(is_there)).then_some(service)
}
