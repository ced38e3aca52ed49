//! Objects: files that configurations name and nodes download by digest. The bytes lie elsewhere; here is
//! what is known of them.

use baetyl_core_lib::spec::{Configuration, OBJECT_PREFIX, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Cloud, Tx};
use crate::error::ServiceError;
use crate::store::Kind;

/// What is known of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectInfo {
    /// Its bucket.
    pub bucket: String,
    /// Its name.
    pub object: String,
    /// MD5 in hex.
    pub md5: String,
    /// SHA-256 in hex; the name of its file.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// When it was put.
    pub create_time: Timestamp,
}

impl ObjectInfo {
    fn key(&self) -> String {
        format!("{}/{}", self.bucket, self.object)
    }
}

fn path_of(sha256: &str) -> String {
    format!("/v1/objects/{sha256}")
}

/// How a file of this name is unpacked; `None` when it is one file.
pub(crate) fn unpack_of(name: &str) -> Option<&'static str> {
    let ends = |suffix: &str| name.to_ascii_lowercase().ends_with(suffix);
    match () {
        () if ends(".zip") => Some("zip"),
        () if ends(".tgz") || ends(".tar.gz") => Some("tgz"),
        () if ends(".tar") => Some("tar"),
        () => None,
    }
}

impl Cloud {
    /// Records an object whose file is there. Returns the digest of the file that nothing names any more.
    ///
    /// # Errors
    /// `Body` for a name that cannot be one.
    pub async fn put_object(&self, mut info: ObjectInfo) -> Result<Option<String>, ServiceError> {
        check(&info.bucket, "bucket")?;
        check(&info.object, "object")?;
        let mut tx = self.begin().await;
        info.create_time = self.now_whole();
        let old: Option<ObjectInfo> = tx.read(Kind::Object, &info.key()).await?;
        tx.put(Kind::Object, &info.key(), "", &info)?;
        let unused = match old {
            Some(old) if !tx.named(&old.sha256, true).await? => Some(old.sha256),
            _ => None,
        };
        tx.commit().await?;
        Ok(unused)
    }

    /// An object's record.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn object(&self, bucket: &str, object: &str) -> Result<ObjectInfo, ServiceError> {
        let info: Option<ObjectInfo> = self.read(Kind::Object, &format!("{bucket}/{object}")).await?;
        info.ok_or_else(|| ServiceError::not_found("object", object))
    }

    /// All objects.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn objects(&self) -> Result<Vec<ObjectInfo>, ServiceError> {
        self.all(Kind::Object).await
    }

    /// Removes an object's record, whoever names it: what names it fails from then on. Returns the digest
    /// of the file that no other record has.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_object(&self, bucket: &str, object: &str) -> Result<Option<String>, ServiceError> {
        let info = self.object(bucket, object).await?;
        let mut tx = self.begin().await;
        tx.delete(Kind::Object, &info.key());
        let unused = !tx.named(&info.sha256, false).await?;
        tx.commit().await?;
        Ok(unused.then_some(info.sha256))
    }

    /// Where nodes fetch an object, with their certificate.
    pub fn node_object_url(&self, sha256: &str) -> String {
        format!("{}{}", self.settings.node_url, path_of(sha256))
    }

    /// Where others fetch an object, with a signed query.
    pub(crate) fn init_object_url(&self, sha256: &str) -> String {
        format!("{}{}", self.settings.init_url, path_of(sha256))
    }

    /// A name for a file that is not whole yet.
    pub(crate) fn random_word(&self) -> String {
        self.random.word(16)
    }

    pub(crate) fn now_seconds(&self) -> i64 {
        self.now().as_unix()
    }

    /// Fills in where the node fetches the objects of a configuration.
    pub(super) fn with_urls(&self, mut config: Configuration) -> Configuration {
        for (key, text) in &mut config.data {
            if !key.starts_with(OBJECT_PREFIX) {
                continue;
            }
            let Ok(Value::Object(mut object)) = serde_json::from_str(text) else { continue };
            if object.get("metadata").is_some_and(|metadata| metadata["source"] == "local") {
                let sha256 = object.get("sha256").and_then(Value::as_str).unwrap_or_default();
                let url = self.node_object_url(sha256);
                object.insert("url".to_owned(), Value::from(url));
                object.remove("metadata");
                *text = Value::Object(object).to_string();
            }
        }
        config
    }
}

impl Tx<'_> {
    /// Names the object's digests in a configuration's entry, so that this version never means other bytes.
    pub(super) async fn pin(&self, value: &mut Map<String, Value>) -> Result<(), ServiceError> {
        let part = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (bucket, object) = (part("bucket"), part("object"));
        let info: Option<ObjectInfo> = self.read(Kind::Object, &format!("{bucket}/{object}")).await?;
        match info {
            Some(info) => {
                value.insert("md5".to_owned(), Value::from(info.md5));
                value.insert("sha256".to_owned(), Value::from(info.sha256));
                Ok(())
            }
            // An entry that was pinned before stays what it was, though the object has gone.
            None if value
                .get("sha256")
                .is_some_and(|digest| digest.as_str().is_some_and(|text| text.len() == 64)) =>
            {
                Ok(())
            }
            None => Err(ServiceError::not_found("object", &format!("{bucket}/{object}"))),
        }
    }

    /// The entry of a program package for one platform: its key and what is stored.
    pub(super) async fn program_entry(
        &self,
        module: &str,
        platform: &str,
        url: &str,
    ) -> Result<(String, String), ServiceError> {
        let digest = url.rsplit('/').next().filter(|name| url.contains("/v1/objects/") && name.len() == 64);
        let infos: Vec<ObjectInfo> = self.all(Kind::Object).await?;
        let found = infos.into_iter().find(|info| {
            digest.is_some_and(|digest| digest == info.sha256)
                || url.strip_prefix("local:") == Some(&info.key())
        });
        let Some(info) = found else {
            let unpack = unpack_of(url).unwrap_or("zip");
            return Ok((
                format!("{OBJECT_PREFIX}{module}_{platform}.{unpack}"),
                json!({ "url": url, "unpack": unpack }).to_string(),
            ));
        };
        let unpack = unpack_of(&info.object).unwrap_or("zip");
        let stored = json!({
            "md5": info.md5, "sha256": info.sha256, "unpack": unpack,
            "metadata": { "type": "object", "source": "local", "bucket": info.bucket, "object": info.object,
                "md5": info.md5, "sha256": info.sha256, "unpack": unpack },
        });
        Ok((format!("{OBJECT_PREFIX}{module}_{platform}.{unpack}"), stored.to_string()))
    }

    /// Whether a digest is named by an object's record, or also by a configuration.
    async fn named(&self, sha256: &str, configs: bool) -> Result<bool, ServiceError> {
        if self.all::<ObjectInfo>(Kind::Object).await?.iter().any(|info| info.sha256 == sha256) {
            return Ok(true);
        }
        let all: Vec<Configuration> = if configs { self.all(Kind::Config).await? } else { Vec::new() };
        Ok(all.iter().flat_map(|config| config.data.values()).any(|text| text.contains(sha256)))
    }
}

fn check(name: &str, what: &str) -> Result<(), ServiceError> {
    let fits = (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(ServiceError::invalid(format!(
        "{what} {name:?}: use 1 to 255 letters, digits, '-', '_', '+' and '.'"
    )))
}
