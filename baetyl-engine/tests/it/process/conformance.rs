//! The suite that every engine must pass, on real programs.

use async_trait::async_trait;
use baetyl_core_lib::conformance::engine::{EngineFixture, check};

use serde_json::Value;

use super::*;

/// Readiness is the settle time's until this engine has a prober.
const SKIPPED: [&str; 2] = ["a_probed_service_becomes_ready", "two_versions_take_turns_at_one_port"];

impl Bed {
    fn folder_of(&self, scope: Scope, info: &AppInfo) -> PathBuf {
        self.lib().join("run").join(scope.namespace()).join(&info.name).join(&info.version).join("web/1")
    }

    /// Supervisors and programs of a version that run now.
    fn pids(&self, scope: Scope, info: &AppInfo) -> Vec<(i32, Option<i32>)> {
        let folder = self.runtime().join(scope.namespace()).join(&info.name).join(&info.version);
        let states =
            files(&folder).into_iter().filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok());
        let pid = |process: &Value| process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        states.filter_map(|state: Value| Some((pid(&state)?, pid(&state["child"])))).collect()
    }
}

fn named(name: &str, version: &str, script: &str, text: &str) -> Deployment {
    let mut app = app(version, script);
    app.spec.name = name.to_owned();
    let files = BTreeMap::from([("file".to_owned(), Content(text.into()))]);
    app.volumes.insert("key".to_owned(), VolumeContent::Files { files, objects: None, secret: true });
    app
}

#[async_trait]
impl EngineFixture for Bed {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Self::engine(self))
    }

    fn runs(&self, name: &str, version: &str, text: &str) -> Deployment {
        named(name, version, LIVES, text)
    }

    fn fails(&self, name: &str, version: &str) -> Deployment {
        named(name, version, "exit 1", "")
    }

    fn listens(&self, name: &str, version: &str) -> Deployment {
        named(name, version, LIVES, "")
    }

    fn is_missing(&self, name: &str, version: &str) -> Deployment {
        let mut app = named(name, version, LIVES, "");
        let files = [("program.yml".to_owned(), Content(b"entry: gone".to_vec()))].into();
        app.volumes.insert("code".to_owned(), VolumeContent::Files { files, objects: None, secret: false });
        app
    }

    async fn processes(&self, scope: Scope, info: &AppInfo) -> usize {
        self.pids(scope, info).into_iter().filter_map(|(_, child)| child).filter(|pid| lives(*pid)).count()
    }

    async fn sees(&self, scope: Scope, info: &AppInfo) -> String {
        fs::read_to_string(self.folder_of(scope, info).join("etc/key/file")).unwrap_or_default()
    }

    async fn lose(&self, scope: Scope, info: &AppInfo) {
        for (supervisor, child) in self.pids(scope, info) {
            for pid in [Some(supervisor), child].into_iter().flatten() {
                kill(pid);
                while lives(pid) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn engine_keeps_its_contract() {
    check(Bed::new, &SKIPPED).await;
}
