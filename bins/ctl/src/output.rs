//! Printing: tables for people, JSON and YAML for programs. The only place that writes to the terminal.
#![expect(clippy::print_stderr, reason = "a command line tool prints")]

use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use crate::args::Output;
use crate::error::CtlError;

/// Says what went wrong.
pub(crate) fn problem(error: &CtlError) {
    eprintln!("error: {error}");
}

/// Says something to a person.
pub(crate) fn say(text: &str) {
    out(&format!("{text}\n"));
}

/// Writes to standard output. Whoever reads it may have seen enough, as `head` has: that is no error.
fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Says how far a long work is. On a terminal the line is written over by the next one.
pub(crate) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K  … {text}");
        drop(std::io::stderr().flush());
    }
}

/// Says that a step of a long work is done.
pub(crate) fn done(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\r\x1b[2K  ✓ {text}");
    } else {
        eprintln!("  {text}");
    }
}

/// Prints a value for programs. For people there is [`table`].
pub(crate) fn value(value: &Value, output: Output) -> Result<(), CtlError> {
    match output {
        Output::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|e| CtlError::Failed(e.to_string()))?;
            say(&text);
        }
        Output::Table | Output::Yaml => {
            let text = serde_saphyr::to_string(value).map_err(|e| CtlError::Failed(e.to_string()))?;
            out(&text);
        }
    }
    Ok(())
}

/// Prints a table.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        say(text.trim_end());
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}
