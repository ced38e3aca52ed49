//! Log files of instances: written by the supervisor and kept small, read from the end by the engine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::record::LogRule;

/// At most so much of a log is read at once.
const MOST: u64 = 4 << 20;

/// A log file that is renamed away when it is full. What cannot be written is dropped: a full disk must
/// not hold up the program.
#[derive(Debug)]
pub struct RotatedLog {
    rule: LogRule,
    file: Option<File>,
    size: u64,
}

impl RotatedLog {
    /// Opens nothing until the first write.
    pub const fn new(rule: LogRule) -> Self {
        Self { rule, file: None, size: 0 }
    }

    /// Follows another rule from now on.
    pub(crate) fn follow(&mut self, rule: LogRule) {
        if self.rule != rule {
            *self = Self::new(rule);
        }
    }

    /// Appends what a program wrote, in whole lines where the file may not end within one.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.size > 0 && self.size.saturating_add(bytes.len() as u64) > self.rule.max_bytes {
            self.rotate();
        }
        if self.file.is_none() {
            self.open();
        }
        if let Some(file) = &mut self.file {
            match file.write_all(bytes) {
                Ok(()) => self.size = self.size.saturating_add(bytes.len() as u64),
                Err(_) => self.file = None,
            }
        }
    }

    /// Appends a line of the supervisor's own.
    pub(crate) fn line(&mut self, text: &str) {
        self.append(format!("{text}\n").as_bytes());
    }

    fn open(&mut self) {
        if let Some(folder) = self.rule.file.parent() {
            fs::create_dir_all(folder).ok();
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.rule.file).ok();
        self.size = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
    }

    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        let path = &self.rule.file;
        if self.rule.backups == 0 {
            fs::remove_file(path).ok();
            return;
        }
        // A step that fails only loses an older file.
        for older in (1..self.rule.backups).rev() {
            fs::rename(backup(path, older), backup(path, older + 1)).ok();
        }
        fs::rename(path, backup(path, 1)).ok();
    }
}

/// The last `lines` lines of a log, oldest first; the newest older file is used where the log is short.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<Vec<u8>> {
    let mut text = end_of(path)?;
    if count(&text) < lines {
        let mut older = end_of(&backup(path, 1))?;
        older.append(&mut text);
        text = older;
    }
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut newlines =
        body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = match lines {
        0 => text.len(),
        _ => newlines.nth(lines - 1).unwrap_or(0),
    };
    Ok(text.split_off(start))
}

fn count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(MOST)))?;
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

fn backup(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path, backups: u32) -> RotatedLog {
        RotatedLog::new(LogRule { file: folder.join("sub/a.log"), max_bytes: 10, backups })
    }

    #[test]
    fn full_log_is_renamed_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path(), 2);
        for text in ["one", "two", "three", "four", "five"] {
            log.line(&format!("{text}....."));
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path().join("sub")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.log", "a.log.1", "a.log.2"]);
        assert_eq!(fs::read(folder.path().join("sub/a.log")).unwrap(), b"five.....\n");
    }

    fn check(lines: usize, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(backup(&path, 1), "a\nb\n").unwrap();
        fs::write(&path, "c\nd\n").unwrap();
        assert_eq!(String::from_utf8(tail(&path, lines).unwrap()).unwrap(), expected);
    }

    #[test]
    fn tail_gives_the_last_lines_across_files() {
        check(0, "");
        check(1, "d\n");
        check(2, "c\nd\n");
        check(3, "b\nc\nd\n");
        check(9, "a\nb\nc\nd\n");
    }

    #[test]
    fn missing_log_is_empty() {
        assert_eq!(tail(Path::new("/nowhere/a.log"), 5).unwrap(), b"");
    }
}
