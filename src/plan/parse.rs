//! A file, read into a plan: all that is wrong with it is told at once.

use super::error::PlanError;
use super::model::{Check, How, Input, OnFailure, Plan, Postgres, Program, Restore, Server, Step, Undo, Wait, Work};
use super::raw::{InDrill, KindWord, RawPlan, RawStep, Text, Then, UndoWord};
use super::template::{NAME_RULE, Template, is_name};
use super::when::{Condition, FORM};
use crate::config::{check::Problem, error::Place, lenient};
use crate::types::duration::parse_duration;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// What to do about a value of which its error says what it can be.
pub(super) const SEE: &str = "correct it there; bygone-plan(5) explains every setting";
/// The largest plan that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// So many steps run at once where nothing is said.
const PARALLEL: usize = 4;
/// The most instants that are gone back over where nothing is said.
const TRIES: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// A plan as far as its file says it, and what is wrong with that.
#[derive(Debug)]
pub struct Read {
    /// The plan.
    pub plan: Plan,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// The names of all steps and inputs, those that could not be read too; none where the file is no TOML, so that what is not
    /// among them may be there.
    pub names: Option<Names>,
    /// The text of the file.
    pub text: String,
}

/// The names in a file.
#[derive(Debug, Default)]
pub struct Names {
    /// Those of its steps, in their order; one without a name has none.
    pub steps: Vec<Option<String>>,
    /// Those of its inputs.
    pub inputs: Vec<String>,
    /// For each step whether it says its kind, in whatever way.
    has_kind: Vec<bool>,
}

impl Names {
    fn of(text: &str) -> Option<Names> {
        let table: toml::Table = text.parse().ok()?;
        let steps: Vec<&toml::Value> = table.get("step").and_then(|s| s.as_array()).into_iter().flatten().collect();
        let inputs = table.get("input").and_then(|inputs| inputs.as_table());
        Some(Names {
            steps: steps.iter().map(|s| Some(s.get("name")?.as_str().unwrap_or_default().to_owned())).collect(),
            inputs: inputs.into_iter().flat_map(|inputs| inputs.keys().cloned()).collect(),
            has_kind: steps.iter().map(|s| s.get("kind").is_some()).collect(),
        })
    }
}

/// Reads a file. Fails only where it can't be read at all.
pub fn load(path: &Path) -> Result<Read, PlanError> {
    let failed = |source| PlanError::Read { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > FILE_MAX {
        return Err(failed(std::io::Error::other("it is larger than any plan")));
    }
    Ok(read(&std::fs::read_to_string(path).map_err(failed)?, path))
}

/// Reads `text`, the content of `path`.
pub fn read(text: &str, path: &Path) -> Read {
    let lenient = lenient::read::<RawPlan>(text);
    let at = |span: Option<Range<usize>>| Place::of(path, text, span);
    let problem = |(span, what)| Problem { place: at(span), what, cure: SEE.into() };
    let problems: Vec<Problem> = lenient.wrong.into_iter().map(problem).collect();
    let names = Names::of(text);
    let mut reading = Reading { at: &at, names: names.as_ref(), problems };
    let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plan = reading.plan(lenient.raw, name, path);
    let mut problems = reading.problems;
    problems.sort_by_key(|p| (p.place.line, p.place.column));
    Read { plan, problems, names, text: text.to_owned() }
}

struct Reading<'a> {
    at: &'a dyn Fn(Option<Range<usize>>) -> Place,
    names: Option<&'a Names>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn wrong(&mut self, span: Range<usize>, what: impl Into<String>, cure: impl Into<String>) {
        self.problems.push(Problem { place: (self.at)(Some(span)), what: what.into(), cure: cure.into() });
    }

    fn plan(&mut self, raw: RawPlan, name: String, path: &Path) -> Plan {
        let parallel = raw.parallel.map_or(PARALLEL, |n| self.number(&n, 1..=64, "parallel") as usize);
        let mut inputs = Vec::new();
        for (name, table) in raw.input {
            if !is_name(&name) || name == super::model::AT {
                let what = match name == super::model::AT {
                    true => "every plan has the input \"at\", the instant that --at gives".to_owned(),
                    false => format!("{name:?} can't name an input"),
                };
                self.wrong(table.span(), what, format!("give it another name: {NAME_RULE}"));
            }
            let place = (self.at)(Some(table.span()));
            let raw = table.into_inner();
            let input = Input { name, about: raw.about, sort: raw.sort, default: None, place };
            let default = raw.default.and_then(|given| {
                let span = given.span();
                let text = given.into_inner().text(input.sort);
                match text.and_then(|text| super::inputs::form(input.sort, &text).map(|()| text)) {
                    Ok(text) => Some(text),
                    Err(what) => {
                        self.wrong(span, format!("the default of {}: {what}", input.name), SEE);
                        None
                    }
                }
            });
            inputs.push(Input { default, ..input });
        }
        let steps = raw.step.into_iter().enumerate().map(|(n, table)| self.step(n, table)).collect();
        let on_failure: OnFailure = raw.on_failure;
        Plan { name, path: path.to_owned(), about: raw.about, on_failure, parallel, inputs, steps }
    }

    fn step(&mut self, n: usize, table: Spanned<RawStep>) -> Step {
        let span = table.span();
        let raw = table.into_inner();
        let name = self.name(n, &raw, &span);
        let known = self.kind(n, &raw, &span);
        let kind = known.unwrap_or_else(|| KindWord::guess(&raw.given()));
        let before = self.problems.len();
        for setting in raw.given() {
            if !kind.knows().contains(&setting) {
                let what = format!("the setting `{setting}` does not belong to a step of the kind {:?}", kind.word());
                self.wrong(span.clone(), what, format!("such a step has {}", kind.knows().join(", ")));
            }
        }
        let drill_skips = self.drill_skips(kind, &raw);
        let undo = self.undo(kind, &raw, &span);
        let work = self.work(kind, &raw, &span);
        if known.is_none() {
            // Of a step whose kind is not known only its values can be wrong.
            let whole = (self.at)(Some(span.clone()));
            let mut at = 0..;
            self.problems.retain(|problem| at.next().is_none_or(|n| n < before) || problem.place != whole);
        }
        let when = raw.when.iter().filter_map(|text| self.parsed(text, Condition::parse, FORM)).collect();
        let place = (self.at)(Some(raw.name.as_ref().map_or(span, Spanned::span)));
        Step {
            about: raw.about.clone(),
            place,
            needs: raw.needs.iter().map(|n| n.get_ref().clone()).collect(),
            when,
            timeout: raw.timeout.as_ref().and_then(|t| self.duration(t)),
            retries: raw.retries.as_ref().map_or(0, |n| self.number(n, 0..=100, "retries") as u32),
            retry_after: raw.retry_after.as_ref().and_then(|t| self.duration(t)).unwrap_or(5 * SECOND),
            again: raw.again.unwrap_or(true),
            may_fail: raw.may_fail,
            drill_skips,
            undo,
            work,
            name,
        }
    }

    /// The name of the step at `n`; one that can't be that of another where it has none.
    fn name(&mut self, n: usize, raw: &RawStep, span: &Range<usize>) -> String {
        let Some(name) = &raw.name else {
            // One that could not be read is told already.
            if self.names.is_some_and(|names| names.steps.get(n) == Some(&None)) {
                self.wrong(span.clone(), "the step lacks `name`", "give it a name: other steps name it in their needs");
            }
            return format!("number {}", n + 1);
        };
        if !is_step_name(name.get_ref()) {
            let rule = "it has letters, digits, - and _, and not more than 64 of them";
            let what = format!("{:?} can't name a step", name.get_ref());
            self.wrong(name.span(), what, format!("give it another name: {rule}"));
        }
        name.get_ref().clone()
    }

    /// The kind of the step at `n`, where it says one that there is.
    fn kind(&mut self, n: usize, raw: &RawStep, span: &Range<usize>) -> Option<KindWord> {
        let cure = || format!("write one of {}", KindWord::words());
        let Some(text) = &raw.kind else {
            if self.names.is_some_and(|names| names.has_kind.get(n) == Some(&false)) {
                self.wrong(span.clone(), "the step lacks `kind`", cure());
            }
            return None;
        };
        let kind = KindWord::parse(text.get_ref());
        if kind.is_none() {
            self.wrong(text.span(), format!("there is no kind {:?} of steps", text.get_ref()), cure());
        }
        kind
    }

    fn drill_skips(&mut self, kind: KindWord, raw: &RawStep) -> bool {
        let Some(word) = raw.drill.as_ref().filter(|word| *word.get_ref() == InDrill::Skip) else { return false };
        let outside = matches!(kind, KindWord::Command | KindWord::Wait | KindWord::Manual | KindWord::Notify);
        if !outside {
            let what = "drill = \"skip\" is for what would touch the outside: a command, a wait, a person, a message";
            self.wrong(word.span(), what, "leave it away: a drill without this step would prove nothing");
        }
        outside
    }

    fn undo(&mut self, kind: KindWord, raw: &RawStep, span: &Range<usize>) -> Option<Undo> {
        let given = usize::from(raw.undo.is_some())
            + usize::from(raw.undo_run.is_some())
            + usize::from(raw.undo_shell.is_some());
        if given > 1 {
            self.wrong(
                span.clone(),
                "the step says in several ways how it is taken back",
                "keep one of undo, undo-run and undo-shell",
            );
        }
        if let Some(word) = &raw.undo {
            let UndoWord::Remove = word.get_ref();
            let makes = matches!(kind, KindWord::Restore if raw.to.is_some()) || kind == KindWord::Postgres;
            if !makes {
                let what = "undo = \"remove\" is for what a step has made: a restore with `to`, and a recovered server";
                self.wrong(word.span(), what, "write undo-run or undo-shell");
            }
            return Some(Undo::Remove);
        }
        let how = self.how(&raw.undo_run, &raw.undo_shell)?;
        Some(Undo::Run(Program { how, user: None, dir: None, env: Vec::new() }))
    }

    fn work(&mut self, kind: KindWord, raw: &RawStep, span: &Range<usize>) -> Work {
        match kind {
            KindWord::Restore => Work::Restore(self.restore(raw, span)),
            KindWord::Postgres => Work::Postgres(Postgres {
                source: self.needed(&raw.source, "source", span),
                data: self.needed(&raw.data, "data", span),
                at: self.instant(&raw.at),
                keeps_running: raw.then.as_ref().is_none_or(|then| *then.get_ref() == Then::Run),
                user: self.text_if_any(&raw.user),
                bin: self.text_if_any(&raw.bin),
            }),
            KindWord::Command => Work::Command {
                program: self.program(raw, span),
                sets: raw.sets.as_ref().map(|name| name.get_ref().clone()),
            },
            KindWord::Check => Work::Check(self.check(raw, span)),
            KindWord::Wait => Work::Wait(self.wait(raw, span)),
            KindWord::Manual => Work::Manual { ask: self.needed(&raw.ask, "ask", span) },
            KindWord::Notify => Work::Notify {
                channel: self.text_if_any(&raw.channel),
                message: self.needed(&raw.message, "message", span),
            },
        }
    }

    fn restore(&mut self, raw: &RawStep, span: &Range<usize>) -> Restore {
        if raw.paths.as_ref().is_some_and(|p| !p.is_empty()) == raw.source.is_some() {
            self.wrong(span.clone(), "a restore says what by `paths` or by `source`", "give exactly one of the two");
        }
        let in_place = raw.in_place.as_ref().is_some_and(|yes| *yes.get_ref());
        if raw.to.is_some() == in_place {
            self.wrong(
                span.clone(),
                "a restore says where by `to` or by `in-place = true`",
                "give exactly one of the two",
            );
        }
        let delete = raw.delete.as_ref().is_some_and(|yes| *yes.get_ref());
        if let Some(place) = raw.delete.as_ref().filter(|_| delete && !in_place) {
            self.wrong(
                place.span(),
                "`delete` is for a restore in place",
                "leave it out: `to` gets what is not there yet",
            );
        }
        let overwrite = raw.overwrite.as_ref().is_some_and(|yes| *yes.get_ref());
        if let Some(place) = raw.overwrite.as_ref().filter(|_| overwrite && in_place) {
            self.wrong(
                place.span(),
                "`overwrite` is for a restore with `to`",
                "leave it out: in place, what differs is captured and then replaced",
            );
        }
        Restore {
            paths: self.texts(&raw.paths),
            source: self.text_if_any(&raw.source),
            to: self.text_if_any(&raw.to),
            delete,
            overwrite,
            host: self.text_if_any(&raw.host),
            at: self.instant(&raw.at),
        }
    }

    fn check(&mut self, raw: &RawStep, span: &Range<usize>) -> Check {
        let program = raw.run.is_some() || raw.shell.is_some();
        let all = [
            ("exists", raw.exists.is_some()),
            ("sqlite", raw.sqlite.is_some()),
            ("hash", raw.hash.is_some()),
            ("same", raw.same.is_some()),
            ("query", raw.query.is_some()),
            ("invariants", raw.invariants.as_ref().is_some_and(|all| *all.get_ref())),
            ("probe", raw.probe.is_some()),
            ("run", program && raw.probe.is_none()),
        ];
        let given: Vec<&str> = all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if given.len() != 1 {
            let what = match given.len() {
                0 => "the check does not say what is looked at".to_owned(),
                _ => format!("the check looks at several things: {}", given.join(", ")),
            };
            let cure = "give one of exists, sqlite, hash (with file), same (with here), query, invariants, probe, run and shell";
            self.wrong(span.clone(), what, cure);
        }
        match given.first() {
            Some(&"sqlite") => Check::Sqlite(self.texts(&raw.sqlite)),
            Some(&"hash") => {
                let hash = self.needed(&raw.hash, "hash", span);
                if hash.inputs().next().is_none() && !is_hash(hash.written()) {
                    let cure = "write \"sha256:\" or \"blake3:\" and 64 small hexadecimal digits";
                    self.wrong(raw.hash.as_ref().map_or(span.clone(), Spanned::span), "this is no hash", cure);
                }
                Check::Hash { file: self.needed(&raw.file, "file", span), hash }
            }
            Some(&"same") => Check::Same {
                path: self.needed(&raw.same, "same", span),
                here: self.needed(&raw.here, "here", span),
                at: self.instant(&raw.at),
                host: self.text_if_any(&raw.host),
            },
            Some(&"query") => self.query(raw, span),
            Some(&"invariants") => Check::Invariants,
            Some(&"probe") => self.newest(raw, span),
            Some(&"run") => Check::Program { program: self.program(raw, span), prints: self.text_if_any(&raw.prints) },
            _ => Check::Exists(self.texts(&raw.exists)),
        }
    }

    fn query(&mut self, raw: &RawStep, span: &Range<usize>) -> Check {
        let server = match (&raw.server, &raw.connection) {
            (Some(step), None) => Server::Step(step.get_ref().clone()),
            (None, Some(text)) => Server::Connection(self.text(text)),
            _ => {
                let cure = "give exactly one of `server`, the step that recovered it, and `connection`";
                self.wrong(span.clone(), "the check does not say which server is asked", cure);
                Server::Connection(Template::default())
            }
        };
        Check::Query {
            server,
            database: self.text_if_any(&raw.database),
            query: self.needed(&raw.query, "query", span),
            expect: self.text_if_any(&raw.expect),
        }
    }

    fn newest(&mut self, raw: &RawStep, span: &Range<usize>) -> Check {
        if raw.sets.is_none() {
            self.wrong(
                span.clone(),
                "the check has `probe` and no `sets`",
                "say by `sets` which input gets the instant",
            );
        }
        Check::Newest {
            probe: self.texts(&raw.probe),
            before: self.instant(&raw.before),
            program: self.program(raw, span),
            tries: raw.tries.as_ref().map_or(TRIES, |n| self.number(n, 1..=100_000, "tries") as u32),
            sets: raw.sets.as_ref().map(|s| s.get_ref().clone()).unwrap_or_default(),
        }
    }

    fn wait(&mut self, raw: &RawStep, span: &Range<usize>) -> Wait {
        let program = raw.run.is_some() || raw.shell.is_some();
        let every = raw.every.as_ref().and_then(|t| self.duration(t)).unwrap_or(SECOND);
        match (&raw.for_, program, &raw.port) {
            (Some(time), false, None) => Wait::For(self.duration(time).unwrap_or_default()),
            (None, true, None) => Wait::Until { program: self.program(raw, span), every },
            (None, false, Some(port)) => Wait::Port { port: self.text(port), every },
            _ => {
                let cure = "give one of `for`, `port`, and a program by `run` or `shell`";
                self.wrong(span.clone(), "the step does not say what one thing is waited for", cure);
                let time = raw.for_.as_ref().and_then(|time| self.duration(time)).unwrap_or_default();
                match (program, &raw.port) {
                    (true, _) => Wait::Until { program: self.program(raw, span), every },
                    (false, Some(port)) => Wait::Port { port: self.text(port), every },
                    (false, None) => Wait::For(time),
                }
            }
        }
    }

    fn program(&mut self, raw: &RawStep, span: &Range<usize>) -> Program {
        if raw.run.is_some() == raw.shell.is_some() {
            let cure = "give exactly one of `run`, a list, and `shell`, a line";
            self.wrong(span.clone(), "the step does not say which one program runs", cure);
        }
        let how = self.how(&raw.run, &raw.shell).unwrap_or(How::Shell(String::new()));
        let env = raw.env.iter().flatten().map(|(name, text)| (name.clone(), self.text(text))).collect();
        for (name, text) in raw.env.iter().flatten() {
            if name.is_empty() || name.contains(['=', '\0']) {
                self.wrong(text.span(), format!("{name:?} can't name a variable"), "write letters, digits and _");
            }
        }
        Program { how, user: self.text_if_any(&raw.user), dir: self.text_if_any(&raw.dir), env }
    }

    fn how(&mut self, run: &Option<Vec<Text>>, shell: &Option<Text>) -> Option<How> {
        match (run, shell) {
            (Some(args), _) => Some(How::Args(args.iter().map(|text| self.text(text)).collect())),
            (None, Some(line)) => Some(How::Shell(line.get_ref().clone())),
            (None, None) => None,
        }
    }

    fn needed(&mut self, text: &Option<Text>, name: &str, span: &Range<usize>) -> Template {
        match text {
            Some(text) => self.text(text),
            None => {
                self.wrong(span.clone(), format!("the step lacks `{name}`"), SEE);
                Template::default()
            }
        }
    }

    fn instant(&mut self, text: &Option<Text>) -> Template {
        let usual = || Template::parse("${at}").unwrap_or_default();
        self.text_if_any(text).unwrap_or_else(usual)
    }

    fn texts(&mut self, texts: &Option<Vec<Text>>) -> Vec<Template> {
        texts.iter().flatten().map(|text| self.text(text)).collect()
    }

    fn text_if_any(&mut self, text: &Option<Text>) -> Option<Template> {
        text.as_ref().map(|text| self.text(text))
    }

    fn text(&mut self, text: &Text) -> Template {
        self.parsed(text, Template::parse, SEE).unwrap_or_default()
    }

    fn duration(&mut self, text: &Text) -> Option<Duration> {
        self.parsed(text, parse_duration, SEE)
    }

    fn parsed<T>(&mut self, text: &Text, parse: fn(&str) -> Result<T, String>, cure: &str) -> Option<T> {
        match parse(text.get_ref()) {
            Ok(value) => Some(value),
            Err(what) => {
                self.wrong(text.span(), what, cure);
                None
            }
        }
    }

    fn number(&mut self, number: &Spanned<i64>, range: std::ops::RangeInclusive<i64>, name: &str) -> i64 {
        let (n, low, high) = (*number.get_ref(), *range.start(), *range.end());
        if !range.contains(&n) {
            self.wrong(number.span(), format!("{name} is from {low} to {high}"), SEE);
        }
        n.clamp(low, high)
    }
}

fn is_step_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= 64 && text.chars().all(good)
}

/// Whether it is a hash as a check takes it.
pub(super) fn is_hash(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").or(text.strip_prefix("blake3:"));
    digits.is_some_and(|d| d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}
