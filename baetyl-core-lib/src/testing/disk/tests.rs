use super::*;
use crate::durable::{make_folder, replace};

fn write(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    disk.create(Path::new(path), 0o600).unwrap().write_at(bytes, 0).unwrap();
}

fn there(disk: &MemoryDisk, path: &str) -> bool {
    disk.entry(Path::new(path)).unwrap().is_some()
}

#[test]
fn content_survives_only_with_sync_and_name_only_with_its_folder() {
    let disk = MemoryDisk::new();
    write(&disk, "/a", b"one");
    assert!(!there(&disk.crash(Tear::Lost), "/a"));
    disk.sync_folder(Path::new("/")).unwrap();
    assert_eq!(disk.crash(Tear::Lost).read(Path::new("/a")).unwrap(), b"");
    assert_eq!(disk.crash(Tear::Kept).read(Path::new("/a")).unwrap(), b"one");
    disk.open(Path::new("/a"), 0o600).unwrap().sync().unwrap();
    assert_eq!(disk.crash(Tear::Lost).read(Path::new("/a")).unwrap(), b"one");
}

#[test]
fn a_file_in_a_folder_whose_own_name_was_not_synced_is_lost() {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("/x/y"), 0o700).unwrap();
    replace(&disk, Path::new("/x/y/f"), b"1", 0o600).unwrap();
    assert!(!there(&disk.crash(Tear::Lost), "/x"));
    let disk = MemoryDisk::new();
    make_folder(&disk, Path::new("/x/y"), 0o700).unwrap();
    replace(&disk, Path::new("/x/y/f"), b"1", 0o600).unwrap();
    assert_eq!(disk.crash(Tear::Lost).read(Path::new("/x/y/f")).unwrap(), b"1");
}

#[test]
fn a_renamed_folder_takes_its_content_along() {
    let disk = MemoryDisk::new();
    make_folder(&disk, Path::new("/new"), 0o700).unwrap();
    replace(&disk, Path::new("/new/f"), b"1", 0o600).unwrap();
    disk.rename(Path::new("/new"), Path::new("/old")).unwrap();
    assert!(there(&disk.crash(Tear::Lost), "/new/f"));
    disk.sync_folder(Path::new("/")).unwrap();
    let after = disk.crash(Tear::Lost);
    assert!(there(&after, "/old/f") && !there(&after, "/new"));
}

#[test]
fn a_rename_is_never_torn_in_two() {
    for seed in 0..64 {
        let disk = MemoryDisk::new();
        replace(&disk, Path::new("/a"), b"1", 0o600).unwrap();
        disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
        let after = disk.crash(Tear::Torn(seed));
        assert!(there(&after, "/a") != there(&after, "/b"), "seed {seed}");
    }
}

#[test]
fn the_cut_call_and_all_later_ones_fail() {
    let disk = MemoryDisk::new();
    replace(&disk, Path::new("/a"), b"1", 0o600).unwrap();
    disk.cut_at(disk.calls() + 1);
    write_fails(&disk);
    assert!(disk.is_cut());
    assert!(disk.read(Path::new("/a")).is_err());
    assert_eq!(disk.crash(Tear::Torn(1)).read(Path::new("/a")).unwrap(), b"1");
}

fn write_fails(disk: &MemoryDisk) {
    replace(disk, Path::new("/b"), b"2", 0o600).unwrap_err();
}

#[test]
fn a_full_disk_takes_nothing_more_until_something_goes() {
    let disk = MemoryDisk::with_size(10);
    write(&disk, "/a", b"12345678");
    let error = disk.create(Path::new("/b"), 0o600).unwrap().write_at(b"123", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.room(Path::new("/")).unwrap(), 2);
    disk.remove_file(Path::new("/a")).unwrap();
    write(&disk, "/b", b"123");
}

#[test]
fn links_are_followed_and_listed_as_links() {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("/v1"), 0o700).unwrap();
    write(&disk, "/v1/f", b"1");
    disk.link(Path::new("v1"), Path::new("/now")).unwrap();
    assert_eq!(disk.read(Path::new("/now/f")).unwrap(), b"1");
    assert_eq!(disk.entry(Path::new("/now")).unwrap(), Some(Entry::Link));
    disk.remove_file(Path::new("/now")).unwrap();
    disk.remove_folder(Path::new("/v1")).unwrap();
    assert_eq!(disk.list(Path::new("/")).unwrap(), Vec::<String>::new());
}

#[test]
fn a_lock_is_held_by_one_handle_until_it_is_dropped() {
    let disk = MemoryDisk::new();
    let open = || disk.open(Path::new("/a"), 0o600).unwrap();
    let (first, second) = (open(), open());
    assert!(first.lock().unwrap() && !second.lock().unwrap());
    drop(first);
    assert!(second.lock().unwrap());
}
