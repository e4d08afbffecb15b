//! What a plan that reads well still gets wrong: in itself, and beside the settings. Nothing is run.

use super::graph::above;
use super::model::{AT, Check, How, Plan, Program, Restore, Server, Sort, Step, Undo, Wait, Work};
use super::parse::{Names, Read};
use super::template::Template;
use super::when::Subject;
use crate::config::{
    check::Problem,
    kinds::{Kind, PostgresMode},
    model::Config,
};
use crate::sys::users;
use std::collections::BTreeSet;
use std::path::Path;

/// All that is wrong with a plan, in the order of the file.
pub fn check(read: &Read, config: &Config) -> Vec<Problem> {
    let mut looking = Looking { plan: &read.plan, config, names: read.names.as_ref(), problems: read.problems.clone() };
    if read.names.as_ref().is_some_and(|names| names.steps.is_empty()) {
        let place = crate::config::error::Place::whole(&read.plan.path);
        looking.problems.push(Problem { place, what: "the plan has no steps".into(), cure: "add a [[step]]".into() });
    }
    for (n, step) in read.plan.steps.iter().enumerate() {
        if read.plan.steps[..n].iter().any(|other| other.name == step.name) {
            looking.wrong(
                step,
                format!("there are two steps of the name {:?}", step.name),
                "give each a name of its own",
            );
        }
        looking.needs(step);
        looking.inputs(step);
        looking.conditions(step);
        looking.work(step);
    }
    let mut problems = looking.problems;
    problems.sort_by_key(|p| (p.place.line, p.place.column));
    problems.dedup();
    problems
}

/// The input that a step gives a value.
pub fn sets(step: &Step) -> Option<&str> {
    match &step.work {
        Work::Command { sets, .. } => sets.as_deref(),
        Work::Check(Check::Newest { sets, .. }) => Some(sets),
        _ => None,
    }
}

struct Looking<'a> {
    plan: &'a Plan,
    config: &'a Config,
    names: Option<&'a Names>,
    problems: Vec<Problem>,
}

impl Looking<'_> {
    fn wrong(&mut self, step: &Step, what: impl Into<String>, cure: impl Into<String>) {
        self.problems.push(Problem { place: step.place.clone(), what: what.into(), cure: cure.into() });
    }

    /// Whether no step is called so, also none that could not be read.
    fn no_step(&self, name: &str) -> bool {
        self.names.is_some_and(|names| !names.steps.iter().flatten().any(|step| step == name))
    }

    /// Whether no input is called so, also none that could not be read.
    fn no_input(&self, name: &str) -> bool {
        self.names.is_some_and(|names| !names.inputs.iter().any(|input| input == name))
    }

    fn needs(&mut self, step: &Step) {
        for need in &step.needs {
            if self.no_step(need) {
                let what = format!("step {}: it needs {need:?}, and there is no such step", step.name);
                self.wrong(step, what, format!("the steps are {}", names(self.plan)));
            }
        }
        if above(self.plan, step).contains(step.name.as_str()) {
            let what = format!("step {}: what it needs leads back to it: it can never begin", step.name);
            self.wrong(step, what, "take one of the needs on that way out");
        }
    }

    fn inputs(&mut self, step: &Step) {
        for name in templates(step).iter().flat_map(|t| t.inputs()).collect::<BTreeSet<&str>>() {
            self.input(step, name);
        }
        if let Some(name) = sets(step) {
            let sort = self.plan.input(name).map(|input| input.sort);
            if self.no_input(name) {
                let what = format!("step {}: it sets the input {name:?}, and there is none", step.name);
                self.wrong(step, what, format!("add a table [input.{name}]"));
            } else if matches!(&step.work, Work::Check(_)) && sort.is_some_and(|sort| sort != Sort::Time) {
                let what = format!("step {}: it sets the input {name:?} to an instant", step.name);
                self.wrong(step, what, format!("give [input.{name}] the type \"time\""));
            }
            let others = self.plan.steps.iter().filter(|s| sets(s) == Some(name)).count();
            if others > 1 {
                let what = format!("step {}: another step sets the input {name:?} too", step.name);
                self.wrong(step, what, "let one step set it");
            }
        }
    }

    /// An input that is used is there, and has its value by then.
    fn input(&mut self, step: &Step, name: &str) {
        if name == AT {
            return;
        }
        let Some(input) = self.plan.input(name) else {
            if !self.no_input(name) {
                return;
            }
            let what = format!("step {}: ${{{name}}} names no input", step.name);
            let inputs: Vec<&str> = self.plan.inputs.iter().map(|i| i.name.as_str()).collect();
            let known = [&[AT], &inputs[..]].concat().join(", ");
            return self.wrong(step, what, format!("the inputs are {known}; a table [input.{name}] adds one"));
        };
        let setter = self.plan.steps.iter().find(|s| sets(s) == Some(name));
        if let Some(setter) = setter.filter(|_| input.default.is_none())
            && !above(self.plan, step).contains(setter.name.as_str())
        {
            let what =
                format!("step {}: ${{{name}}} is set by the step {}, which it does not need", step.name, setter.name);
            self.wrong(step, what, format!("add {:?} to its needs", setter.name));
        }
    }

    fn conditions(&mut self, step: &Step) {
        for condition in &step.when {
            match &condition.subject {
                Subject::Input(name) if name == AT => {}
                Subject::Input(name) => {
                    self.input(step, name);
                    let sort = self.plan.input(name).map(|input| input.sort);
                    if let Some(Err(why)) = sort.map(|sort| super::inputs::form(sort, &condition.value)) {
                        let what = format!("step {}: the condition \"{condition}\" can never hold: {why}", step.name);
                        self.wrong(step, what, "name a value that it can have");
                    }
                }
                Subject::Step(name) if self.plan.step(name).is_none() && !self.no_step(name) => {}
                Subject::Step(name) if self.plan.step(name).is_none() => {
                    let what = format!("step {}: the condition \"{condition}\" names no step", step.name);
                    self.wrong(step, what, format!("the steps are {}", names(self.plan)));
                }
                Subject::Step(name) if !above(self.plan, step).contains(name.as_str()) => {
                    let what = format!(
                        "step {}: the condition \"{condition}\" is about a step that it does not need",
                        step.name
                    );
                    self.wrong(step, what, format!("add {name:?} to its needs"));
                }
                Subject::Step(_) => {}
            }
        }
    }

    fn work(&mut self, step: &Step) {
        match &step.work {
            Work::Restore(Restore { source: Some(source), .. }) => self.source(step, source, false),
            Work::Postgres(postgres) => {
                self.source(step, &postgres.source, true);
                self.user(step, &postgres.user);
            }
            Work::Notify { channel, .. } => self.channel(step, channel.as_ref()),
            Work::Check(Check::Query { server: Server::Step(name), .. }) => self.server(step, name),
            Work::Wait(Wait::Port { port, .. }) => {
                let text = port.written();
                let is_port =
                    text.rsplit_once(':').is_some_and(|(host, n)| !host.is_empty() && n.parse::<u16>().is_ok());
                if port.inputs().next().is_none() && !text.starts_with('/') && !is_port {
                    let what = format!("step {}: {text:?} is no port", step.name);
                    self.wrong(step, what, "write host:number, or the path of a socket");
                }
            }
            _ => {}
        }
        for program in programs(step) {
            self.program(step, program);
        }
        for path in absolute(step) {
            let text = path.written();
            if !text.starts_with('/') && !text.starts_with("${") {
                let what = format!("step {}: the path {text:?} is not absolute", step.name);
                self.wrong(step, what, "write it from the root, beginning with /, or with an input");
            }
        }
    }

    fn program(&mut self, step: &Step, program: &Program) {
        if let How::Args(args) = &program.how {
            let name = args.first().map(Template::written).unwrap_or_default();
            if name.is_empty() {
                let what = format!("step {}: the list of a program is empty", step.name);
                self.wrong(step, what, "name the program first, then its arguments");
            } else if name.starts_with('/') && !name.contains('$') && !Path::new(name).exists() {
                let what = format!("step {}: the program {name} is not there", step.name);
                self.wrong(step, what, "install it, or correct the path");
            }
        }
        self.user(step, &program.user);
    }

    fn user(&mut self, step: &Step, user: &Option<Template>) {
        let Some(user) = user.as_ref().filter(|user| user.inputs().next().is_none()) else { return };
        let what = match users::uid_of(user.written()) {
            Ok(Some(_)) => return,
            Ok(None) => format!("step {}: this system knows no user {:?}", step.name, user.written()),
            Err(e) => format!("step {}: cannot look up the user {:?}: {e}", step.name, user.written()),
        };
        self.wrong(step, what, "make the user, or name another");
    }

    fn source(&mut self, step: &Step, source: &Template, is_server: bool) {
        if source.inputs().next().is_some() {
            return;
        }
        let name = source.written();
        let found = self.config.sources.iter().find(|s| is_source(s, name));
        let server = |kind: &Kind| matches!(kind, Kind::Postgres(server) if server.mode == PostgresMode::Physical);
        match found {
            None => {
                let all: Vec<String> = self.config.sources.iter().map(crate::produce::hooks::label).collect();
                let what = format!("step {}: the settings have no source {name:?}", step.name);
                self.wrong(step, what, format!("the sources are {}", all.join(", ")));
            }
            Some(found) if is_server && !server(&found.kind) => {
                let what =
                    format!("step {}: the source {name:?} is no PostgreSQL server with its files and WAL", step.name);
                self.wrong(step, what, "name a source with kind = \"postgres\" and mode = \"physical\"");
            }
            Some(_) => {}
        }
    }

    fn channel(&mut self, step: &Step, channel: Option<&Template>) {
        let all: Vec<&str> = self.config.channels.iter().map(|c| c.name.as_str()).collect();
        let named = channel.filter(|c| c.inputs().next().is_none()).map(Template::written);
        if all.is_empty() || named.is_some_and(|name| !all.contains(&name)) {
            let what = match named {
                Some(name) => format!("step {}: the settings have no channel {name:?}", step.name),
                None => format!("step {}: the settings have no channel of notifications", step.name),
            };
            let cure = if all.is_empty() {
                "add a [[notify]] to the settings".into()
            } else {
                format!("there are {}", all.join(", "))
            };
            self.wrong(step, what, cure);
        }
    }

    fn server(&mut self, step: &Step, name: &str) {
        let runs = |s: &Step| matches!(&s.work, Work::Postgres(postgres) if postgres.keeps_running);
        let problem = match self.plan.step(name) {
            None if !self.no_step(name) => return,
            None => "which is no step",
            Some(server) if !runs(server) => "which recovers no server that runs on",
            Some(server) if !above(self.plan, step).contains(server.name.as_str()) => "which it does not need",
            Some(_) => return,
        };
        let what = format!("step {}: it asks the server of {name:?}, {problem}", step.name);
        self.wrong(step, what, "name a step of the kind \"postgres\" with then = \"run\", and add it to its needs");
    }
}

/// Whether a source of the settings is called so: by its name, or by its path.
pub(super) fn is_source(source: &crate::config::model::Source, name: &str) -> bool {
    source.name.as_deref() == Some(name) || source.path == Path::new(name)
}

fn names(plan: &Plan) -> String {
    plan.steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The programs that a step runs, that of its undo too.
fn programs(step: &Step) -> Vec<&Program> {
    let own = match &step.work {
        Work::Command { program, .. }
        | Work::Check(Check::Program { program, .. } | Check::Newest { program, .. })
        | Work::Wait(Wait::Until { program, .. }) => Some(program),
        _ => None,
    };
    let undo = step.undo.iter().filter_map(|undo| match undo {
        Undo::Run(program) => Some(program),
        Undo::Remove => None,
    });
    own.into_iter().chain(undo).collect()
}

/// The texts of a step that are absolute paths.
fn absolute(step: &Step) -> Vec<&Template> {
    let mut all: Vec<&Template> = programs(step).into_iter().filter_map(|p| p.dir.as_ref()).collect();
    match &step.work {
        Work::Restore(r) => all.extend(r.paths.iter().chain(&r.to)),
        Work::Postgres(p) => all.extend([&p.data].into_iter().chain(&p.bin)),
        Work::Check(Check::Exists(paths) | Check::Sqlite(paths)) => all.extend(paths),
        Work::Check(Check::Hash { file, .. }) => all.push(file),
        Work::Check(Check::Same { path, here, .. }) => all.extend([path, here]),
        Work::Check(Check::Newest { probe, .. }) => all.extend(probe),
        _ => {}
    }
    // What could not be read is told already.
    all.retain(|text| !text.written().is_empty());
    all
}

/// All texts of a step in which inputs can stand.
pub(super) fn templates(step: &Step) -> Vec<&Template> {
    let mut all = absolute(step);
    for program in programs(step) {
        if let How::Args(args) = &program.how {
            all.extend(args);
        }
        all.extend(program.env.iter().map(|(_, text)| text).chain(&program.user));
    }
    match &step.work {
        Work::Restore(r) => all.extend(r.source.iter().chain(&r.host).chain([&r.at])),
        Work::Postgres(p) => all.extend([&p.source, &p.at].into_iter().chain(&p.user)),
        Work::Check(Check::Hash { hash, .. }) => all.push(hash),
        Work::Check(Check::Same { at, host, .. }) => all.extend([at].into_iter().chain(host)),
        Work::Check(Check::Program { prints, .. }) => all.extend(prints),
        Work::Check(Check::Newest { before, .. }) => all.push(before),
        Work::Check(Check::Query { server, database, query, expect }) => {
            all.extend([query].into_iter().chain(expect).chain(database));
            if let Server::Connection(text) = server {
                all.push(text);
            }
        }
        Work::Wait(Wait::Port { port, .. }) => all.push(port),
        Work::Manual { ask } => all.push(ask),
        Work::Notify { channel, message } => all.extend([message].into_iter().chain(channel)),
        _ => {}
    }
    all
}
