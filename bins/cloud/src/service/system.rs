//! System applications: made for a node where a module offers them for its mode (cloud.md 4.6).

use std::collections::BTreeMap;

use baetyl_core_lib::spec::application::{AutoScale, HostPath, JobConfig, Port, ResourceRef, Security};
use baetyl_core_lib::spec::configuration::{CONFIG_TYPE_LABEL, PROGRAM_CONFIG};
use baetyl_core_lib::spec::secret::{SECRET_TYPE_LABEL, SecretBytes};
use baetyl_core_lib::spec::{AppSpec, Configuration, Secret, Service, Volume, VolumeMount};

use super::Tx;
use super::app::PROGRAM_MOUNT;
use super::module::Module;
use super::node::{NODE_NAME_LABEL, NodeRecord};
use crate::error::ServiceError;
use crate::store::Kind;

const LIB: &str = "{{.BAETYL_HOST_PATH_LIB}}";
const SYSTEM_LABEL: &str = "baetyl-cloud-system";

/// What a system application is made of.
struct Plan<'a> {
    /// The application's name, random end and all.
    app: String,
    module: &'a str,
    args: &'a [&'a str],
    conf: String,
    conf_volume: &'a str,
    port: Option<Port>,
    /// core and init: see the node's key and folders, and are not shown.
    inner: bool,
}

impl Tx<'_> {
    /// Makes the system applications of a new node.
    pub(super) async fn create_system_apps(&mut self, node: &NodeRecord) -> Result<(), ServiceError> {
        if node.native() {
            return self.create_native_core(node).await;
        }
        let address = self.cloud.sync_address().await?;
        let seconds = node.frequency();
        if let Some(module) = self.latest_module("baetyl").await? {
            let host_port =
                node.attr("BaetylCoreAPIPort").and_then(|port| port.parse().ok()).unwrap_or(30050);
            let port = Port { container_port: 80, host_port, protocol: "TCP".to_owned(), ..Port::default() };
            let app = self.app_name("core");
            let cert = self.create_node_cert(node, &app)?;
            let core = Plan {
                app,
                module: "core",
                args: &["core"],
                conf: kube_conf(&address, Some(seconds)),
                conf_volume: "core-conf",
                port: Some(port),
                inner: true,
            };
            self.create_kube_app(node, &module.image, &core, Some(&cert))?;
            let init = Plan {
                app: self.app_name("init"),
                module: "init",
                args: &["init"],
                conf: kube_conf(&address, None),
                conf_volume: "init-conf",
                port: None,
                inner: true,
            };
            self.create_kube_app(node, &module.image, &init, Some(&cert))?;
        }
        if let Some(module) = self.latest_module("baetyl-broker").await? {
            let conf = "session:\n  sysTopics:\n    - \"$link\"\n    - \"$baetyl\"\nlogger:\n  level: debug\n  encoding: console";
            let port = Port { container_port: 50010, protocol: "TCP".to_owned(), ..Port::default() };
            let plan = Plan {
                app: self.app_name("broker"),
                module: "broker",
                args: &[],
                conf: conf.to_owned(),
                conf_volume: "broker-conf",
                port: Some(port),
                inner: false,
            };
            self.create_kube_app(node, &module.image, &plan, None)?;
        }
        for name in &node.spec.sys_apps {
            let Some(module) = self.latest_module(name).await? else { continue };
            let port = match name.as_str() {
                "baetyl-function" => Some(50011),
                "baetyl-ekuiper" => Some(9081),
                _ => None,
            };
            let port = port.map(|container_port| Port {
                container_port,
                protocol: "TCP".to_owned(),
                ..Port::default()
            });
            let plan = Plan {
                app: self.app_name(name.strip_prefix("baetyl-").unwrap_or(name)),
                module: name.strip_prefix("baetyl-").unwrap_or(name),
                args: &[],
                conf: "logger:\n  level: debug\n  encoding: console".to_owned(),
                conf_volume: if name == "baetyl-function" { "func-conf" } else { "module-conf" },
                port,
                inner: false,
            };
            self.create_kube_app(node, &module.image, &plan, None)?;
        }
        Ok(())
    }

    /// Has the cores of all native nodes follow a new program: their nodes update themselves.
    pub(super) async fn refresh_native_core(&mut self, module: &Module) -> Result<(), ServiceError> {
        for old in self.all::<Configuration>(Kind::Config).await? {
            let is_core =
                old.labels.get("baetyl-app-name").is_some_and(|app| app.starts_with("baetyl-core-"));
            if !old.system || !old.is_program() || !is_core {
                continue;
            }
            let data = self.program_data(module).await?;
            if !data.is_empty() && data != old.data {
                let new = Configuration {
                    data,
                    version: self.version(),
                    update_time: self.cloud.now_whole(),
                    ..old.clone()
                };
                self.replace_config(&old, &new).await?;
            }
        }
        // Nodes that came before the module have no core yet.
        for node in self.all::<NodeRecord>(Kind::Node).await? {
            let selector = format!("{NODE_NAME_LABEL}={}", node.spec.name);
            let apps: Vec<AppSpec> = self.all(Kind::App).await?;
            if node.native() && !apps.iter().any(|app| app.system && app.selector == selector) {
                self.create_native_core(&node).await?;
                self.rematch(&node).await?;
            }
        }
        Ok(())
    }

    async fn program_data(&self, module: &Module) -> Result<BTreeMap<String, String>, ServiceError> {
        let mut data = BTreeMap::new();
        for (platform, url) in &module.programs {
            let (key, entry) = self.program_entry(&module.name, platform, url).await?;
            data.insert(key, entry);
        }
        Ok(data)
    }

    /// Core as a program: only where the module has one.
    async fn create_native_core(&mut self, node: &NodeRecord) -> Result<(), ServiceError> {
        let Some(module) = self.latest_module("baetyl").await? else { return Ok(()) };
        let data = self.program_data(&module).await?;
        if data.is_empty() {
            return Ok(());
        }
        let app_name = self.app_name("core");
        let conf = self.native_conf(node).await?;
        let conf = self.create_config(
            node,
            "baetyl-core-conf",
            &app_name,
            [("conf.yml".to_owned(), conf)].into(),
            None,
        )?;
        let program =
            self.create_config(node, "baetyl-core-program", &app_name, data, Some(PROGRAM_CONFIG))?;
        let mut volumes = vec![config_volume("core-conf", &conf), config_volume("core-program", &program)];
        volumes.push(if node.own_key {
            host_volume("node-cert", &format!("{LIB}/node"))
        } else {
            Volume {
                name: "node-cert".to_owned(),
                secret: Some(self.create_node_cert(node, &app_name)?),
                ..Volume::default()
            }
        });
        volumes.extend(folders("core"));
        let mut mounts = vec![
            mount("core-conf", "/etc/baetyl", true),
            mount("core-program", PROGRAM_MOUNT, true),
            mount("node-cert", "/var/lib/baetyl/node", false),
        ];
        mounts.extend(folder_mounts("core"));
        let service = Service {
            name: "baetyl-core".to_owned(),
            args: vec!["core".to_owned()],
            volume_mounts: mounts,
            ..Service::default()
        };
        self.create_app_of(node, &app_name, true, service, volumes)
    }

    async fn native_conf(&self, node: &NodeRecord) -> Result<String, ServiceError> {
        let port = node.attr("BaetylCoreAPIPort");
        let api =
            port.map_or_else(|| self.cloud.settings.core_api.clone(), |port| format!("127.0.0.1:{port}"));
        let address = self.cloud.sync_address().await?;
        let mut conf = NODE_CONF.to_owned();
        let level = node.attr("BaetylCoreLogLevel").unwrap_or("info");
        conf.push_str(&format!(
            "server:\n  address: \"{api}\"\n  key: var/lib/baetyl/system/certs/key.pem\n  cert: var/lib/baetyl/system/certs/crt.pem\n\
             sync:\n  download:\n    timeout: 30m\n  report:\n    interval: {}s\n\
             httplink:\n  address: \"{address}\"\nlogger:\n  level: {level}\n  encoding: console\n",
            node.frequency(),
        ));
        Ok(conf)
    }

    fn app_name(&self, module: &str) -> String {
        format!("baetyl-{module}-{}", self.cloud.random.word(9))
    }

    fn create_kube_app(
        &mut self,
        node: &NodeRecord,
        image: &str,
        plan: &Plan<'_>,
        cert: Option<&ResourceRef>,
    ) -> Result<(), ServiceError> {
        let name = format!("baetyl-{}", plan.module);
        let data = [("conf.yml".to_owned(), plan.conf.clone())].into();
        let conf = self.create_config(node, &format!("{name}-conf"), &plan.app, data, None)?;
        let mut volumes = vec![config_volume(plan.conf_volume, &conf)];
        let mut mounts = vec![mount(plan.conf_volume, "/etc/baetyl", true)];
        if let Some(cert) = cert {
            volumes.push(Volume {
                name: "node-cert".to_owned(),
                secret: Some(cert.clone()),
                ..Volume::default()
            });
            volumes.extend(folders(plan.module));
            mounts.push(mount("node-cert", "/var/lib/baetyl/node", false));
            mounts.extend(folder_mounts(plan.module));
        }
        let service = Service {
            name,
            image: image.to_owned(),
            args: plan.args.iter().map(|arg| (*arg).to_owned()).collect(),
            ports: plan.port.iter().cloned().collect(),
            security: plan.inner.then_some(Security { privileged: true }),
            volume_mounts: mounts,
            ..Service::default()
        };
        let invisible = plan.inner || plan.module == "function";
        self.create_app_of(node, &plan.app, invisible, service, volumes)
    }

    fn create_app_of(
        &mut self,
        node: &NodeRecord,
        name: &str,
        invisible: bool,
        mut service: Service,
        volumes: Vec<Volume>,
    ) -> Result<(), ServiceError> {
        let now = self.cloud.now_whole();
        let mode = if node.native() { "native" } else { "kube" };
        service.replica = 1;
        "deployment".clone_into(&mut service.service_type);
        let mut labels: BTreeMap<String, String> =
            [(SYSTEM_LABEL.to_owned(), "true".to_owned()), ("baetyl-app-mode".to_owned(), mode.to_owned())]
                .into();
        if invisible {
            labels.insert("resource-invisible".to_owned(), "true".to_owned());
        }
        let app = AppSpec {
            name: name.to_owned(),
            namespace: self.cloud.namespace().to_owned(),
            app_type: "container".to_owned(),
            mode: mode.to_owned(),
            labels,
            selector: format!("{NODE_NAME_LABEL}={}", node.spec.name),
            system: true,
            replica: 1,
            version: self.version(),
            create_time: now,
            update_time: now,
            cron_time: now,
            job_config: Some(JobConfig::default()),
            auto_scale_cfg: Some(AutoScale::default()),
            services: vec![service],
            volumes,
            ..AppSpec::default()
        };
        self.put(Kind::App, name, &app.version, &app)
    }

    fn create_config(
        &mut self,
        node: &NodeRecord,
        prefix: &str,
        app: &str,
        data: BTreeMap<String, String>,
        kind: Option<&str>,
    ) -> Result<ResourceRef, ServiceError> {
        let now = self.cloud.now_whole();
        let mut labels = system_labels(node, app);
        if let Some(kind) = kind {
            labels.insert(CONFIG_TYPE_LABEL.to_owned(), kind.to_owned());
        }
        let config = Configuration {
            name: format!("{prefix}-{}", self.cloud.random.word(9)),
            namespace: self.cloud.namespace().to_owned(),
            labels,
            data,
            create_time: now,
            update_time: now,
            version: self.version(),
            system: true,
            ..Configuration::default()
        };
        self.put(Kind::Config, &config.name, &config.version, &config)?;
        Ok(ResourceRef { name: config.name, version: config.version })
    }

    /// A key and certificate for a node that did not make its own.
    fn create_node_cert(&mut self, node: &NodeRecord, app: &str) -> Result<ResourceRef, ServiceError> {
        let cloud = self.cloud;
        let (cert, key) = cloud.authority.issue(&format!("{}.{}", cloud.namespace(), node.spec.name))?;
        let now = cloud.now_whole();
        let mut labels = system_labels(node, app);
        labels.insert(SECRET_TYPE_LABEL.to_owned(), "config".to_owned());
        labels.insert("resource-invisible".to_owned(), "true".to_owned());
        let parts = [("client.pem", cert), ("client.key", key), ("ca.pem", cloud.authority.ca_pem())];
        let secret = Secret {
            name: format!("crt-{}-{}", node.spec.name, cloud.random.word(9)),
            namespace: cloud.namespace().to_owned(),
            labels,
            data: parts
                .into_iter()
                .map(|(key, text)| (key.to_owned(), SecretBytes(text.into_bytes())))
                .collect(),
            create_time: now,
            update_time: now,
            version: self.version(),
            system: true,
            ..Secret::default()
        };
        self.put(Kind::Secret, &secret.name, &secret.version, &secret)?;
        Ok(ResourceRef { name: secret.name, version: secret.version })
    }
}

const NODE_CONF: &str = "node:\n  ca: var/lib/baetyl/node/ca.pem\n  key: var/lib/baetyl/node/client.key\n  cert: var/lib/baetyl/node/client.pem\n";

/// As the original writes it, letter by letter.
fn kube_conf(address: &str, report_seconds: Option<u64>) -> String {
    let mut conf = NODE_CONF.to_owned();
    if report_seconds.is_some() {
        conf.push_str("server:\n  key: var/lib/baetyl/system/certs/key.pem\n  cert: var/lib/baetyl/system/certs/crt.pem\n");
    }
    conf.push_str("sync:\n  download:\n    timeout: 30m\n");
    if let Some(seconds) = report_seconds {
        conf.push_str(&format!("  report:\n    interval: {seconds}s\n"));
    }
    conf.push_str(&format!(
        "httplink:\n  address: \"{address}\"\n  insecureSkipVerify: true\nlogger:\n  level: debug\n  encoding: console"
    ));
    conf
}

fn system_labels(node: &NodeRecord, app: &str) -> BTreeMap<String, String> {
    [("baetyl-app-name", app), (SYSTEM_LABEL, "true"), (NODE_NAME_LABEL, &node.spec.name)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn config_volume(name: &str, config: &ResourceRef) -> Volume {
    Volume { name: name.to_owned(), config: Some(config.clone()), ..Volume::default() }
}

fn host_volume(name: &str, path: &str) -> Volume {
    let host_path = Some(HostPath { path: path.to_owned(), ..HostPath::default() });
    Volume { name: name.to_owned(), host_path, ..Volume::default() }
}

fn folders(module: &str) -> [Volume; 3] {
    [
        host_volume(&format!("{module}-store-path"), &format!("{LIB}/{module}/store")),
        host_volume("object-download-path", &format!("{LIB}/object")),
        host_volume("host-root-path", &format!("{LIB}/host")),
    ]
}

fn folder_mounts(module: &str) -> [VolumeMount; 3] {
    [
        mount(&format!("{module}-store-path"), "/var/lib/baetyl/store", false),
        mount("object-download-path", "/var/lib/baetyl/object", false),
        mount("host-root-path", "/var/lib/baetyl/host", false),
    ]
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only, ..VolumeMount::default() }
}
