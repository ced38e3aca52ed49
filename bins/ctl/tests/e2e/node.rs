//! One more node of the cloud of an `up`: an init in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Up, kill_all, program};

/// An init with all that it brings up.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    folder: PathBuf,
}

impl Node {
    /// Starts it with the configuration of the `up`'s own init, changed by `change`.
    pub(crate) fn start(up: &Up, up_folder: &Path, folder: &Path, change: impl FnOnce(&mut Value)) -> Self {
        let from = up_folder.canonicalize().unwrap().join("node");
        let folder = folder.canonicalize().unwrap();
        let text = std::fs::read_to_string(from.join("init/etc/baetyl/conf.yml")).unwrap();
        let text = text.replace(from.to_str().unwrap(), folder.to_str().unwrap());
        let mut conf: Value = serde_json::from_str(&text).unwrap();
        conf["init"]["active"]["address"] = json!(up.told("/init"));
        change(&mut conf);
        let init = folder.join("init");
        std::fs::create_dir_all(init.join("etc/baetyl")).unwrap();
        std::fs::write(init.join("etc/baetyl/conf.yml"), conf.to_string()).unwrap();
        let log = std::fs::File::create(folder.join("init.log")).unwrap();
        let child = Command::new(program())
            .arg("init")
            .current_dir(&init)
            .env("BAETYL_RUN_MODE", "native")
            .env("BAETYL_SERVICE_NAME", "baetyl-init")
            .env("BAETYL_HOST_PATH_LIB", &folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// What init printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("init.log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        kill_all(&self.folder);
    }
}
