//! Which objects a configuration has and where their files lie. Pure.
//!
//! `<folder>/<configuration>/<version>/` is there only when it is whole. It is built in
//! `.<version>.baetyl-part/` beside it: `plan` tells what is built, `tree/` becomes the version's folder,
//! `<id>.part` is being downloaded, `<id>.whole` is an archive whose digest fits, `<id>.done` tells that an
//! archive lies in the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::object::ObjectError;
use baetyl_core_lib::spec::{Configuration, ConfigurationObject, hex};

use crate::unpack::Format;

/// The file in a version's folder that tells that it is whole, and of what it was made.
const MARKER: &str = ".baetyl-done";

/// Whose fault or misfortune an error is: one object of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) config: String,
    pub(super) object: String,
}

impl Site {
    pub(super) fn new(config: &str, object: &str) -> Self {
        Self { config: config.to_owned(), object: object.to_owned() }
    }

    pub(super) fn invalid(&self, reason: impl Into<String>) -> ObjectError {
        let Self { config, object } = self.clone();
        ObjectError::Invalid { config, object, reason: reason.into() }
    }

    pub(super) fn disk(&self, source: impl Into<BoxError>) -> ObjectError {
        let Self { config, object } = self.clone();
        ObjectError::Disk { config, object, source: source.into() }
    }

    pub(super) fn full(&self, needed: u64, room: u64) -> ObjectError {
        let Self { config, object } = self.clone();
        ObjectError::Full { config, object, needed, room }
    }

    pub(super) fn too_large(&self, limit: u64) -> ObjectError {
        let Self { config, object } = self.clone();
        ObjectError::TooLarge { config, object, limit }
    }

    pub(super) fn unreachable(&self, source: BoxError) -> ObjectError {
        let Self { config, object } = self.clone();
        ObjectError::Unreachable { config, object, source }
    }
}

/// One object, understood.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) site: Site,
    /// The whole address.
    pub(super) url: String,
    pub(super) object: ConfigurationObject,
    /// How it is packed; `None` when it is a file.
    pub(super) format: Option<Format>,
    /// The name of the file that it is.
    pub(super) file: String,
    pub(super) mode: u32,
    /// Changes with whatever makes its content differ.
    pub(super) id: String,
}

impl Item {
    fn parse(
        config: &Configuration,
        key: &str,
        text: &str,
        address: Option<&str>,
    ) -> Result<Self, ObjectError> {
        let site = Site::new(&config.name, key);
        let object: ConfigurationObject = serde_json::from_str(text)
            .map_err(|error| site.invalid(format!("its description is not JSON of an object: {error}")))?;
        let format = match object.unpack.as_str() {
            "" => None,
            "zip" => Some(Format::Zip),
            "tar" => Some(Format::Tar),
            "tgz" => Some(Format::Tgz),
            other => return Err(site.invalid(format!("unpack is {other:?}: use zip, tar, tgz or nothing"))),
        };
        for (name, digest, length) in [("md5", &object.md5, 32), ("sha256", &object.sha256, 64)] {
            let hex = digest.len() == length && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !digest.is_empty() && !hex {
                return Err(site.invalid(format!("{name} {digest:?} is not {length} hexadecimal digits")));
            }
        }
        let url = match (object.url.as_str(), address) {
            ("", _) => return Err(site.invalid("it has no url")),
            (url, _) if url.starts_with("http") => url.to_owned(),
            (url, Some(address)) => format!("{}/{url}", address.trim_end_matches('/')),
            (_, None) => {
                return Err(site.invalid("its url is relative: set sync.download.address, or give it whole"));
            }
        };
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let file = if config.is_program() { path.rsplit('/').next().unwrap_or_default() } else { key };
        if format.is_none() && !is_component(file) {
            return Err(site.invalid(format!("{file:?} cannot be the name of a file")));
        }
        let told = !object.md5.is_empty() || !object.sha256.is_empty();
        let id = digest_of(&[
            key,
            &object.md5.to_ascii_lowercase(),
            &object.sha256.to_ascii_lowercase(),
            &object.unpack,
            if told { "" } else { path },
        ]);
        let mode = if config.is_program() { 0o755 } else { 0o644 };
        Ok(Self { file: file.to_owned(), site, url, object, format, mode, id })
    }

    /// The server refused it.
    pub(super) fn rejected(&self, status: u16) -> ObjectError {
        let Site { config, object } = self.site.clone();
        let told = [&self.object.sha256, &self.object.md5].into_iter().find(|digest| !digest.is_empty());
        ObjectError::Rejected { config, object, digest: told.cloned().unwrap_or_default(), status }
    }

    /// Whether its content is told by a digest.
    pub(super) const fn has_digest(&self) -> bool {
        !self.object.md5.is_empty() || !self.object.sha256.is_empty()
    }
}

/// What is to be built for one version of a configuration, and where.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The folder of all versions of the configuration.
    pub(super) config: PathBuf,
    /// The version's folder.
    pub(super) whole: PathBuf,
    /// Where it is built.
    pub(super) stage: PathBuf,
    /// Where a folder goes that is in the way.
    pub(super) old: PathBuf,
}

impl Layout {
    pub(super) fn new(folder: &Path, name: &str, version: &str) -> Result<Self, ObjectError> {
        for (what, text) in [("name", name), ("version", version)] {
            if !is_component(text) {
                let reason = format!("{what} {text:?} of the configuration cannot be the name of a folder");
                return Err(Site::new(name, "").invalid(reason));
            }
        }
        let config = folder.join(name);
        Ok(Self {
            whole: config.join(version),
            stage: config.join(format!(".{version}.baetyl-part")),
            old: config.join(format!(".{version}.baetyl-old")),
            config,
        })
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.whole.join(MARKER)
    }

    pub(super) fn plan(&self) -> PathBuf {
        self.stage.join("plan")
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.stage.join("tree")
    }

    pub(super) fn tree_marker(&self) -> PathBuf {
        self.tree().join(MARKER)
    }

    pub(super) fn part(&self, item: &Item) -> PathBuf {
        self.stage.join(format!("{}.part", item.id))
    }

    pub(super) fn archive(&self, item: &Item) -> PathBuf {
        self.stage.join(format!("{}.whole", item.id))
    }

    pub(super) fn unpacked(&self, item: &Item) -> PathBuf {
        self.stage.join(format!("{}.done", item.id))
    }

    pub(super) fn file(&self, item: &Item) -> PathBuf {
        self.tree().join(&item.file)
    }
}

/// The objects of a configuration, those of other platforms left out of a program's.
pub(super) fn items(
    config: &Configuration,
    address: Option<&str>,
    platform: Option<&str>,
) -> Result<Vec<Item>, ObjectError> {
    let platform = platform.filter(|_| config.is_program());
    let mut items = Vec::new();
    let mut files = BTreeSet::new();
    for (key, text) in config.objects() {
        if platform.is_some_and(|platform| !key.contains(platform)) {
            continue;
        }
        let item = Item::parse(config, key, text, address)?;
        if item.format.is_none() && !files.insert(item.file.clone()) {
            return Err(item.site.invalid(format!("another object has its file name {:?} too", item.file)));
        }
        items.push(item);
    }
    // Archives first: one that cannot be unpacked empties the tree, and no file must be lost by that.
    items.sort_by_key(|item| item.format.is_none());
    if let (true, Some(platform)) = (items.is_empty(), platform) {
        let reason = format!("the program has no object for {platform}: upload one with this in its name");
        return Err(Site::new(&config.name, "").invalid(reason));
    }
    Ok(items)
}

/// The text of marker and plan: what the folder is made of.
pub(super) fn plan(items: &[Item]) -> Vec<u8> {
    let mut text = String::new();
    for item in items {
        text.push_str(&item.id);
        text.push(' ');
        text.push_str(&item.site.object);
        text.push('\n');
    }
    text.into_bytes()
}

fn digest_of(parts: &[&str]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    hex::encode(context.finish().as_ref().get(..16).unwrap_or_default())
}

/// Whether a text can be the name of a file or folder of ours, and is none that we keep for ourselves.
fn is_component(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.starts_with('.')
        && !text.contains(['/', '\\'])
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_paths_stay_in_the_folder(name in ".{0,12}", version in "[./a-z0-9]{0,6}", key in "[./a-z\\\\]{0,6}") {
            let folder = Path::new("/lib/object");
            if let Ok(layout) = Layout::new(folder, &name, &version) {
                let mut config = Configuration { name, version, ..Configuration::default() };
                let described = r#"{"url":"http://objects/x"}"#.to_owned();
                config.data.insert(format!("_object_{key}"), described);
                for item in items(&config, None, None).unwrap_or_default() {
                    for path in [layout.file(&item), layout.part(&item), layout.whole.clone(), layout.old.clone()] {
                        prop_assert!(path.starts_with(&layout.config) && layout.config.starts_with(folder));
                        let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
                        prop_assert!(plain, "{path:?}");
                    }
                    prop_assert!(layout.file(&item).parent() == Some(&layout.tree()));
                    prop_assert_eq!(layout.config.parent(), Some(folder));
                }
            }
        }

        #[test]
        fn descriptions_never_panic(text in ".{0,40}") {
            let mut config = Configuration { name: "c".to_owned(), ..Configuration::default() };
            config.data.insert("_object_a".to_owned(), text);
            drop(items(&config, Some("http://x"), Some("linux-amd64")));
        }
    }
}
