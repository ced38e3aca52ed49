//! The environment, read once and through a trait, so that tests use a map.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Variables by name.
pub trait Env: std::fmt::Debug + Send + Sync {
    /// The value of a variable; `None` when it is not set or not text.
    fn var(&self, name: &str) -> Option<String>;
}

/// The process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// The default of `BAETYL_HOST_PATH_LIB`.
pub const DEFAULT_LIB: &str = "/var/lib/baetyl";

/// Where everything of the node lies: `BAETYL_HOST_PATH_LIB`.
pub fn lib(env: &dyn Env) -> PathBuf {
    env.var("BAETYL_HOST_PATH_LIB")
        .filter(|lib| !lib.is_empty())
        .map_or_else(|| DEFAULT_LIB.into(), PathBuf::from)
}

/// Where state lies that need not survive a boot: sockets, what supervisors write. In an installation a
/// memory file system, else beside the rest.
pub fn runtime(env: &dyn Env, lib: &Path) -> PathBuf {
    match env.var("BAETYL_RUNTIME_PATH") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ if lib == Path::new(DEFAULT_LIB) => PathBuf::from("/run/baetyl"),
        _ => lib.join("runtime"),
    }
}

/// The socket on which the owner of a node talks to its init or core.
pub fn socket(runtime: &Path, role: &str) -> PathBuf {
    runtime.join(format!("{role}.sock"))
}

/// The command that runs this executable again: what supervisors are started with.
///
/// # Errors
/// When the operating system does not tell.
pub fn this_program() -> std::io::Result<OsString> {
    std::env::current_exe().map(PathBuf::into_os_string)
}
