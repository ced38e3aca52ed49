//! The host on the real machine, and on one from files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::sync::Arc;

use baetyl_core_lib::node::Node as _;
use baetyl_core_lib::task::Inline;
use baetyl_engine::host::Host;

#[tokio::test]
async fn machine_tells_its_identity_and_load_without_waiting() {
    let host = Host::new("/", Arc::new(Inline));
    let facts = host.facts().unwrap();
    let info = host.info().await.unwrap().remove(&facts.hostname).unwrap();
    assert_eq!((info.role.as_str(), info.os.as_str()), ("master", "linux"));
    assert!(!info.kernel_ver.is_empty() && !info.boot_id.is_empty() && !info.system_uuid.is_empty());
    for _ in 0..2 {
        let stats = host.stats().await.unwrap().remove(&facts.hostname).unwrap();
        assert!(stats.ready);
        for key in ["cpu", "memory", "disk"] {
            let share: f64 = stats.percent[key].parse().unwrap();
            assert!((0.0..=1.0).contains(&share), "{key}: {share}");
        }
        assert_eq!(stats.netio.len(), 4);
    }
}

#[tokio::test]
async fn missing_parts_of_a_machine_are_left_out() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let host = Host::below(root.path(), root.path(), Arc::new(Inline));
    assert!(host.facts().is_err());
    put("proc/sys/kernel/hostname", "edge1\n");
    put("proc/stat", "cpu 1 1 1 7\ncpu0 1 1 1 7\n");
    put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 1 kB\n");
    put("proc/self/mounts", "/dev/gone /gone ext4 rw 0 0\n");
    put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let facts = host.facts().unwrap();
    assert_eq!(facts.system_uuid, "01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!(host.info().await.unwrap()["edge1"].address, "");
    let stats = host.stats().await.unwrap().remove("edge1").unwrap();
    assert_eq!((stats.usage["cpu"].as_str(), stats.percent["cpu"].as_str()), ("0.300", "0.3"));
    assert!(stats.memory_pressure && !stats.usage.contains_key("disk_/gone"));
}
