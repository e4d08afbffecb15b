//! The manual pages of section 1, from the definitions of the command line.

use std::io;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_mangen::Man;

use super::args::top::Cli;

/// The date of the pages; to be moved when they change in substance.
const DATE: &str = "2026-11-23";

/// A manual page.
#[derive(Debug)]
pub struct Page {
    /// Its file's name, such as `bygone-mount.1`.
    pub name: String,
    /// Its content in roff.
    pub roff: Vec<u8>,
}

/// The pages of `bygone` and all its commands.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    add(&root, "bygone", &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, name: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    // A page has the whole name of its command, with dashes.
    let shown = command.clone().name(name.to_owned()).display_name(name.to_owned());
    let man = Man::new(shown)
        .title(name.to_uppercase())
        .section("1")
        .date(DATE)
        .source(concat!("bygone ", env!("CARGO_PKG_VERSION")))
        .manual("bygone manual");
    let mut roff = Vec::new();
    man.render(&mut roff)?;
    pages.push(Page { name: format!("{name}.1"), roff: tidy(&roff, &synopsis(command)) });
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
        add(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

/// How a command is called, in roff: its options with their values, those that are needed without brackets, and what may be given
/// several times with dots. Those of every command are named in the page of `bygone` only.
fn synopsis(command: &Command) -> String {
    let is_root = command.get_name() == "bygone";
    let is_told = |arg: &&Arg| !arg.is_hide_set() && (is_root || !(arg.is_global_set() || arg.get_id() == "help"));
    let mut words = vec![format!("\\fB{}\\fR", escaped(command.get_bin_name().unwrap_or_else(|| command.get_name())))];
    let choices: Vec<(bool, Vec<&Arg>)> = command
        .get_groups()
        .filter(|group| !(*group).clone().is_multiple())
        .map(|group| {
            let of = |arg: &&Arg| group.get_args().any(|id| id == arg.get_id());
            (group.is_required_set(), command.get_arguments().filter(is_told).filter(of).collect())
        })
        .collect();
    let is_chosen = |arg: &&Arg| choices.iter().any(|(_, of)| of.iter().any(|one| one.get_id() == arg.get_id()));
    let alone = || command.get_arguments().filter(is_told).filter(|arg| !is_chosen(arg));
    for (_, of) in choices.iter().filter(|(required, _)| *required) {
        words.push(format!("{{{}}}", one_of(of)));
    }
    words.extend(alone().filter(|arg| !arg.is_positional() && arg.is_required_set()).map(called));
    for (_, of) in choices.iter().filter(|(required, of)| !required && !of.is_empty()) {
        words.push(format!("[{}]", one_of(of)));
    }
    words.extend(alone().filter(|arg| !arg.is_positional() && !arg.is_required_set()).map(called));
    if !is_root {
        words.push("[\\fIoptions of every command\\fR]".to_owned());
    }
    words.extend(alone().filter(|arg| arg.is_positional()).map(called));
    if command.has_subcommands() {
        words.push("\\fIcommand\\fR ...".to_owned());
    }
    words.join(" ")
}

fn one_of(args: &[&Arg]) -> String {
    args.iter().map(|arg| bare(arg)).collect::<Vec<_>>().join(" | ")
}

/// An argument as it is given, in brackets where it need not be, and with dots where it may be again.
fn called(arg: &Arg) -> String {
    let again = match arg.get_action() {
        ArgAction::Append | ArgAction::Count => "...",
        _ if arg.is_positional() && arg.get_num_args().is_some_and(|n| n.max_values() > 1) => "...",
        _ => "",
    };
    let (begin, end) = if arg.is_required_set() { ("", "") } else { ("[", "]") };
    format!("{begin}{}{end}{again}", bare(arg))
}

/// An argument alone: its names and its value, not to be broken between them.
fn bare(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
    let long = arg.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", escaped(long)));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let takes = arg.is_positional() || arg.get_action().takes_values();
    let values = arg.get_value_names().unwrap_or_default().iter().filter(|_| takes);
    let values = values.map(|value| format!("\\fI{}\\fR", escaped(value)));
    (!names.is_empty()).then(|| names.join("|")).into_iter().chain(values).collect::<Vec<_>>().join("\\~")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Gives the page this synopsis, takes out line breaks beside empty lines, which are nothing and which mandoc complains about, and
/// gives the last section a name that says something.
fn tidy(roff: &[u8], synopsis: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(roff).replace(".SH EXTRA", ".SH NOTES");
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(at) = lines.iter().position(|line| *line == ".SH SYNOPSIS")
        && let Some(line) = lines.get_mut(at + 1)
    {
        *line = synopsis;
    }
    let near = |n: usize| {
        [n.checked_sub(1), Some(n + 1)].into_iter().flatten().any(|m| matches!(lines.get(m), Some(&"" | &".sp")))
    };
    let kept = lines.iter().enumerate().filter(|(n, line)| **line != ".br" || !near(*n));
    kept.flat_map(|(_, line)| [line.as_bytes(), b"\n"].concat()).collect()
}
