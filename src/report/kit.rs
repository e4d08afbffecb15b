//! The offline recovery kit: all that somebody needs who has nothing but it, a key, and a copy of the repository.

use crate::report::html::Html;
use crate::types::when::{show, zone::Zone};
use serde::Serialize;

use super::model::When;

/// What the kit says.
#[derive(Debug, Serialize)]
pub struct Kit {
    /// When it was made.
    pub made: When,
    /// The host that made it.
    pub host: String,
    /// The version of the program.
    pub version: String,
    /// Whether the program itself is in the kit.
    pub program: bool,
    /// The name of the file with a key, where one was asked for.
    pub key_file: Option<String>,
    /// The repository.
    pub repository: Place,
    /// Copies at other sites.
    pub sites: Vec<Place>,
    /// The service of a bucket, where the settings name one.
    pub endpoint: Option<String>,
    /// The id of the repository, the same at all places.
    pub id: String,
    /// The BLAKE3 hash of its `bygone.toml`, in groups.
    pub fingerprint: String,
    /// Its key slots.
    pub keys: Vec<Key>,
    /// What it holds.
    pub sources: Vec<Source>,
    /// Recovery plans.
    pub plans: Vec<Plan>,
    /// What is known of the last drill.
    pub last_drill: Option<String>,
    /// What is known of the last verification.
    pub last_verified: Option<String>,
}

/// A place with the repository or a copy of it.
#[derive(Debug, Serialize)]
pub struct Place {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub location: String,
}

/// A key slot: what it is, and what it is called, which says where the key is.
#[derive(Debug, Serialize)]
pub struct Key {
    /// The beginning of its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// What whoever made it called it.
    pub label: String,
    /// When it was made.
    pub made: Option<When>,
}

/// A source and its newest snapshot.
#[derive(Debug, Serialize)]
pub struct Source {
    /// Its host.
    pub host: String,
    /// Its directory.
    pub root: String,
    /// The time of its newest snapshot.
    pub newest: When,
}

/// A plan as a runbook.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// The inputs that have to be given, as `name=WORD`.
    pub inputs: Vec<String>,
    /// The runbook, in lines.
    pub runbook: Vec<String>,
}

impl Plan {
    /// How it is tried.
    fn command(&self) -> String {
        let sets: String = self.inputs.iter().map(|input| format!(" --set {input}")).collect();
        format!("bygone plan run plans/{}.toml --at latest{sets} --dry-run", self.name)
    }
}

/// What is done, step by step: a title, what to do, and commands.
struct Step {
    title: &'static str,
    text: String,
    commands: Vec<String>,
}

impl Kit {
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let install = match self.program {
            true => (
                "The program is in this directory.".to_owned(),
                vec!["install -m 755 bygone /usr/local/bin/bygone".to_owned(), "apt-get install -y fuse3".to_owned()],
            ),
            false => (
                format!("Install bygone {} or a newer version, from the package or from its sources.", self.version),
                vec!["cargo install --path . --locked".to_owned()],
            ),
        };
        steps.push(Step { title: "Install the program", text: install.0, commands: install.1 });
        let key = match &self.key_file {
            Some(file) => (
                "A key is in this directory: whoever has the kit can read everything. Put it where only root reads it.".to_owned(),
                vec![format!("install -m 600 {file} /root/bygone.key")],
            ),
            None => (
                "Fetch one of the keys that are listed below, and save it as /root/bygone.key. A key on paper is typed in as it is printed; a \
                 page saved as a file is a key file too. For a passphrase, say so in the settings instead."
                    .to_owned(),
                vec!["chmod 600 /root/bygone.key".to_owned()],
            ),
        };
        steps.push(Step { title: "Have a key", text: key.0, commands: key.1 });
        steps.push(Step {
            title: "Recover the index",
            text: format!(
                "From the repository, or from a copy where it is lost. The fingerprint that is printed must be {}. Credentials of a bucket are \
                 in no kit: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
                self.fingerprint
            ),
            commands: std::iter::once(&self.repository)
                .chain(&self.sites)
                .map(|place| format!("bygone recover --repo {} --key-file /root/bygone.key --host {}", place.location, self.host))
                .collect(),
        });
        steps.push(Step {
            title: "Look, and bring back what is needed",
            text: "Nothing is changed by looking. A whole host goes onto a bare tree first.".to_owned(),
            commands: vec![
                "bygone list --by-source".to_owned(),
                "bygone mount /mnt/backups".to_owned(),
                "bygone restore --all --at latest --to /mnt/target".to_owned(),
                "bygone verify-tree /mnt/target --at latest --path /".to_owned(),
            ],
        });
        if !self.plans.is_empty() {
            steps.push(Step {
                title: "Or run a plan",
                text: "The plans are in the directory plans; each is printed below as a runbook. Put what is meant in the place of a \
                       word in capitals; without --dry-run it is done."
                    .to_owned(),
                commands: self.plans.iter().map(Plan::command).collect(),
            });
        }
        steps.push(Step {
            title: "Go on protecting",
            text:
                "The settings of before, without secrets, are in bygone.toml: look through them before they are used."
                    .to_owned(),
            commands: vec![
                "cp bygone.toml /etc/bygone/bygone.toml".to_owned(),
                "bygone config check && systemctl enable --now bygone".to_owned(),
            ],
        });
        steps
    }

    fn facts(&self, zone: &Zone) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("Made", format!("{} on {} by bygone {}", show::show_second(self.made.0, zone), self.host, self.version)),
            ("Repository", self.repository.location.clone()),
        ];
        facts.extend(self.sites.iter().map(|site| ("Copy", format!("{} ({})", site.location, site.name))));
        facts.extend(self.endpoint.iter().map(|endpoint| ("Service", endpoint.clone())));
        facts.push(("Id", self.id.clone()));
        facts.push(("Fingerprint", self.fingerprint.clone()));
        let unknown = || "none is known".to_owned();
        facts.push(("Last verification", self.last_verified.clone().unwrap_or_else(unknown)));
        facts.push(("Last drill", self.last_drill.clone().unwrap_or_else(unknown)));
        facts
    }

    fn key_line(key: &Key, zone: &Zone) -> String {
        let made = key.made.map(|made| format!(", made {}", show::show_second(made.0, zone))).unwrap_or_default();
        let label = if key.label.is_empty() { "without a label" } else { &key.label };
        format!("{}  {}: {label}{made}", key.id, key.kind)
    }
}

/// The kit as plain text.
pub fn text(kit: &Kit, zone: &Zone) -> String {
    let mut lines = vec![format!("RECOVERY KIT OF {}", kit.host), String::new()];
    lines.extend(kit.facts(zone).into_iter().map(|(what, value)| format!("{what:<18} {value}")));
    for (n, step) in kit.steps().into_iter().enumerate() {
        lines.extend([String::new(), format!("{}. {}", n + 1, step.title), format!("   {}", step.text)]);
        lines.extend(step.commands.into_iter().map(|command| format!("      {command}")));
    }
    lines.extend([String::new(), "KEYS, AND WHERE THEY ARE SAID TO BE".to_owned()]);
    lines.extend(kit.keys.iter().map(|key| format!("   {}", Kit::key_line(key, zone))));
    lines.extend([String::new(), "WHAT IS IN THE REPOSITORY".to_owned()]);
    lines.extend(
        kit.sources
            .iter()
            .map(|s| format!("   {} on {}: up to {}", s.root, s.host, show::show_second(s.newest.0, zone))),
    );
    for plan in &kit.plans {
        lines.push(String::new());
        lines.extend(plan.runbook.iter().cloned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The kit as one page of HTML to be printed, which needs nothing else.
pub fn page(kit: &Kit, zone: &Zone) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
        .raw("<title>Recovery kit</title>\n<style>\n")
        .raw(include_str!("page.css"))
        .raw("pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 8px 12px; background: var(--shade); border-radius: 3px; }\n")
        .raw("</style>\n</head>\n<body>\n<main>\n");
    html.line("<h1>", &format!("Recovery kit of {}", kit.host), "</h1>");
    html.raw("<dl>\n");
    for (what, value) in kit.facts(zone) {
        html.line("<dt>", what, "</dt>").line("<dd>", &value, "</dd>");
    }
    html.raw("</dl>\n<h2>What to do</h2>\n<ol>\n");
    for step in kit.steps() {
        html.raw("<li>").line("<b>", step.title, "</b>").line("<p>", &step.text, "</p>");
        html.line("<pre>", &step.commands.join("\n"), "</pre>").raw("</li>\n");
    }
    html.raw("</ol>\n<h2>Keys, and where they are said to be</h2>\n<ul>\n");
    for key in &kit.keys {
        html.line("<li>", &Kit::key_line(key, zone), "</li>");
    }
    html.raw("</ul>\n<h2>What is in the repository</h2>\n<table>\n<tr><th>Directory</th><th>Host</th><th class=\"time\">Up to</th></tr>\n");
    for source in &kit.sources {
        html.line("<tr><td>", &source.root, "</td>").line("<td>", &source.host, "</td>");
        html.line("<td class=\"time\">", &show::show_second(source.newest.0, zone), "</td></tr>");
    }
    html.raw("</table>\n");
    for plan in &kit.plans {
        html.line("<h2>", &format!("Plan {}", plan.name), "</h2>").line("<pre>", &plan.runbook.join("\n"), "</pre>");
    }
    html.raw("</main>\n</body>\n</html>\n");
    html.finish()
}
