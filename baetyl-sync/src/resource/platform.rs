//! The platform of this node, in the words of program packages (edge.md 5.3).

/// The platform of this node: `linux-amd64`, `linux-arm64-v8`, `linux-arm-v7`.
pub fn platform() -> String {
    use std::env::consts::{ARCH, OS};
    // Only there does the processor decide which of several programs it can run.
    let cpuinfo = if ARCH == "arm" {
        std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
    } else {
        String::new()
    };
    words(OS, ARCH, &cpuinfo)
}

/// In Go's words; `cpuinfo` is the kernel's description of an ARM processor.
fn words(os: &str, arch: &str, cpuinfo: &str) -> String {
    let os = if os == "macos" { "darwin" } else { os };
    let arch = match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64-v8",
        "arm" => return format!("{os}-arm-{}", variant(cpuinfo)),
        other => other,
    };
    format!("{os}-{arch}")
}

fn variant(cpuinfo: &str) -> &'static str {
    let told = |key: &str| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    // The first Raspberry Pi says 7 although it is an ARMv6.
    if told("model name").is_some_and(|name| name.starts_with("ARMv6-compatible")) {
        return "v6";
    }
    match told("CPU architecture") {
        Some("5" | "5T" | "5TE" | "5TEJ") => "v5",
        Some("6" | "6TEJ") => "v6",
        // An ARMv8 processor that runs this 32-bit program runs ARMv7 as well.
        _ => "v7",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_named_as_program_packages_name_them() {
        for (os, arch, cpuinfo, expected) in [
            ("linux", "x86_64", "", "linux-amd64"),
            ("linux", "aarch64", "", "linux-arm64-v8"),
            ("linux", "arm", "CPU architecture: 7\n", "linux-arm-v7"),
            ("linux", "arm", "CPU architecture: 8\n", "linux-arm-v7"),
            ("linux", "arm", "", "linux-arm-v7"),
            ("linux", "arm", "CPU architecture: 5TEJ\n", "linux-arm-v5"),
            (
                "linux",
                "arm",
                "model name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7\n",
                "linux-arm-v6",
            ),
            ("linux", "riscv64", "", "linux-riscv64"),
            ("macos", "x86_64", "", "darwin-amd64"),
            ("windows", "x86_64", "", "windows-amd64"),
        ] {
            assert_eq!(words(os, arch, cpuinfo), expected);
        }
    }
}
