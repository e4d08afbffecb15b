//! The text format of Prometheus, version 0.0.4, as OpenMetrics reads it too: families with help and type, and their samples.

use std::fmt::Write as _;

/// What it is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A kind of metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// It may rise and fall.
    Gauge,
    /// It only rises, from the start of a process.
    Counter,
}

/// Names and values of labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A text that is being written.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// A family: its samples follow, each with its labels. One without samples is left out. Values that are no number of a
    /// measurement are left out too.
    pub fn family<'a>(
        &mut self,
        name: &str,
        (kind, help): (Type, &str),
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let mut samples = samples.into_iter().filter(|(_, value)| value.is_finite()).peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = match kind {
            Type::Gauge => "gauge",
            Type::Counter => "counter",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{} {value}", shown(&labels));
        }
    }

    /// A family of one sample without labels, if there is a value.
    pub fn one(&mut self, name: &str, of: (Type, &str), value: Option<f64>) {
        self.family(name, of, value.map(|value| (Vec::new(), value)));
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

fn shown(labels: Labels<'_>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let each = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)));
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_what_is_no_number_is_left_out() {
        let mut text = Exposition::default();
        let samples = [(vec![("source", "/a\"b\\c\nd")], 1.5), (vec![("source", "/x")], f64::NAN)];
        text.family("bygone_x", (Type::Gauge, "a\nb"), samples);
        text.one("bygone_y", (Type::Counter, "y"), None);
        text.one("bygone_z_total", (Type::Counter, "z"), Some(3.0));
        assert_eq!(
            text.finish(),
            "# HELP bygone_x a\\nb\n# TYPE bygone_x gauge\nbygone_x{source=\"/a\\\"b\\\\c\\nd\"} 1.5\n\
             # HELP bygone_z_total z\n# TYPE bygone_z_total counter\nbygone_z_total 3\n"
        );
    }
}
