//! redb's pages through the durable files seam.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use crate::durable::DiskFile;

/// The first error of the disk under an open file, if there was one. redb tells only that there was.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<io::ErrorKind>>>);

impl Fault {
    /// The kind of the first error.
    pub(super) fn kind(&self) -> Option<io::ErrorKind> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a result on and remembers its error.
    pub(super) fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Reading behind the end is about what is in the file, not about the disk.
            if first.is_none() && error.kind() != io::ErrorKind::UnexpectedEof {
                *first = Some(error.kind());
            }
        }
        result
    }
}

/// A file of the seam as redb wants it.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) fault: Fault,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.fault.note(self.file.size())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.fault.note(self.file.read_at(out, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fault.note(self.file.set_size(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fault.note(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fault.note(self.file.write_at(data, offset))
    }
}
