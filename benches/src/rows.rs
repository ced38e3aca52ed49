//! What is measured. Each measurement makes its own cloud and node and gives rows of the table.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::BenchError;
use crate::table::{Row, progress};

mod idle;
mod pure;
pub(crate) mod push;
mod size;
mod start;

/// A measurement.
type Measure = fn(&Setup) -> Result<Vec<Row>, BenchError>;

/// All measurements, by name.
const ALL: [(&str, Measure); 7] = [
    ("size", size::size),
    ("pure", pure::pure),
    ("start", start::start),
    ("push", push::push),
    ("idle", idle::idle),
    ("wire", idle::wire),
    ("durable", idle::durable),
];

/// The measurements of these names.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<Measure>, BenchError> {
    if names.iter().any(|name| name == "all") {
        return Ok(ALL.iter().map(|(_, measure)| *measure).collect());
    }
    let find = |name: &String| {
        ALL.iter().find(|(known, _)| known == name).map(|(_, measure)| *measure).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|(known, _)| *known).collect();
            BenchError::Usage(format!("{name:?} is not known: write {} or all", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// What all measurements share.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The program to measure.
    pub(crate) baetyl: PathBuf,
    /// Where clouds and nodes live.
    pub(crate) data: PathBuf,
    /// Whether to take the official lengths.
    pub(crate) full: bool,
}

impl Setup {
    /// Builds the program when none is given, and makes the folder.
    pub(crate) fn new(
        baetyl: Option<PathBuf>,
        data: Option<PathBuf>,
        full: bool,
    ) -> Result<Self, BenchError> {
        let baetyl = match baetyl {
            Some(path) => path,
            None => build()?,
        };
        let baetyl = baetyl.canonicalize().map_err(BenchError::at(&baetyl))?;
        let name = format!("baetyl-benches-{}", std::process::id());
        let data = data.unwrap_or_else(|| std::env::temp_dir().join(name));
        std::fs::create_dir_all(&data).map_err(BenchError::at(&data))?;
        let data = data.canonicalize().map_err(BenchError::at(&data))?;
        Ok(Self { baetyl, data, full })
    }

    /// One of two, by how thorough the measurement is to be.
    pub(crate) const fn pick<T: Copy>(&self, quick: T, full: T) -> T {
        if self.full { full } else { quick }
    }

    /// Waits.
    pub(crate) fn wait(&self, what: &str, quick: u64, full: u64) -> Duration {
        let time = Duration::from_secs(self.pick(quick, full));
        progress(&format!("{what}, {} s", time.as_secs()));
        std::thread::sleep(time);
        time
    }
}

/// The package whose program is measured, as it ships.
pub(crate) const SHIPPED: [&str; 5] =
    ["-p", "baetyl-edge", "--no-default-features", "--features", "process,http,activate,pki"];

/// Builds the program as it ships.
fn build() -> Result<PathBuf, BenchError> {
    progress("building baetyl with profile dist");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new("cargo")
        .args(["build", "--profile", "dist", "--bin", "baetyl"])
        .args(SHIPPED)
        .current_dir(root)
        .status()
        .map_err(BenchError::when("cargo"))?;
    if !status.success() {
        return Err(BenchError::Failed("baetyl could not be built: give one with --baetyl".to_owned()));
    }
    // Beside the profile that this program was built with.
    let own = std::env::current_exe().map_err(BenchError::when("this program"))?;
    let target = own.parent().and_then(Path::parent);
    target
        .map(|target| target.join("dist/baetyl"))
        .ok_or_else(|| BenchError::Failed("the program is not where it was built".to_owned()))
}
