//! Keys of a configuration file that nobody knows, with their lines.

/// What follows a key that is known.
enum Known {
    /// A section with these keys.
    Section(&'static [(&'static str, Self)]),
    /// A value, or something that is not looked into.
    Value,
}

use Known::{Section, Value};

const CERT: [&str; 7] = ["ca", "key", "cert", "name", "passphrase", "insecureSkipVerify", "clientAuthType"];
const HTTP: [&str; 10] = [
    "address",
    "timeout",
    "keepalive",
    "maxIdleConns",
    "idleConnTimeout",
    "tlsHandshakeTimeout",
    "expectContinueTimeout",
    "byteUnit",
    "speedLimit",
    "syncMaxConcurrency",
];

const INTERVAL: Known = Section(&[("interval", Value)]);

/// The original's keys, also those that mean nothing to us.
const FILE: Known = Section(&[
    ("node", Section(&[])),
    ("engine", Section(&[("report", INTERVAL), ("clean", INTERVAL)])),
    ("outCluster", Value),
    ("confPath", Value),
    ("logConfig", Value),
    ("kube", Value),
    ("native", Section(&[("portsRange", Section(&[("start", Value), ("end", Value)]))])),
    ("sync", Section(&[("report", INTERVAL), ("download", Section(&[("path", Value)]))])),
    ("store", Section(&[("path", Value)])),
    ("event", Value),
    (
        "init",
        Section(&[
            (
                "batch",
                Section(&[
                    ("name", Value),
                    ("namespace", Value),
                    ("securityType", Value),
                    ("securityKey", Value),
                    ("mode", Value),
                ]),
            ),
            (
                "active",
                Section(&[
                    ("url", Value),
                    ("interval", Value),
                    (
                        "collector",
                        Section(&[
                            ("fingerprints", Value),
                            ("attributes", Value),
                            ("nodeinfo", Value),
                            ("serial", Value),
                            ("server", Section(&[("listen", Value), ("pages", Value)])),
                        ]),
                    ),
                ]),
            ),
        ]),
    ),
    (
        "security",
        Section(&[("kind", Value), ("pki", Section(&[("subDuration", Value), ("rootDuration", Value)]))]),
    ),
    (
        "server",
        Section(&[
            ("address", Value),
            ("concurrency", Value),
            ("disableKeepalive", Value),
            ("tcpKeepalive", Value),
            ("maxRequestBodySize", Value),
            ("readTimeout", Value),
            ("writeTimeout", Value),
            ("idleTimeout", Value),
        ]),
    ),
    ("logger", Value),
    ("plugin", Value),
    ("mqttlink", Value),
    ("statsext", Value),
    ("extPlugin", Value),
    ("roam", Value),
    ("httplink", Section(&[("reportUrl", Value), ("desireUrl", Value)])),
    ("wslink", Value),
    ("defaultpubsub", Value),
    ("nvstats", Value),
    ("nodestats", Value),
    ("qpsstats", Value),
    ("cert", Value),
    ("function", Value),
    ("core", Value),
    ("broker", Value),
]);

/// One warning for each unknown key. `text` is YAML that was read without an error.
pub(super) fn warnings(text: &str) -> Vec<String> {
    let Ok(file) = serde_saphyr::from_str::<serde_json::Value>(text) else { return Vec::new() };
    let mut found = Vec::new();
    walk(&file, &FILE, &mut Vec::new(), &mut found);
    found
        .into_iter()
        .map(|path| match line_of(text, &path) {
            Some(line) => {
                format!("line {line}: {} is not a key that is known, it is ignored", path.join("."))
            }
            None => format!("{} is not a key that is known, it is ignored", path.join(".")),
        })
        .collect()
}

fn walk(value: &serde_json::Value, known: &Known, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let (Some(map), Section(keys)) = (value.as_object(), known) else { return };
    for (key, value) in map {
        path.push(key.clone());
        match keys.iter().find(|(name, _)| name == key) {
            Some((_, next)) => walk(value, next, path, found),
            None if shared(path) => {}
            None => found.push(path.clone()),
        }
        path.pop();
    }
}

/// Whether the key belongs to the blocks that several sections share: certificates, HTTP clients.
fn shared(path: &[String]) -> bool {
    let [section @ .., key] = path else { return false };
    let section: Vec<&str> = section.iter().map(String::as_str).collect();
    let cert = CERT.contains(&key.as_str());
    let http = HTTP.contains(&key.as_str());
    match section.as_slice() {
        ["node" | "server"] => cert,
        ["httplink"] | ["sync", "download"] | ["init", "active"] => cert || http,
        _ => false,
    }
}

/// The line, counted from 1, on which the last key of the path stands: below its parents, further in.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let mut from = 0;
    for (depth, key) in path.iter().enumerate() {
        let (line, _) = text.lines().enumerate().skip(from).find(|(_, line)| {
            let bare = line.trim_start();
            let indented = line.len() > bare.len();
            bare.trim_matches(['"', '\''])
                .strip_prefix(key.as_str())
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
                && (depth > 0) == indented
        })?;
        from = line + 1;
    }
    Some(from)
}
