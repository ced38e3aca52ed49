//! Reads an archive from the disk, and bounds what its headers may make a decoder read.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use baetyl_core_lib::durable::DiskFile;

/// A file of the disk as `Read + Seek`. Tells through `broken` when the disk failed, so that this is not
/// taken for a damaged archive.
#[derive(Debug)]
pub(super) struct Reader {
    file: Box<dyn DiskFile>,
    size: u64,
    at: u64,
    broken: Rc<Cell<bool>>,
}

impl Reader {
    pub(super) fn new(file: Box<dyn DiskFile>, size: u64, broken: Rc<Cell<bool>>) -> Self {
        Self { file, size, at: 0, broken }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let Some(piece) = buffer.get_mut(..length) else { return Ok(0) };
        if let Err(error) = self.file.read_at(piece, self.at) {
            self.broken.set(true);
            return Err(error);
        }
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(delta) => self.size.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.at.checked_add_signed(delta),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// How many bytes may still be read. Decoders keep whole headers in memory; their size is the archive's
/// word, so it is bounded here.
#[derive(Debug, Clone)]
pub(super) struct Meter(Rc<Cell<u64>>);

impl Default for Meter {
    fn default() -> Self {
        Self(Rc::new(Cell::new(u64::MAX)))
    }
}

impl Meter {
    pub(super) fn allow(&self, bytes: u64) {
        self.0.set(bytes);
    }

    pub(super) fn allow_all(&self) {
        self.0.set(u64::MAX);
    }

    pub(super) fn over<R>(&self, inner: R) -> Metered<R> {
        Metered { inner, left: self.clone() }
    }
}

/// A reader that fails when its [`Meter`] has run out.
#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    left: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.0.get();
        if left != u64::MAX {
            let left =
                left.checked_sub(read as u64).ok_or_else(|| io::Error::other("its headers are too large"))?;
            self.left.0.set(left);
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
