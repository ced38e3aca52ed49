//! What was measured, beside its bar.

use serde_json::json;

use crate::error::BenchError;

/// One number, or several that belong together.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    bar: Option<f64>,
    note: String,
}

impl Row {
    /// A number with a bar that it should not exceed.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str, bar: f64) -> Self {
        Self { what: what.into(), value, unit, bar: Some(bar), note: String::new() }
    }

    /// A number that only informs.
    pub(crate) fn info(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, bar: None, note: String::new() }
    }

    /// What to know beside the number.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn verdict(&self) -> &'static str {
        match self.bar {
            Some(bar) if self.value <= bar => "hit",
            Some(_) => "MISSED",
            None => "",
        }
    }
}

/// Prints one row for people.
#[expect(clippy::print_stdout, reason = "a command line prints")]
pub(crate) fn print(row: &Row) {
    let bar = row.bar.map(|bar| format!("bar {bar} {}", row.unit)).unwrap_or_default();
    println!(
        "{:<58} {:>10} {:<12} {:<20} {:<7} {}",
        row.what,
        number(row.value),
        row.unit,
        bar,
        row.verdict(),
        row.note
    );
}

/// Prints all rows for programs.
pub(crate) fn print_json(rows: &[Row]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({"what": row.what, "value": row.value, "unit": row.unit, "bar": row.bar,
                "hit": row.bar.map(|bar| row.value <= bar), "note": row.note})
        })
        .collect();
    say(&json!({ "rows": rows }).to_string());
}

#[expect(clippy::print_stdout, reason = "a command line prints")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Tells what is under way, apart from the results.
#[expect(clippy::print_stderr, reason = "a command line tells how far it is")]
pub(crate) fn progress(text: &str) {
    eprintln!("… {text}");
}

/// Prints why there is no result.
#[expect(clippy::print_stderr, reason = "a command line tells what went wrong")]
pub(crate) fn complain(error: &BenchError) {
    eprintln!("error: {error}");
}

fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value == value.trunc() => 0,
        100.0.. => 0,
        1.0.. => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}
