//! Modules: what system applications are made of (cloud.md 3.6).

use std::collections::BTreeMap;

use baetyl_core_lib::spec::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Cloud, Tx};
use crate::error::ServiceError;
use crate::store::Kind;

/// One version of a module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) image: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) programs: BTreeMap<String, String>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) module_type: String,
    pub(crate) flag: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_latest: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) create_time: Timestamp,
    pub(crate) update_time: Timestamp,
}

impl Module {
    fn key(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

impl Cloud {
    /// Adds a module's version, or changes it. The first version of a module is its latest.
    ///
    /// # Errors
    /// `Body` for what is no module, `Invalid` without name and version.
    pub async fn put_module(&self, body: &[u8]) -> Result<Value, ServiceError> {
        let mut module: Module = super::view::parse(body)?;
        if module.name.is_empty() || module.version.is_empty() {
            return Err(ServiceError::invalid("name and version of the module are required"));
        }
        let mut tx = self.begin().await;
        let stored: Option<Module> = tx.read(Kind::Module, &module.key()).await?;
        module.update_time = self.now_whole();
        module.create_time = stored.map_or(module.update_time, |stored| stored.create_time);
        if module.is_latest {
            for mut other in tx.all::<Module>(Kind::Module).await? {
                if other.name == module.name && other.version != module.version && other.is_latest {
                    other.is_latest = false;
                    tx.put(Kind::Module, &other.key(), "", &other)?;
                }
            }
        }
        tx.put(Kind::Module, &module.key(), "", &module)?;
        if module.is_latest && module.name == "baetyl" {
            tx.refresh_native_core(&module).await?;
        }
        tx.commit().await?;
        Ok(json!(module))
    }

    /// Modules by type and name.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn modules(
        &self,
        module_type: &str,
        name: &str,
        page_no: usize,
        page_size: usize,
    ) -> Result<Value, ServiceError> {
        let all = self.all::<Module>(Kind::Module).await?.into_iter();
        let mut found: Vec<Module> = all
            .filter(|module| {
                (module_type.is_empty() || module.module_type == module_type) && module.name.contains(name)
            })
            .collect();
        let total = found.len();
        let mut answer = json!({ "total": total });
        if page_size > 0 {
            found = found
                .into_iter()
                .skip((page_no.max(1) - 1).saturating_mul(page_size))
                .take(page_size)
                .collect();
            answer["pageNo"] = json!(page_no);
            answer["pageSize"] = json!(page_size);
        }
        answer["items"] = json!(found);
        Ok(answer)
    }

    /// All versions of one module.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn module_versions(&self, name: &str) -> Result<Value, ServiceError> {
        let found: Vec<Module> = self
            .all::<Module>(Kind::Module)
            .await?
            .into_iter()
            .filter(|module| module.name == name)
            .collect();
        Ok(json!({ "total": found.len(), "items": found }))
    }

    /// One version of a module; the latest for `None`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn module(&self, name: &str, version: Option<&str>) -> Result<Value, ServiceError> {
        let found = self.all::<Module>(Kind::Module).await?.into_iter().find(|module| {
            module.name == name && version.map_or(module.is_latest, |version| module.version == version)
        });
        found.map(|module| json!(module)).ok_or_else(|| ServiceError::not_found("module", name))
    }

    /// Removes a module's version, or all of them.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn delete_module(&self, name: &str, version: Option<&str>) -> Result<(), ServiceError> {
        let mut tx = self.begin().await;
        for module in tx.all::<Module>(Kind::Module).await? {
            if module.name == name && version.is_none_or(|version| module.version == version) {
                tx.delete(Kind::Module, &module.key());
            }
        }
        tx.commit().await
    }
}

impl Tx<'_> {
    pub(super) async fn latest_module(&self, name: &str) -> Result<Option<Module>, ServiceError> {
        Ok(self
            .all::<Module>(Kind::Module)
            .await?
            .into_iter()
            .find(|module| module.name == name && module.is_latest))
    }
}
