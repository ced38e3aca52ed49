//! The kernel's texts, read. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Processor time since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    busy: u64,
    all: u64,
    pub(super) cores: u32,
}

impl Cpu {
    /// Reads `/proc/stat`.
    pub(super) fn parse(text: &str) -> Self {
        let mut cpu = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap_or_default();
            if name == "cpu" {
                // user nice system idle iowait irq softirq steal; guest times are in the first two.
                let times: Vec<u64> = words.take(8).map(|word| word.parse().unwrap_or(0)).collect();
                let sum = |times: &[u64]| times.iter().fold(0_u64, |sum, time| sum.saturating_add(*time));
                let idle = sum(&times[times.len().min(3)..times.len().min(5)]);
                cpu.all = sum(&times);
                cpu.busy = cpu.all.saturating_sub(idle);
            } else if name.starts_with("cpu") {
                cpu.cores += 1;
            }
        }
        cpu
    }

    /// The share of all cores that was in use since then, or since boot.
    pub(super) fn share_since(&self, before: Option<&Self>) -> f64 {
        let before = before.copied().unwrap_or_default();
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { super::float(self.busy.saturating_sub(before.busy)) / super::float(all) }
    }
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
    /// Free, or used for what can be dropped at any time.
    spare: u64,
}

impl Memory {
    /// Reads `/proc/meminfo`.
    pub(super) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
            kilobytes.unwrap_or(0).saturating_mul(1024)
        };
        let spare = field("MemFree").saturating_add(field("Buffers")).saturating_add(field("Cached"));
        Self { total: field("MemTotal"), available: field("MemAvailable"), spare }
    }

    /// As the original counts it: total − free − buffers − cached (edge.md 7.8).
    pub(super) const fn used(&self) -> u64 {
        self.total.saturating_sub(self.spare)
    }
}

/// What went over all interfaces since boot: bytes and packets received, bytes and packets sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Network([u64; 4]);

impl Network {
    /// Reads `/proc/net/dev`.
    pub(super) fn parse(text: &str) -> Self {
        let mut sum = [0_u64; 4];
        for (_, line) in text.lines().filter_map(|line| line.split_once(':')) {
            let numbers: Vec<u64> =
                line.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
            for (sum, field) in sum.iter_mut().zip([0, 1, 8, 9]) {
                *sum = sum.saturating_add(numbers.get(field).copied().unwrap_or(0));
            }
        }
        Self(sum)
    }

    /// What went over them each second since then; nothing when there was no look before.
    pub(super) fn rates_since(&self, before: Option<&Self>, seconds: f64) -> BTreeMap<String, String> {
        const NAMES: [&str; 4] = ["netBytesRecv", "netPacketsRecv", "netBytesSent", "netPacketsSent"];
        let before = before.unwrap_or(self);
        let rate = |(now, before): (&u64, &u64)| match seconds {
            seconds if seconds > 0.0 => super::float(now.saturating_sub(*before)) / seconds,
            _ => 0.0,
        };
        let rates = self.0.iter().zip(&before.0).map(rate).map(|rate| format!("{rate:.0}"));
        NAMES.into_iter().map(str::to_owned).zip(rates).collect()
    }
}

/// The addresses of the host that others can reach, from `/proc/net/fib_trie`.
pub(super) fn addresses(text: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut last = "";
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address;
        } else if line == "/32 host LOCAL" && !last.starts_with("127.") {
            found.insert(last.to_owned());
        }
    }
    found.into_iter().collect()
}

/// Where disks are mounted, each disk once, from `/proc/self/mounts`.
pub(super) fn disks(text: &str) -> Vec<String> {
    let mut devices = BTreeSet::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(mount)) = (words.next(), words.next()) else { continue };
        if device.starts_with("/dev/") && !device.starts_with("/dev/loop") && devices.insert(device) {
            found.push(mount.replace("\\040", " "));
        }
    }
    found
}

/// The operating system in words, from `/etc/os-release`.
pub(super) fn os_image(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

/// A machine identity in the form of a UUID; an empty text when it is none.
pub(super) fn uuid(id: &str) -> String {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return String::new();
    }
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}

/// Go's word for an architecture.
pub(super) fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The variant of an ARM architecture, from `/proc/cpuinfo`.
pub(super) fn variant(arch: &str, cpuinfo: &str) -> String {
    match arch {
        "arm64" => "v8".to_owned(),
        "arm" => {
            let line = cpuinfo.lines().find_map(|line| line.strip_prefix("CPU architecture"));
            let number = line.map(|line| line.trim_start_matches([' ', '\t', ':']));
            let number = number.and_then(|text| text.chars().next()).filter(char::is_ascii_digit);
            format!("v{}", number.unwrap_or('7'))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_share_is_that_between_two_looks() {
        let before = Cpu::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2\ncpu1 1 2\n");
        let after = Cpu::parse("cpu  150 0 150 900 0 0 0 0 0 0\ncpu0 1 2\ncpu1 1 2\nintr 5\n");
        assert_eq!(after.cores, 2);
        assert!((after.share_since(Some(&before)) - 0.5).abs() < 1e-9);
        assert!((after.share_since(None) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn memory_counts_as_the_original_does() {
        let text =
            "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 700 kB\nBuffers: 100 kB\nCached: 200 kB\n";
        let memory = Memory::parse(text);
        assert_eq!((memory.total, memory.used(), memory.available), (1_024_000, 409_600, 716_800));
    }

    #[test]
    fn network_rates_are_of_a_second() {
        let line = |count: u64| {
            format!("face\n eth0: {count} 2 0 0 0 0 0 0 {count} 4 0\n  lo:1 1 0 0 0 0 0 0 1 1\n")
        };
        let (before, after) = (Network::parse(&line(100)), Network::parse(&line(300)));
        let rates = after.rates_since(Some(&before), 2.0);
        assert_eq!(rates["netBytesSent"], "100");
        assert_eq!(rates["netPacketsRecv"], "0");
        assert_eq!(after.rates_since(None, 0.0)["netBytesRecv"], "0");
    }

    #[test]
    fn addresses_are_those_of_the_host_without_loopback() {
        let text = "Main:\n  |-- 10.0.0.0\n     /24 link UNICAST\n  |-- 10.0.0.2\n     /32 host LOCAL\n  \
                    |-- 127.0.0.1\n     /32 host LOCAL\nLocal:\n  |-- 10.0.0.2\n     /32 host LOCAL\n";
        assert_eq!(addresses(text), ["10.0.0.2"]);
    }

    #[test]
    fn disks_are_listed_once() {
        let text = "proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vda /again ext4 rw 0 0\n/dev/sda1 /my\\040disk vfat rw 0 0\n";
        assert_eq!(disks(text), ["/", "/my disk"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_readers(text in "(cpu[0-9 ]{0,40}\n|MemTotal: [0-9]{0,30} kB\n|.{0,60}\n){0,5}") {
            let cpu = Cpu::parse(&text);
            assert!((0.0..=1.0).contains(&cpu.share_since(None)));
            let memory = Memory::parse(&text);
            assert!(memory.used() <= memory.total);
            Network::parse(&text);
            uuid(&text);
            variant("arm", &text);
            assert!(addresses(&text).len() <= text.len() && disks(&text).len() <= text.len());
        }
    }

    #[test]
    fn garbage_is_nothing() {
        assert_eq!(Cpu::parse("cpu x\n\u{fffd}"), Cpu::default());
        assert_eq!(Memory::parse("MemTotal"), Memory::default());
        assert_eq!(uuid("short"), "");
        assert_eq!(uuid("0123456789abcdef0123456789abcdef"), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(variant("arm", "CPU architecture: 7\n"), "v7");
    }
}
