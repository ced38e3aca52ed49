//! A file that is the running program becomes a second name of it: on the disk and in memory once.

use std::io;
use std::path::Path;

use baetyl_core_lib::durable::{Disk, Entry, beside};

/// How much of two files is compared at once.
const CHUNK: u64 = 64 * 1024;

/// Replaces files of `tree` that are the same as `program` by a second name of it. Subfolders are not looked
/// into. A failure leaves the files as they are.
pub(super) fn share(disk: &dyn Disk, program: &Path, tree: &Path) -> io::Result<()> {
    let Some(Entry::File(size)) = disk.entry(program)? else { return Ok(()) };
    for name in disk.list(tree)? {
        let path = tree.join(name);
        if size > 0 && disk.entry(&path)? == Some(Entry::File(size)) && same(disk, program, &path, size)? {
            let second = beside(&path);
            disk.share(program, &second)?;
            disk.rename(&second, &path)?;
            disk.sync_folder(tree)?;
        }
    }
    Ok(())
}

fn same(disk: &dyn Disk, one: &Path, other: &Path, size: u64) -> io::Result<bool> {
    let (one, other) = (disk.open_read(one)?, disk.open_read(other)?);
    let mut at = 0;
    while at < size {
        let length = usize::try_from((size - at).min(CHUNK)).unwrap_or(0);
        let (mut left, mut right) = (vec![0; length], vec![0; length]);
        one.read_at(&mut left, at)?;
        other.read_at(&mut right, at)?;
        if left != right {
            return Ok(false);
        }
        at += CHUNK;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use baetyl_core_lib::durable::OsDisk;

    use super::*;

    #[test]
    fn only_the_very_same_file_becomes_a_second_name() {
        let folder = tempfile::tempdir().unwrap();
        let (program, tree) = (folder.path().join("program"), folder.path().join("tree"));
        std::fs::create_dir(&tree).unwrap();
        let bytes = vec![7; 200_000];
        let mut other = bytes.clone();
        other[150_000] = 8;
        for (path, bytes) in [(&program, &bytes), (&tree.join("same"), &bytes), (&tree.join("other"), &other)]
        {
            std::fs::write(path, bytes).unwrap();
        }
        share(&OsDisk, &program, &tree).unwrap();
        let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&tree.join("same")), inode(&program));
        assert_ne!(inode(&tree.join("other")), inode(&program));
        assert_eq!(std::fs::read(tree.join("other")).unwrap(), other);
        assert_eq!(std::fs::read_dir(&tree).unwrap().count(), 2, "nothing else is left");
    }
}
