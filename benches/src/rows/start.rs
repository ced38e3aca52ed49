//! From the start of core to its first report that the cloud has answered, with many applications running.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Setup;
use crate::bed::{Bed, end};
use crate::clock::{now, quantile};
use crate::error::BenchError;
use crate::proc;
use crate::table::{Row, progress};

/// Applications that are cached and run.
const APPS: usize = 20;
/// What core logs once.
const ANSWERED: &str = "first report is answered";

pub(super) fn start(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let mut bed = Bed::start(&setup.data, "start", &setup.baetyl)?;
    bed.deploy_sleepers(APPS)?;
    setup.wait("settling", 10, 30);
    let core = Core::of(bed.core_pid()?)?;
    // Init would start core again; its supervisor ends core with itself.
    bed.end_init()?;
    for pid in proc::supervisors(&bed.node().join("run/baetyl-edge-system")) {
        proc::end_and_wait(pid)?;
    }
    let starts = setup.pick(20, 50);
    progress(&format!("{starts} starts"));
    let mut times = Vec::new();
    for _ in 0..starts {
        let (mut child, time) = core.start()?;
        times.push(time);
        std::thread::sleep(Duration::from_millis(500));
        end(&mut child)?;
    }
    let (mut last, _) = core.start()?;
    bed.drain("core")?;
    end(&mut last)?;
    bed.stop()?;
    let millis = |share: f64| quantile(&times, share).as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("start to first report answered, 20 applications: p95", millis(0.95), "ms", 25.0)
            .note(format!("{starts} starts, p50 {:.1} ms, most {:.1} ms", millis(0.5), millis(1.0))),
    ])
}

/// How core was started by its supervisor.
#[derive(Debug)]
struct Core {
    words: Vec<std::ffi::OsString>,
    environment: Vec<(String, String)>,
    folder: std::path::PathBuf,
}

impl Core {
    fn of(pid: i32) -> Result<Self, BenchError> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read(&path).map_err(BenchError::at(path.as_ref()))
        };
        let parts = |bytes: Vec<u8>| -> Vec<Vec<u8>> {
            bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
        };
        let words = parts(read("cmdline")?).into_iter().map(std::ffi::OsString::from_vec).collect();
        let environment = parts(read("environ")?)
            .into_iter()
            .filter_map(|part| {
                let (name, value) = std::str::from_utf8(&part).ok()?.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect();
        let folder = format!("/proc/{pid}/cwd");
        let folder = fs::read_link(&folder).map_err(BenchError::at(folder.as_ref()))?;
        Ok(Self { words, environment, folder })
    }

    /// Starts core and waits until the cloud has answered its first report.
    fn start(&self) -> Result<(std::process::Child, Duration), BenchError> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(BenchError::Failed("core has no command line".to_owned()));
        };
        let begun = now();
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(BenchError::when("starting core"))?;
        let Some(log) = child.stderr.take() else {
            return Err(BenchError::Failed("core has no log".to_owned()));
        };
        let mut lines = BufReader::new(log).lines();
        let mut said = String::new();
        while let Some(Ok(line)) = lines.next() {
            if line.contains(ANSWERED) {
                let time = now().saturating_sub(begun);
                // What it says later is read, too, or it would stand still.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok((child, time));
            }
            said = line;
        }
        Err(BenchError::Failed(format!("core ended before a report was answered: {said}")))
    }
}
