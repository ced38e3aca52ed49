//! Hostile and damaged archives, and what good ones become.

use std::io::Write as _;

use baetyl_core_lib::testing::MemoryDisk;
use proptest::prelude::*;
use tar::EntryType;

use super::*;

const ARCHIVE: &str = "/archive";
const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 20, reserve: 0 };

/// One entry of a tar or zip, told without any check.
#[derive(Debug, Clone)]
struct Item {
    kind: EntryType,
    name: String,
    target: String,
    bytes: Vec<u8>,
    mode: u32,
}

fn file(name: &str, bytes: &[u8]) -> Item {
    Item {
        kind: EntryType::Regular,
        name: name.to_owned(),
        target: String::new(),
        bytes: bytes.to_vec(),
        mode: 0o644,
    }
}

fn other(kind: EntryType, name: &str, target: &str) -> Item {
    Item { kind, target: target.to_owned(), ..file(name, b"") }
}

fn link(name: &str, target: &str) -> Item {
    other(EntryType::Symlink, name, target)
}

fn put(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_size(item.bytes.len() as u64);
        put(&mut header.as_old_mut().name, &item.name);
        put(&mut header.as_old_mut().linkname, &item.target);
        header.set_cksum();
        builder.append(&header, &item.bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn tgz_of(items: &[Item]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar_of(items)).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(items: &[Item]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for item in items {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(item.mode);
        if item.kind == EntryType::Symlink {
            writer.add_symlink(item.name.as_str(), item.target.as_str(), options).unwrap();
        } else if item.kind == EntryType::Directory {
            writer.add_directory(item.name.as_str(), options).unwrap();
        } else {
            writer.start_file(item.name.as_str(), options).unwrap();
            writer.write_all(&item.bytes).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

fn store(disk: &MemoryDisk, bytes: &[u8]) {
    disk.create_folder(Path::new("/out/tree"), 0o755).unwrap();
    disk.create(Path::new("/out/secret"), 0o600).unwrap().write_at(b"kept", 0).unwrap();
    disk.create(Path::new(ARCHIVE), 0o600).unwrap().write_at(bytes, 0).unwrap();
}

fn run(disk: &MemoryDisk, bytes: &[u8], format: Format, limits: Limits) -> Result<(), UnpackError> {
    store(disk, bytes);
    let archive = disk.open(Path::new(ARCHIVE), 0o600).unwrap();
    unpack(disk, archive, format, Path::new("/out/tree"), limits, &BTreeSet::from(["taken".to_owned()]))
}

/// All below a folder: files with their content, links with an arrow.
fn walk(disk: &MemoryDisk, folder: &str, found: &mut Vec<String>) {
    for name in disk.list(Path::new(folder)).unwrap() {
        let path = format!("{folder}/{name}");
        match disk.entry(Path::new(&path)).unwrap() {
            Some(Entry::Folder) => walk(disk, &path, found),
            Some(Entry::File(_)) => {
                let text = String::from_utf8_lossy(&disk.read(Path::new(&path)).unwrap()).into_owned();
                found.push(format!("{path}={text}"));
            }
            _ => found.push(format!("{path}@")),
        }
    }
}

fn refused(bytes: &[u8], format: Format, limits: Limits, expected: &str) {
    let disk = MemoryDisk::new();
    match run(&disk, bytes, format, limits) {
        Err(UnpackError::Bad(reason)) => assert!(reason.contains(expected), "{reason:?} lacks {expected:?}"),
        other => panic!("{expected:?}: {other:?}"),
    }
    let mut outside = Vec::new();
    walk(&disk, "/out", &mut outside);
    outside.retain(|path| !path.starts_with("/out/tree/"));
    assert_eq!(outside, ["/out/secret=kept"], "{expected:?} wrote outside");
}

#[test]
fn every_format_unpacks_files_folders_and_links() {
    let items = [
        other(EntryType::Directory, "d/", ""),
        file("d/a", b"one"),
        Item { mode: 0o4777, ..file("run", b"two") },
        link("d/up", "../run"),
        file("deep/er/b", b"three"),
    ];
    for (bytes, format) in
        [(tar_of(&items), Format::Tar), (tgz_of(&items), Format::Tgz), (zip_of(&items), Format::Zip)]
    {
        let disk = MemoryDisk::new();
        run(&disk, &bytes, format, LIMITS).unwrap();
        let mut found = Vec::new();
        walk(&disk, "/out/tree", &mut found);
        let expected =
            ["/out/tree/d/a=one", "/out/tree/d/up@", "/out/tree/deep/er/b=three", "/out/tree/run=two"];
        assert_eq!(found, expected, "{format:?}");
        assert_eq!(disk.mode(Path::new("/out/tree/run")), Some(0o755), "{format:?}");
        assert_eq!(disk.mode(Path::new("/out/tree/d/a")), Some(0o644), "{format:?}");
        assert_eq!(disk.read(Path::new("/out/tree/d/up")).unwrap(), b"two", "{format:?}");
    }
}

#[test]
fn hostile_archives_are_refused_and_write_nothing_outside() {
    let hard = |name, target| other(EntryType::Link, name, target);
    let tar = |items: &[Item], expected| refused(&tar_of(items), Format::Tar, LIMITS, expected);
    tar(&[file("/etc/passwd", b"x")], "\"/etc/passwd\" has an absolute path");
    tar(&[file("../secret", b"x")], "\"../secret\" leads out of its folder");
    tar(&[file("a/../../secret", b"x")], "leads out of its folder");
    tar(&[link("a", "../secret")], "is a link that leads out of its folder");
    tar(&[link("a", "/out/secret")], "is a link with an absolute path");
    tar(&[link("d", "."), file("d/x", b"x")], "lies behind a link");
    tar(&[link("d", "."), link("e", "d/../..")], "is a link with '..' behind a name");
    tar(&[file("f", b"x"), file("f/x", b"x")], "lies below a file");
    tar(&[file("d/x", b"x"), link("d", ".")], "has the name of a folder");
    tar(&[hard("a", "../secret")], "leads out of its folder");
    tar(&[hard("a", "/out/secret")], "has an absolute path");
    tar(&[hard("a", "b")], "is a second name of a file that is not in the archive");
    tar(&[link("l", "x"), hard("a", "l")], "is a second name of a file that is not in the archive");
    tar(&[other(EntryType::Fifo, "a", "")], "is neither file, folder nor link");
    tar(&[other(EntryType::Char, "a", "")], "is neither file, folder nor link");
    tar(&[file("taken", b"x")], "has the name of another object");
    tar(&[file(".baetyl-done", b"x")], "baetyl keeps for itself");
    let zip = |items: &[Item], expected| refused(&zip_of(items), Format::Zip, LIMITS, expected);
    zip(&[file("../secret", b"x")], "leads out of its folder");
    zip(&[link("a", "../secret")], "is a link that leads out of its folder");
    zip(&[link("d", "."), file("d/x", b"x")], "lies behind a link");
}

#[test]
fn a_link_is_replaced_and_never_written_through() {
    let disk = MemoryDisk::new();
    run(&disk, &tar_of(&[file("b", b"old"), link("a", "b"), file("a", b"new")]), Format::Tar, LIMITS)
        .unwrap();
    let mut found = Vec::new();
    walk(&disk, "/out/tree", &mut found);
    assert_eq!(found, ["/out/tree/a=new", "/out/tree/b=old"]);
}

#[test]
fn hard_links_become_copies() {
    let disk = MemoryDisk::new();
    let items = [file("d/a", b"x"), Item { mode: 0o755, ..other(EntryType::Link, "b", "d/a") }];
    run(&disk, &tar_of(&items), Format::Tar, LIMITS).unwrap();
    assert_eq!(disk.read(Path::new("/out/tree/b")).unwrap(), b"x");
}

#[test]
fn bombs_end_at_the_limits() {
    let zeros = vec![0; 2 << 20];
    let large = [file("a", &zeros)];
    refused(&tgz_of(&large), Format::Tgz, LIMITS, "more than the 1048576 bytes allowed here");
    refused(&zip_of(&large), Format::Zip, LIMITS, "more than the 1048576 bytes allowed here");
    let many: Vec<_> = (0..21).map(|n| file(&n.to_string(), b"")).collect();
    refused(&tar_of(&many), Format::Tar, LIMITS, "more than the 20 entries allowed here");
    // A name of 2 MiB, which the decoder would keep in memory.
    let name = Item { kind: EntryType::GNULongName, ..file("././@LongLink", &zeros) };
    refused(&tgz_of(&[name, file("a", b"")]), Format::Tgz, LIMITS, "its headers are too large");
    let twice = [file("a", &zeros[..700_000]), other(EntryType::Link, "b", "a")];
    refused(&tar_of(&twice), Format::Tar, LIMITS, "more than the 1048576 bytes allowed here");
}

#[test]
fn damaged_archives_are_refused() {
    let items = [file("a", &[7; 4000]), file("b", &[8; 4000])];
    let (tar, tgz, zip) = (tar_of(&items), tgz_of(&items), zip_of(&items));
    refused(&tar[..6000], Format::Tar, LIMITS, "\"b\"");
    refused(&tgz[..tgz.len() - 4], Format::Tgz, LIMITS, "cannot be read");
    refused(&zip[..zip.len() - 30], Format::Zip, LIMITS, "cannot be read");
    refused(b"<html>not found</html>", Format::Zip, LIMITS, "cannot be read");
    refused(b"<html>not found</html>", Format::Tgz, LIMITS, "cannot be read");
    let mut checksum = tgz.clone();
    let at = checksum.len() - 6;
    checksum[at] ^= 1;
    refused(&checksum, Format::Tgz, LIMITS, "cannot be read");
}

#[test]
fn a_full_disk_is_told_before_it_is_filled() {
    let disk = MemoryDisk::with_size(40_000);
    let full = run(&disk, &tar_of(&[file("a", &[1; 20_000])]), Format::Tar, LIMITS);
    assert!(matches!(full, Err(UnpackError::Full { needed: 20_000, .. })), "{full:?}");
    let disk = MemoryDisk::new();
    let limits = Limits { reserve: u64::MAX, ..LIMITS };
    let full = run(&disk, &tar_of(&[file("a", &[1; 20])]), Format::Tar, limits);
    assert!(matches!(full, Err(UnpackError::Full { needed: 20, room: 0 })), "{full:?}");
}

fn names() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", "", "secret", "tree", "out"]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn items() -> impl Strategy<Value = Item> {
    let kinds = vec![EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link];
    (prop::sample::select(kinds), names(), names()).prop_map(|(kind, name, target)| Item {
        bytes: if kind == EntryType::Regular { b"evil".to_vec() } else { Vec::new() },
        kind,
        name,
        target,
        mode: 0o777,
    })
}

proptest! {
    #[test]
    fn nothing_is_written_outside_whatever_the_archive_says(items in prop::collection::vec(items(), 1..12)) {
        // Entries that are refused end an unpack, so each is also tried after those that were not.
        let disk = MemoryDisk::new();
        for item in &items {
            drop(run(&disk, &tar_of(std::slice::from_ref(item)), Format::Tar, LIMITS));
        }
        drop(run(&disk, &tar_of(&items), Format::Tar, LIMITS));
        let mut found = Vec::new();
        walk(&disk, "/out", &mut found);
        found.retain(|path| !path.starts_with("/out/tree/"));
        prop_assert_eq!(found, ["/out/secret=kept"]);
        prop_assert_eq!(disk.list(Path::new("/")).unwrap(), ["archive", "out"]);
        // And no link leads there: reading through every one of them never shows what lies outside.
        let mut inside = Vec::new();
        walk(&disk, "/out/tree", &mut inside);
        for link in inside.iter().filter_map(|path| path.strip_suffix('@')) {
            let read = disk.read(Path::new(link)).unwrap_or_default();
            prop_assert_ne!(read, b"kept", "{} leads outside", link);
            prop_assert!(disk.read(&Path::new(link).join("secret")).unwrap_or_default() != b"kept");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), flip in 0_usize..2000) {
        for (format, mut good) in [
            (Format::Zip, zip_of(&[file("a", b"x"), link("l", "a")])),
            (Format::Tar, tar_of(&[file("a", b"x")])),
            (Format::Tgz, tgz_of(&[file("a", b"x")])),
        ] {
            drop(run(&MemoryDisk::new(), &bytes, format, LIMITS));
            let at = flip % good.len();
            good[at] ^= 0x41;
            drop(run(&MemoryDisk::new(), &good, format, LIMITS));
        }
    }
}
