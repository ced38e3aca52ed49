//! From a change that the cloud has accepted to the first instruction of the application's new version.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::Setup;
use crate::bed::{Bed, application};
use crate::clock::{now, quantile, until};
use crate::error::BenchError;
use crate::table::{Row, progress};

/// The word that makes this program the application: it notes when it began, then sleeps.
pub(crate) const MARK: &str = "mark";
const APP: &str = "marker";
/// The time between two changes.
const SPACING: Duration = Duration::from_secs(2);

/// The application: appends its number and the time to a file.
pub(crate) fn mark(arguments: &[OsString]) -> ExitCode {
    let began = now();
    let [file, number] = arguments else { return ExitCode::FAILURE };
    let line = format!("{} {}\n", number.display(), began.as_nanos());
    let file = OpenOptions::new().create(true).append(true).open(file);
    if file.and_then(|mut file| file.write_all(line.as_bytes())).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

pub(super) fn push(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let bed = Bed::start(&setup.data, "push", &setup.baetyl)?;
    let own = std::env::current_exe().map_err(BenchError::when("this program"))?;
    bed.program("marker", &own)?;
    let file = setup.data.join("push/marks");
    let body = |number: usize| {
        let (file, number) = (file.to_string_lossy(), number.to_string());
        application(APP, "marker", &[MARK, file.as_ref(), number.as_str()])
    };
    bed.admin.ask("POST", "/v1/apps", &body(0))?;
    let mark = |number: usize| {
        let gap = Duration::from_millis(20);
        until(&format!("version {number} to start"), Duration::from_secs(30), gap, || {
            Ok(began(&fs::read_to_string(&file).unwrap_or_default(), number))
        })
    };
    mark(0)?;
    setup.wait("settling", 5, 10);
    let changes = setup.pick(30, 200);
    progress(&format!("{changes} changes"));
    let mut times = Vec::new();
    for number in 1..=changes {
        let started = now();
        let (_, accepted) = bed.admin.ask_at("PUT", &format!("/v1/apps/{APP}"), &body(number))?;
        // It may run before the answer is read.
        times.push(mark(number)?.saturating_sub(accepted));
        std::thread::sleep(SPACING.saturating_sub(now().saturating_sub(started)));
    }
    bed.stop()?;
    let millis = |share: f64| quantile(&times, share).as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("change accepted to first instruction: p50", millis(0.5), "ms", 80.0)
            .note(format!("{changes} changes, {} s apart", SPACING.as_secs())),
        Row::new("change accepted to first instruction: p99", millis(0.99), "ms", 300.0)
            .note(format!("most {:.1} ms", millis(1.0))),
    ])
}

/// When the program of a number began.
fn began(marks: &str, number: usize) -> Option<Duration> {
    marks.lines().find_map(|line| {
        let (of, time) = line.split_once(' ')?;
        (of.parse() == Ok(number)).then(|| time.parse().ok().map(Duration::from_nanos))?
    })
}
