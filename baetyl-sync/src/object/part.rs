//! A file being downloaded, with the digests of what is in it. All of it is blocking work.

use std::io;
use std::path::Path;

use baetyl_core_lib::durable::{Disk, DiskFile};
use baetyl_core_lib::spec::hex;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA256};

const PIECE: usize = 256 * 1024;

pub(super) struct Part {
    file: Box<dyn DiskFile>,
    md5: Md5,
    sha256: Context,
    length: u64,
}

impl Part {
    /// Opens the part at `path`; with `keep`, what is in it counts.
    pub(super) fn open(disk: &dyn Disk, path: &Path, mode: u32, keep: bool) -> io::Result<Self> {
        let file = disk.open(path, mode)?;
        let mut part = Self { file, md5: Md5::new(), sha256: Context::new(&SHA256), length: 0 };
        let size = part.file.size()?;
        if keep {
            let mut buffer = vec![0; PIECE];
            while part.length < size {
                let left = size - part.length;
                let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
                let Some(piece) = buffer.get_mut(..piece) else { break };
                part.file.read_at(piece, part.length)?;
                part.count(piece);
            }
        } else if size > 0 {
            part.file.set_size(0)?;
        }
        Ok(part)
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Starts again with nothing.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_size(0)?;
        (self.md5, self.sha256, self.length) = (Md5::new(), Context::new(&SHA256), 0);
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.length)?;
        self.count(bytes);
        Ok(())
    }

    /// The MD5 and SHA-256 of what is here, in hex.
    pub(super) fn digests(&self) -> (String, String) {
        (hex::encode(&self.md5.clone().finalize()), hex::encode(self.sha256.clone().finish().as_ref()))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn count(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha256.update(bytes);
        self.length += bytes.len() as u64;
    }
}
