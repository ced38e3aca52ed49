//! The three formats, each turned into calls on the tree.

use std::io::{self, Read};

use super::reader::{Meter, Reader};
use super::{Tree, UnpackError};

/// The most that one entry's headers may take.
const HEADERS: u64 = 1024 * 1024;
/// What one entry of a zip's directory takes at most, on average.
const ZIP_ENTRY: u64 = 512;
const TYPE: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// How an object is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Zip,
    Tar,
    Tgz,
}

pub(super) fn zip(reader: Reader, meter: &Meter, tree: &mut Tree<'_>) -> Result<(), UnpackError> {
    meter.allow(HEADERS.saturating_add(tree.limits.entries.saturating_mul(ZIP_ENTRY)));
    let archive = ::zip::ZipArchive::new(meter.over(reader));
    let mut archive = archive.map_err(|error| tree.read_failed("", io::Error::from(error)))?;
    meter.allow_all();
    for index in 0..archive.len() {
        let entry = archive.by_index(index);
        let mut entry =
            entry.map_err(|error| tree.read_failed(&format!("#{index}"), io::Error::from(error)))?;
        let name = entry.name_raw().to_vec();
        let mode = entry.unix_mode();
        match mode.map_or(0, |mode| mode & TYPE) {
            LINK => {
                let mut target = Vec::new();
                let shown = String::from_utf8_lossy(&name);
                let read = entry.by_ref().take(4096).read_to_end(&mut target);
                read.map_err(|error| tree.read_failed(&shown, error))?;
                tree.link(&name, &target)?;
            }
            FOLDER => tree.folder(&name)?,
            0 | FILE if entry.is_dir() => tree.folder(&name)?,
            0 | FILE => {
                let size = entry.size();
                tree.file(&name, mode.unwrap_or(0o644), size, &mut entry)?;
            }
            _ => return Err(special(&name)),
        }
    }
    Ok(())
}

pub(super) fn tgz(reader: Reader, meter: &Meter, tree: &mut Tree<'_>) -> Result<(), UnpackError> {
    tar(flate2::read::MultiGzDecoder::new(reader), meter, tree)
}

pub(super) fn tar<R: Read>(reader: R, meter: &Meter, tree: &mut Tree<'_>) -> Result<(), UnpackError> {
    let mut archive = ::tar::Archive::new(meter.over(reader));
    let mut entries = archive.entries().map_err(|error| tree.read_failed("", error))?;
    loop {
        meter.allow(HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|error| tree.read_failed("", error))?;
        meter.allow_all();
        let name = entry.path_bytes().into_owned();
        let mode = entry.header().mode().unwrap_or(0o644);
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            tree.folder(&name)?;
        } else if kind.is_symlink() {
            tree.link(&name, &entry.link_name_bytes().unwrap_or_default())?;
        } else if kind.is_hard_link() {
            tree.copy(&name, mode, &entry.link_name_bytes().unwrap_or_default())?;
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            let size = entry.size();
            tree.file(&name, mode, size, &mut entry)?;
        } else if !kind.is_pax_global_extensions() {
            return Err(special(&name));
        }
    }
    // To the end, so that the checksum behind the last block is verified.
    let mut rest = archive.into_inner();
    meter.allow(HEADERS);
    io::copy(&mut rest, &mut io::sink()).map_err(|error| tree.read_failed("", error))?;
    Ok(())
}

fn special(name: &[u8]) -> UnpackError {
    UnpackError::entry(
        &String::from_utf8_lossy(name),
        "is neither file, folder nor link: pack the archive without it",
    )
}
