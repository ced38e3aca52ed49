//! The one way a file is made durable, cut off at every call, and on the operating system's disk.

use std::io::ErrorKind;
use std::path::Path;

use baetyl_core_lib::durable::{self, Disk, DiskFile, Entry, OsDisk};
use baetyl_core_lib::testing::{MemoryDisk, Tear};

const PATH: &str = "/etc/node.json";

fn prepared() -> MemoryDisk {
    let disk = MemoryDisk::new();
    durable::make_folder(&disk, Path::new("/etc"), 0o700).unwrap();
    durable::replace(&disk, Path::new(PATH), &[b'o'; 2000], 0o600).unwrap();
    disk
}

#[test]
fn replace_leaves_the_old_file_or_the_new_one_at_every_power_cut() {
    let whole = prepared();
    let first = whole.calls();
    durable::replace(&whole, Path::new(PATH), &[b'n'; 3000], 0o600).unwrap();
    let calls: Vec<_> = whole.trace()[first..].iter().map(ToString::to_string).collect();
    assert_eq!(
        calls,
        [
            "create /etc/node.json.baetyl-new",
            "write /etc/node.json.baetyl-new 0+3000",
            "sync /etc/node.json.baetyl-new",
            "rename /etc/node.json.baetyl-new /etc/node.json",
            "sync-folder /etc",
        ]
    );
    for number in first..whole.calls() {
        for tear in [Tear::Lost, Tear::Kept].into_iter().chain((0..32).map(Tear::Torn)) {
            let disk = prepared();
            disk.cut_at(number);
            durable::replace(&disk, Path::new(PATH), &[b'n'; 3000], 0o600).unwrap_err();
            let after = disk.crash(tear);
            let found = after.read(Path::new(PATH)).unwrap();
            assert!(found == [b'o'; 2000] || found == [b'n'; 3000], "cut at {number}, {tear:?}");
            durable::replace(&after, Path::new(PATH), b"goes on", 0o600).unwrap();
        }
    }
    assert_eq!(whole.crash(Tear::Lost).read(Path::new(PATH)).unwrap(), [b'n'; 3000]);
}

#[test]
fn replace_on_a_full_disk_leaves_the_old_file_and_no_other() {
    let disk = prepared();
    disk.resize(3000);
    let error = durable::replace(&disk, Path::new(PATH), &[b'n'; 2000], 0o600).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.list(Path::new("/etc")).unwrap(), ["node.json"]);
    assert_eq!(disk.read(Path::new(PATH)).unwrap(), [b'o'; 2000]);
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let disk = prepared();
    let calls = disk.calls();
    assert!(!durable::replace_if_changed(&disk, Path::new(PATH), &[b'o'; 2000], 0o600).unwrap());
    assert_eq!(disk.calls(), calls);
    assert!(durable::replace_if_changed(&disk, Path::new(PATH), b"new", 0o600).unwrap());
}

/// Both disks must answer alike, or tests on the one say nothing of the other.
#[test]
fn the_disk_in_memory_answers_as_the_operating_systems_does() {
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryDisk::new();
    memory.create_folder(folder.path(), 0o700).unwrap();
    let (real, fake) = (answers(&OsDisk, folder.path()), answers(&memory, folder.path()));
    assert_eq!(real, fake);
}

fn answers(disk: &dyn Disk, folder: &Path) -> Vec<String> {
    let at = |name: &str| folder.join(name);
    let mut said = Vec::new();
    let mut say = |answer: String| said.push(answer);
    say(format!("{:?}", disk.read(&at("none")).unwrap_err().kind()));
    say(format!("{:?}", disk.open(&at("no/folder"), 0o600).unwrap_err().kind()));
    let file: Box<dyn DiskFile> = disk.open(&at("file"), 0o600).unwrap();
    file.write_at(b"abc", 2).unwrap();
    say(format!("{:?}", file.size().unwrap()));
    file.set_size(8).unwrap();
    say(format!("{:?}", disk.read(&at("file")).unwrap()));
    say(format!("{:?}", file.read_at(&mut [0; 9], 0).unwrap_err().kind()));
    file.sync().unwrap();
    let second = disk.open(&at("file"), 0o600).unwrap();
    say(format!("{} {}", file.lock().unwrap(), second.lock().unwrap()));
    drop(file);
    say(format!("{}", second.lock().unwrap()));
    say(format!("{:?}", disk.rename(&at("none"), &at("file")).unwrap_err().kind()));
    disk.create_folder(&at("a/b"), 0o700).unwrap();
    disk.create_folder(&at("a/b"), 0o700).unwrap();
    disk.rename(&at("file"), &at("a/b/file")).unwrap();
    say(format!("{:?}", disk.create_folder(&at("a/b/file"), 0o700).is_err()));
    say(format!("{:?}", disk.rename(&at("a/b/file"), &at("a")).unwrap_err().kind()));
    disk.create_folder(&at("c"), 0o700).unwrap();
    say(format!("{:?}", disk.rename(&at("c"), &at("a")).unwrap_err().kind()));
    disk.rename(&at("a/b"), &at("c")).unwrap();
    disk.link(Path::new("c"), &at("now")).unwrap();
    say(format!("{:?}", disk.link(Path::new("c"), &at("now")).unwrap_err().kind()));
    say(format!("{:?}", disk.read(&at("now/file")).unwrap()));
    for name in ["now", "c", "c/file", "none", "c/file/x"] {
        say(format!("{name} {:?}", disk.entry(&at(name)).unwrap()));
    }
    say(format!("{:?}", disk.list(folder).unwrap()));
    say(format!("{:?}", disk.list(&at("c/file")).unwrap_err().kind()));
    disk.create(&at("c/file"), 0o600).unwrap();
    say(format!("{:?}", disk.entry(&at("c/file")).unwrap() == Some(Entry::File(0))));
    disk.remove_file(&at("now")).unwrap();
    disk.remove_file(&at("now")).unwrap();
    say(format!("{:?}", disk.remove_folder(&at("c/file")).is_err()));
    disk.link(Path::new("c"), &at("link")).unwrap();
    disk.remove_folder(&at("link")).unwrap();
    disk.remove_folder(&at("c")).unwrap();
    disk.remove_folder(&at("c")).unwrap();
    disk.sync_folder(folder).unwrap();
    say(format!("{:?}", disk.list(folder).unwrap()));
    said
}
