//! Tables in Markdown, a row for each target and one for how Sealstone stands to its peer.

use std::io::Write as _;

/// What is measured, and how it is written.
pub(crate) struct Column {
    name: &'static str,
    unit: &'static str,
    digits: usize,
    /// Whether it says something as a ratio.
    compared: bool,
}

impl Column {
    /// A quantity that is compared with the peer's.
    pub(crate) const fn compared(name: &'static str, unit: &'static str, digits: usize) -> Self {
        Self { name, unit, digits, compared: true }
    }

    /// One that only has to be right, or that explains another.
    pub(crate) const fn told(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, digits: 0, compared: false }
    }

    fn show(&self, value: f64) -> String {
        if value.is_finite() { format!("{value:.*}{}", self.digits, self.unit) } else { "—".into() }
    }
}

pub(crate) struct Table {
    columns: &'static [Column],
}

impl Table {
    pub(crate) fn begin(title: &str, case: &str, columns: &'static [Column]) -> Self {
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        println!("\n### {title}\n\n| {case} | server | {} |", names.join(" | "));
        println!("| --- | --- |{}", " --- |".repeat(columns.len()));
        Self { columns }
    }

    pub(crate) fn row(&self, case: &str, server: &str, values: &[f64]) {
        let cells: Vec<_> =
            self.columns.iter().zip(values).map(|(column, value)| column.show(*value)).collect();
        self.line(case, server, &cells);
    }

    pub(crate) fn ratios(&self, case: &str, server: &str, own: &[f64], of_peer: &[f64]) {
        let ratio = |(column, (own, of_peer)): (&Column, (&f64, &f64))| {
            let ratio = own / of_peer;
            if column.compared && ratio.is_finite() { format!("{ratio:.2} ×") } else { String::new() }
        };
        let cells: Vec<_> = self.columns.iter().zip(own.iter().zip(of_peer)).map(ratio).collect();
        self.line(case, server, &cells);
    }

    pub(crate) fn nothing(&self, case: &str, server: &str, why: &str) {
        self.line(case, server, &[why.to_owned()]);
    }

    /// A table is long in the making: each row is seen at once.
    fn line(&self, case: &str, server: &str, cells: &[String]) {
        println!("| {case} | {server} | {} |", cells.join(" | "));
        std::io::stdout().flush().unwrap();
    }
}
