//! The configuration file of init and core: the original's keys and defaults (edge.md 4.1).
//!
//! Text becomes typed values here. Keys that nobody knows are warned of with their line, because most of
//! them are misspelt; the original's keys that mean nothing to us are known and ignored.

use std::path::{Path, PathBuf};
use std::time::Duration;

use baetyl::core::spec::duration;
use baetyl::sync::activate::{BatchConfig, Field};
use baetyl::sync::link::HttpConfig;
use serde::Deserialize;

use crate::env::Env;
use crate::exit::Fatal;

mod unknown;

/// Where the file lies when nobody says otherwise, below the working directory.
pub const DEFAULT_PATH: &str = "etc/baetyl/conf.yml";

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The node's certificate, key and authority.
    pub node: CertPaths,
    /// How often the node is looked at.
    pub engine: EngineSection,
    /// Programs of the host.
    pub native: NativeSection,
    /// Reports and downloads.
    pub sync: SyncSection,
    /// Where the store lies.
    pub store: StoreSection,
    /// Activation.
    pub init: InitSection,
    /// The node's own certificate authority.
    pub security: SecuritySection,
    /// The local HTTP API.
    pub server: ServerSection,
    /// The log.
    pub logger: LoggerConfig,
    /// The link.
    pub httplink: HttpConfig,
}

/// Paths of a certificate, its key and the authority; relative to the working directory.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CertPaths {
    /// Whom to trust.
    pub ca: String,
    /// The key.
    pub key: String,
    /// The certificate.
    pub cert: String,
}

/// Section `engine`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EngineSection {
    /// How often applications are looked at without a reason; 10 s when not set.
    pub report: Interval,
    /// How often what nobody needs is removed; ours removes it when an update is done.
    pub clean: Interval,
}

/// An `interval`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Interval {
    /// The interval, where the file has one.
    #[serde(deserialize_with = "duration::optional")]
    pub interval: Option<Duration>,
}

impl Interval {
    /// The interval, or this many seconds. Zero means not set, as with the original.
    pub fn or(&self, seconds: u64) -> Duration {
        self.interval.filter(|interval| !interval.is_zero()).unwrap_or(Duration::from_secs(seconds))
    }
}

/// Section `native`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NativeSection {
    /// The ports that instances are given.
    pub ports_range: PortsRange,
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct PortsRange {
    /// The first.
    pub start: u16,
    /// The last.
    pub end: u16,
}

impl Default for PortsRange {
    fn default() -> Self {
        Self { start: 50200, end: 51000 }
    }
}

/// Section `sync`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SyncSection {
    /// How often the node reports without a reason; 20 s when not set.
    pub report: Interval,
    /// Downloads of objects.
    pub download: Download,
}

/// Section `sync.download`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Download {
    /// Where objects are kept; empty means `object` below the node's folder.
    pub path: String,
    /// The HTTP client.
    #[serde(flatten)]
    pub http: HttpClient,
}

/// Section `store`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct StoreSection {
    /// The store's file.
    pub path: PathBuf,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { path: "var/lib/baetyl/store/core.db".into() }
    }
}

/// Section `init`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InitSection {
    /// The batch; without a `mode` it is the one that this program runs in.
    pub batch: BatchConfig,
    /// How to activate.
    pub active: ActiveSection,
}

/// Section `init.active`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActiveSection {
    /// The path on the server.
    pub url: String,
    /// How often it is tried.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// What is collected.
    pub collector: Collector,
    /// The HTTP client.
    #[serde(flatten)]
    pub http: HttpClient,
}

impl Default for ActiveSection {
    fn default() -> Self {
        Self {
            url: "/v1/active".to_owned(),
            interval: Duration::from_secs(45),
            collector: Collector::default(),
            http: HttpClient::default(),
        }
    }
}

/// Section `init.active.collector`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Collector {
    /// Which proof tells this node from all others; the first one decides.
    pub fingerprints: Vec<Fingerprint>,
    /// Attributes that are sent, and asked for on the page.
    pub attributes: Vec<Field>,
    /// More fields of the page.
    pub nodeinfo: Vec<Field>,
    /// More fields of the page.
    pub serial: Vec<Field>,
    /// The activation page.
    pub server: PageServer,
}

/// One proof of identity.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    /// `input`, `sn`, `hostName`, `machineID`, `systemUUID` or `bootID`.
    pub proof: String,
    /// What the proof needs: an attribute's name, a file's name.
    pub value: String,
}

/// Section `init.active.collector.server`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PageServer {
    /// Where the activation page is served; empty for not at all.
    pub listen: String,
    /// The original's folder of templates; ours are built in.
    pub pages: String,
}

/// Section `security`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SecuritySection {
    /// `pki`.
    pub kind: String,
    /// How long certificates live.
    pub pki: PkiSection,
}

/// Section `security.pki`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PkiSection {
    /// The life of an application's certificate; not set means ours, which is shorter than the original's.
    #[serde(deserialize_with = "duration::optional")]
    pub sub_duration: Option<Duration>,
    /// The life of the authority.
    #[serde(deserialize_with = "duration::optional")]
    pub root_duration: Option<Duration>,
}

/// Section `server`: the local HTTP API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServerSection {
    /// Where it listens; empty means `127.0.0.1:8443` in native mode and `:80` else.
    pub address: String,
    /// The certificate to serve with.
    #[serde(flatten)]
    pub cert: CertPaths,
}

/// Section `logger`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoggerConfig {
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// `json`, or `console` for lines that people read.
    pub encoding: String,
    /// The file that is written to; empty for standard error.
    pub filename: PathBuf,
    /// How large the file grows before it is renamed away, in MiB.
    pub max_size: u64,
    /// How many older files are kept.
    pub max_backups: u32,
}

impl Default for LoggerConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            encoding: "console".to_owned(),
            filename: PathBuf::new(),
            max_size: 50,
            max_backups: 15,
        }
    }
}

/// The keys of an HTTP client, but for the link's.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpClient {
    /// Where the server is: addresses, comma separated.
    pub address: String,
    /// The deadline of a whole request.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// Bytes a second in units of `byte_unit`; 0 for no limit.
    pub speed_limit: u64,
    /// `B`, `KB` or `MB`.
    pub byte_unit: String,
    /// Whom to trust, as a path.
    pub ca: String,
    /// Whether the server is not verified.
    pub insecure_skip_verify: bool,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self {
            address: String::new(),
            timeout: Duration::from_secs(30),
            speed_limit: 0,
            byte_unit: "KB".to_owned(),
            ca: String::new(),
            insecure_skip_verify: false,
        }
    }
}

impl HttpClient {
    /// The limit in bytes a second, where there is one.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let unit = match self.byte_unit.to_ascii_uppercase().as_str() {
            "B" => 1,
            "MB" => 1 << 20,
            "GB" => 1 << 30,
            _ => 1 << 10,
        };
        (self.speed_limit > 0).then(|| self.speed_limit.saturating_mul(unit))
    }
}

/// A configuration and what there is to say about it once the log is open.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings: unknown keys with their lines.
    pub warnings: Vec<String>,
}

/// Reads the file. One that is not there means defaults, unless it was asked for by name.
///
/// # Errors
/// [`Fatal::Config`] names the file, the line and what to change.
pub fn load(path: Option<&Path>, env: &dyn Env) -> Result<Loaded, Fatal> {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read_to_string(file) {
        Ok(text) => {
            parse(&text, env).map_err(|reason| Fatal::Config(format!("{}: {reason}", file.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
            let warnings = vec![format!("{} is not there: defaults are used", file.display())];
            Ok(Loaded { config: Config::default(), warnings })
        }
        Err(error) => Err(Fatal::Config(format!("{} cannot be read: {error}", file.display()))),
    }
}

/// Reads the text of a file: `{{.NAME}}` is replaced by the environment, then it is YAML.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse(text: &str, env: &dyn Env) -> Result<Loaded, String> {
    let text = template(text, env);
    if text.trim().is_empty() {
        return Ok(Loaded { config: Config::default(), warnings: Vec::new() });
    }
    let config: Config = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    let mut warnings = unknown::warnings(&text);
    let ports = &config.native.ports_range;
    if ports.start < 1024 || ports.start >= ports.end {
        return Err(format!(
            "native.portsRange {}..{}: start must be 1024 or more and below end",
            ports.start, ports.end
        ));
    }
    if !matches!(config.security.kind.as_str(), "" | "pki") {
        return Err(format!("security.kind {:?} is not known: write pki", config.security.kind));
    }
    if !matches!(config.logger.level.as_str(), "debug" | "info" | "warn" | "error") {
        warnings.push(format!(
            "logger.level {:?} is not known, info is used: write debug, info, warn or error",
            config.logger.level
        ));
    }
    if !matches!(config.logger.encoding.as_str(), "json" | "console") {
        warnings.push(format!(
            "logger.encoding {:?} is not known, console is used: write json or console",
            config.logger.encoding
        ));
    }
    Ok(Loaded { config, warnings })
}

/// Replaces `{{.NAME}}` by the variable of that name; everything else in braces stays.
fn template(text: &str, env: &dyn Env) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let Some(end) = rest.find("}}") else { break };
        let name = rest[2..end].trim().strip_prefix('.').unwrap_or_default();
        match env.var(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[..end + 2]),
        }
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(text: &str) -> Loaded {
        let env = BTreeMap::from([("SITE".to_owned(), "lab".to_owned())]);
        parse(text, &env).unwrap()
    }

    #[test]
    fn an_empty_file_means_defaults() {
        let config = read("").config;
        assert_eq!(config.sync.report.or(20), Duration::from_secs(20));
        assert_eq!(config.init.active.interval, Duration::from_secs(45));
        assert_eq!((config.native.ports_range.start, config.native.ports_range.end), (50200, 51000));
        assert_eq!(config.httplink.timeout, Duration::from_secs(30));
    }

    #[test]
    fn what_the_original_cloud_generates_is_read_without_a_warning() {
        let loaded = read(concat!(
            "node:\n  ca: var/lib/baetyl/node/ca.pem\n  key: var/lib/baetyl/node/client.key\n",
            "  cert: var/lib/baetyl/node/client.pem\n",
            "server:\n  key: var/lib/baetyl/system/certs/key.pem\n  cert: var/lib/baetyl/system/certs/crt.pem\n",
            "sync:\n  download:\n    timeout: 30m\n  report:\n    interval: 20s\n",
            "httplink:\n  address: \"https://10.0.0.1:9005\"\n  insecureSkipVerify: true\n  keepalive: 5s\n",
            "logger:\n  level: debug\n  encoding: console\n",
        ));
        assert_eq!(loaded.warnings, Vec::<String>::new());
        let expected = HttpConfig {
            address: "https://10.0.0.1:9005".to_owned(),
            insecure_skip_verify: true,
            keepalive: Duration::from_secs(5),
            ..HttpConfig::default()
        };
        assert_eq!(loaded.config.httplink, expected);
        assert_eq!(loaded.config.sync.download.http.timeout, Duration::from_secs(1800));
    }

    #[test]
    fn a_misspelt_key_is_warned_of_with_its_line() {
        let loaded = read("sync:\n  report:\n    intervall: 5s\n");
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].contains("line 3"), "{}", loaded.warnings[0]);
        assert!(loaded.warnings[0].contains("sync.report.intervall"), "{}", loaded.warnings[0]);
    }

    #[test]
    fn a_bad_value_names_its_line() {
        let error = parse("sync:\n  report:\n    interval: soon\n", &BTreeMap::new()).unwrap_err();
        assert!(error.contains("soon"), "{error}");
        assert!(error.contains('3'), "{error}");
    }

    #[test]
    fn variables_are_filled_in_and_other_braces_stay() {
        let config = read("init:\n  batch:\n    name: '{{.SITE}}-{{.OTHER}}{{ .SITE }}'\n").config;
        assert_eq!(config.init.batch.name, "lab-{{.OTHER}}lab");
    }
}
