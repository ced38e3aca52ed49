//! What tells this machine from others, for a person to copy (edge.md 10).

use ring::hmac;

/// The key material's salt, as the original has it, so that fingerprints stay the same.
const APPLICATION: &[u8] = b"hBmNlyAWkmrKfqwCFWoSiJiTsZJWksvv";

/// The fingerprint: installation, board and network interface, mixed.
pub fn fingerprint() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let machine = read("/var/lib/dbus/machine-id").or_else(|| read("/etc/machine-id")).unwrap_or_default();
    let board = read("/sys/class/dmi/id/product_uuid").unwrap_or_default();
    let seed = format!("{}{board}{}", mix(&machine), interface().unwrap_or_default());
    format!("Copy The Fingerprint:\n{}", mix(&seed))
}

fn mix(key: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), APPLICATION);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The address of the last network interface, by name, that is up and no loopback.
fn interface() -> Option<String> {
    let mut names: Vec<_> =
        std::fs::read_dir("/sys/class/net").ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.iter().rev().find_map(|path| {
        let flags = std::fs::read_to_string(path.join("flags")).ok()?;
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
        // Up and broadcast, not loopback (linux/if.h).
        let usable = flags & 0x1 != 0 && flags & 0x2 != 0 && flags & 0x8 == 0;
        let address = std::fs::read_to_string(path.join("address")).ok()?;
        usable.then(|| address.trim().to_owned())
    })
}
