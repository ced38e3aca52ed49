//! How large the program is, and how many crates it is made of.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::{SHIPPED, Setup};
use crate::error::BenchError;
use crate::table::Row;

#[expect(clippy::cast_precision_loss, reason = "sizes of files")]
pub(super) fn size(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let program = std::fs::read(&setup.baetyl).map_err(BenchError::at(&setup.baetyl))?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let packed =
        gzip.write_all(&program).and_then(|()| gzip.finish()).map_err(BenchError::when("compressing"))?;
    let mega = |bytes: usize| bytes as f64 / 1e6;
    Ok(vec![
        Row::new("core and init in one program", mega(program.len()), "MB", 6.0)
            .note(format!("gzip {:.2} MB", mega(packed.len()))),
        Row::new("crates in its graph", crates()? as f64, "crates", 190.0).note("build scripts included"),
    ])
}

fn crates() -> Result<usize, BenchError> {
    let output = Command::new("cargo")
        .args(["tree", "--prefix", "none", "--edges", "normal,build"])
        .args(SHIPPED)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .map_err(BenchError::when("cargo"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Two versions of one crate are two.
    let crates: BTreeSet<_> = text
        .lines()
        .map(|line| line.split(" (").next().unwrap_or(line).trim())
        .filter(|line| !line.is_empty())
        .collect();
    Ok(crates.len())
}
