//! Which names and link targets of an archive stay inside its folder. Pure.

use std::path::{Path, PathBuf};

/// The longest path below the folder, so that the disk does not refuse what the archive may have.
const LONGEST_PATH: usize = 1024;
const LONGEST_NAME: usize = 255;

/// The place of an entry below the folder; empty for the folder itself.
pub(super) fn inside(name: &[u8]) -> Result<PathBuf, &'static str> {
    let name = text(name)?;
    if name.starts_with('/') {
        return Err("has an absolute path");
    }
    let mut place = PathBuf::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("leads out of its folder"),
            part if part.len() > LONGEST_NAME => return Err("has a name of more than 255 bytes"),
            part if part.starts_with(".baetyl-") => return Err("has a name that baetyl keeps for itself"),
            part => place.push(part),
        }
    }
    Ok(place)
}

/// The target of a link at `place`, when it stays inside the folder.
///
/// `..` is allowed at the start only: there it counts from real folders. Behind the name of another link it
/// would count from wherever that link leads.
pub(super) fn target(place: &Path, target: &[u8]) -> Result<PathBuf, &'static str> {
    let text = text(target)?;
    if text.is_empty() {
        return Err("is a link to nothing");
    }
    if text.starts_with('/') {
        return Err("is a link with an absolute path");
    }
    let mut room = place.iter().count().saturating_sub(1);
    let mut descended = false;
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if descended => return Err("is a link with '..' behind a name"),
            ".." => room = room.checked_sub(1).ok_or("is a link that leads out of its folder")?,
            _ => descended = true,
        }
    }
    Ok(PathBuf::from(text))
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "has a name that is not UTF-8")?;
    if text.contains('\0') {
        return Err("has a name with a zero byte");
    }
    if text.contains('\\') {
        return Err("has a name with a backslash: pack it with '/' between folders");
    }
    if text.len() > LONGEST_PATH {
        return Err("has a path of more than 1024 bytes");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        fn check(name: &[u8], expected: Result<&str, &str>) {
            assert_eq!(inside(name), expected.map(PathBuf::from), "{name:?}");
        }
        check(b"a/b", Ok("a/b"));
        check(b"./a//b/", Ok("a/b"));
        check(b"./", Ok(""));
        check(b"a..b/..c", Ok("a..b/..c"));
        check(b"/etc/passwd", Err("has an absolute path"));
        check(b"../x", Err("leads out of its folder"));
        check(b"a/../../x", Err("leads out of its folder"));
        check(b"..\\x", Err("has a name with a backslash: pack it with '/' between folders"));
        check(b"a\0b", Err("has a name with a zero byte"));
        check(b"\xff", Err("has a name that is not UTF-8"));
        check(b".baetyl-done", Err("has a name that baetyl keeps for itself"));
    }

    #[test]
    fn links_stay_inside() {
        fn check(place: &str, to: &str, expected: Result<(), &str>) {
            assert_eq!(target(Path::new(place), to.as_bytes()).map(|_| ()), expected, "{place} -> {to}");
        }
        check("a", "b/c", Ok(()));
        check("d/a", "../b", Ok(()));
        check("d/e/a", "../../b", Ok(()));
        check("d/a", "../../b", Err("is a link that leads out of its folder"));
        check("a", "..", Err("is a link that leads out of its folder"));
        check("a", "/etc", Err("is a link with an absolute path"));
        check("d/e/a", "x/y/../../..", Err("is a link with '..' behind a name"));
        check("a", "", Err("is a link to nothing"));
    }
}
