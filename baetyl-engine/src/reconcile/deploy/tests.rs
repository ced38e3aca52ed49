use baetyl_core_lib::spec::Service;
use baetyl_core_lib::spec::secret::SecretBytes;
use baetyl_core_lib::task::Inline;
use baetyl_core_lib::testing::{FakeObjects, FixedResources, MemoryDisk, app};

use super::*;

/// An authority that writes the request into the certificate.
#[derive(Debug)]
struct Scribe;

#[async_trait::async_trait]
impl CertIssuer for Scribe {
    async fn issue(&self, request: &CertRequest) -> Result<IssuedCert, CertError> {
        let text = |text: &str| Content(text.as_bytes().to_vec());
        Ok(IssuedCert { cert: text(&format!("{request:?}")), key: text("key"), ca: text("ca") })
    }

    async fn retain(&self, _: &BTreeSet<String>) -> Result<(), CertError> {
        Ok(())
    }
}

fn deployer(resources: &FixedResources) -> Deployer {
    Deployer {
        resources: Arc::new(resources.clone()),
        objects: Arc::new(FakeObjects::new("/objects")),
        certs: Some(Arc::new(Scribe)),
        disk: Arc::new(MemoryDisk::new()),
        pool: Arc::new(Inline),
        engines: vec![EngineKind::Process],
        lib: "/lib".into(),
        node_name: "edge-a".to_owned(),
        run_mode: "native".to_owned(),
    }
}

async fn resolve(resources: &FixedResources, spec: AppSpec) -> Result<Resolved, DeployError> {
    let (info, deployer) = (spec.info(), deployer(resources));
    resources.put_app(spec);
    let described = deployer.describe(Scope::User, &info).await?;
    let silent: OnObject = Arc::new(|_| Arc::new(|_| ()));
    deployer.complete(described, &silent).await
}

async fn refused(resources: &FixedResources, spec: AppSpec) -> String {
    resolve(resources, spec).await.unwrap_err().to_string()
}

#[tokio::test]
async fn the_five_variables_come_last_and_in_order() {
    let spec = app("hello-app").version("7").service("web").env("BAETYL_APP_NAME", "mine").spec();
    let resolved = resolve(&FixedResources::new(), spec).await.unwrap();
    let env = &resolved.deployment.spec.services[0].env;
    let env: Vec<String> = env.iter().map(|one| format!("{}={}", one.name, one.value)).collect();
    let expected = [
        "BAETYL_APP_NAME=mine",
        "BAETYL_APP_NAME=hello-app",
        "BAETYL_SERVICE_NAME=web",
        "BAETYL_APP_VERSION=7",
        "BAETYL_NODE_NAME=edge-a",
        "BAETYL_RUN_MODE=native",
    ];
    assert_eq!(env, expected);
}

#[tokio::test]
async fn certificates_are_mounted_under_the_names_of_the_original() {
    let spec = app("hello-app").service("web").spec();
    let resolved = resolve(&FixedResources::new(), spec).await.unwrap();
    let name = "baetyl-cert-volume-5c086b5ee01dec4a77f4303ba91c36d5";
    let mount = &resolved.deployment.spec.services[0].volume_mounts[0];
    assert_eq!((mount.name.as_str(), mount.mount_path.as_str(), mount.read_only), (name, CERT_PATH, true));
    let VolumeContent::Files { files, secret, .. } = &resolved.deployment.volumes[name] else { panic!() };
    assert!(secret);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["ca.pem", "crt.pem", "key.pem"]);
    assert_eq!(hex::encode(&Md5::digest(b"app1.s0")), "9ee013e88d4492d8f024e98ad358300a");
    assert!(!resolved.facts.certs.is_empty());
}

#[tokio::test]
async fn core_and_init_get_no_certificates() {
    let spec = app("baetyl-core-x1").service("core").spec();
    let resolved = resolve(&FixedResources::new(), spec).await.unwrap();
    assert!(resolved.deployment.spec.services[0].volume_mounts.is_empty());
}

#[test]
fn a_certificate_has_all_names_of_its_service() {
    let spec = AppSpec { name: "app1".to_owned(), ..AppSpec::default() };
    let request = cert_request(&spec, "s0");
    assert_eq!(request.common_name, "app1.s0");
    let names = [
        "app1.baetyl-edge",
        "app1",
        "s0.baetyl-edge",
        "s0",
        "app1-nodeport.baetyl-edge",
        "app1-nodeport",
        "s0-nodeport.baetyl-edge",
        "s0-nodeport",
        "localhost",
    ];
    assert_eq!(request.dns, names);
    let system = AppSpec { system: true, ..spec };
    assert_eq!(cert_request(&system, "s0").dns[0], "app1.baetyl-edge-system");
}

#[tokio::test]
async fn a_configuration_with_objects_keeps_its_plain_files() {
    let resources = FixedResources::new();
    let data = [("_object_net.tgz", "{}"), ("conf.yml", "a: 1")];
    resources.put_config(Configuration {
        name: "c0".to_owned(),
        version: "1".to_owned(),
        data: data.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Configuration::default()
    });
    let resolved =
        resolve(&resources, app("web").service("web").config("c0", "/c", &[]).spec()).await.unwrap();
    let VolumeContent::Files { files, objects, .. } = &resolved.deployment.volumes["c0"] else { panic!() };
    assert_eq!(files.keys().collect::<Vec<_>>(), ["conf.yml"]);
    assert_eq!(objects.as_deref(), Some(Path::new("/objects/c0/1")));
}

#[tokio::test]
async fn a_secret_is_files_or_a_login() {
    let resources = FixedResources::new();
    let secret = |name: &str, kind: &str| Secret {
        name: name.to_owned(),
        version: "1".to_owned(),
        labels: [(SECRET_TYPE_LABEL.to_owned(), kind.to_owned())].into(),
        data: [("username".to_owned(), SecretBytes(b"bot".to_vec()))].into(),
        ..Secret::default()
    };
    resources.put_secret(secret("login", "registry"));
    resources.put_secret(secret("files", "config"));
    let spec = app("web").service("web").secret("login", "/l", &[]).secret("files", "/f", &[]).spec();
    let volumes = resolve(&resources, spec).await.unwrap().deployment.volumes.clone();
    assert!(matches!(&volumes["login"], VolumeContent::Registry { username, .. } if username == "bot"));
    assert!(matches!(&volumes["files"], VolumeContent::Files { secret: true, .. }));
}

#[test]
fn relative_paths_climb_no_higher_than_their_folder() {
    for (path, expected) in
        [("../../etc", "/lib/host/etc"), ("a/../../b", "/lib/host/b"), ("./a//b", "/lib/host/a/b")]
    {
        assert_eq!(below(Path::new("/lib/host"), path), Path::new(expected), "{path}");
    }
}

#[test]
fn deadlines_are_seconds_minutes_or_hours() {
    for (text, expected) in [
        ("90", Some(90)),
        ("90s", Some(90)),
        ("5m", Some(300)),
        ("1h", Some(3600)),
        ("0", None),
        ("5mm", None),
        ("x", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let resources = FixedResources::new();
    let mut sourceless = app("web").service("web").spec();
    sourceless.volumes.push(Volume { name: "data".to_owned(), ..Volume::default() });
    let mut twice = app("web").service("web").empty_dir("data", "/a").spec();
    twice.volumes.push(twice.volumes[0].clone());
    let unnamed = AppSpec { services: vec![Service::default()], ..app("web").spec() };
    for (spec, words) in [
        (sourceless, "volume \"data\" has no source"),
        (twice, "volume \"data\" is there twice"),
        (unnamed, "service name \"\" is not valid"),
        (
            app("web").service("web").label(DEADLINE_LABEL, "soon").spec(),
            "label baetyl-update-deadline is \"soon\"",
        ),
        (
            app("web").service("web").label(conflict::OVERLAP_LABEL, "no").spec(),
            "label baetyl-update-overlap is neither true nor false",
        ),
        (
            app("web").service("web").secret("key", "/k", &[]).spec(),
            "secret \"key\" in version 1 is not known",
        ),
    ] {
        let sentence = refused(&resources, spec).await;
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[tokio::test]
async fn an_entry_that_would_leave_its_folder_is_refused() {
    let resources = FixedResources::new();
    resources.put_config(Configuration {
        name: "c0".to_owned(),
        version: "1".to_owned(),
        data: [("../../passwd".to_owned(), String::new())].into(),
        ..Configuration::default()
    });
    let sentence = refused(&resources, app("web").service("web").config("c0", "/c", &[]).spec()).await;
    assert!(sentence.contains("\"../../passwd\", which is not a file name"), "{sentence}");
}
