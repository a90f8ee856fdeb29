//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Write as _;

use super::count::{Count, Histogram, Rows};

/// Labels of one sample: names and values.
type Labels<'a> = [(&'a str, &'a str)];

/// The text, family after family.
#[derive(Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    pub(super) fn end(self) -> String {
        self.out
    }

    /// Begins a family: the samples after it are of it.
    pub(super) fn family(&mut self, kind: &str, name: &'static str, help: &str) {
        self.name = name;
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str, count: &Count) {
        self.family("counter", name, help);
        self.sample("", &[], count.get());
    }

    pub(super) fn counters(&mut self, name: &'static str, help: &str, label: &str, counts: &Rows<Count>) {
        self.family("counter", name, help);
        for (values, count) in counts.iter() {
            let labels: Vec<_> = values.iter().map(|value| (label, value.as_str())).collect();
            self.sample("", &labels, count.get());
        }
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str, level: u64) {
        self.family("gauge", name, help);
        self.sample("", &[], level);
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family("histogram", name, help);
        self.distribution(&[], histogram);
    }

    /// One histogram of the family. Its stretches are shown as Prometheus has them, each with all below it.
    pub(super) fn distribution(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        let (stretches, sum) = histogram.get();
        let shown = |value: u64| value as f64 / histogram.per_unit as f64;
        let bounds = histogram.bounds.iter().map(|bound| shown(*bound).to_string());
        let mut below = 0_u64;
        for (bound, n) in bounds.chain(["+Inf".to_owned()]).zip(stretches) {
            below = below.saturating_add(n);
            self.sample("_bucket", &[labels, &[("le", bound.as_str())]].concat(), below);
        }
        self.sample("_sum", labels, shown(sum));
        self.sample("_count", labels, below);
    }

    pub(super) fn sample(&mut self, suffix: &str, labels: &Labels<'_>, value: impl std::fmt::Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (i, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.out, "{}{name}=\"{value}\"", if i == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}
