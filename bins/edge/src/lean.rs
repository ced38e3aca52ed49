//! A small heap for the agents: the C library is told to keep one arena for all threads and to give memory
//! back early.
//!
//! It reads its settings from the environment before `main`, so the program replaces itself once by itself
//! with them set. Nothing has been opened by then, and the process stays the same.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::env::Env;

/// Each with its value; a name that is set already is the owner's wish, and then all stay as they are.
const SETTINGS: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// Starts this program again with the settings, unless they are there. Where that does not work, it goes on
/// with a larger heap.
pub(crate) fn restart(env: &dyn Env) {
    if cfg!(not(target_env = "gnu")) || SETTINGS.iter().any(|(name, _)| env.var(name).is_some()) {
        return;
    }
    let (Ok(program), mut arguments) = (std::env::current_exe(), std::env::args_os()) else { return };
    let Some(own_name) = arguments.next() else { return };
    // Returns only when it has failed.
    drop(Command::new(program).arg0(own_name).args(arguments).envs(SETTINGS).exec());
}
