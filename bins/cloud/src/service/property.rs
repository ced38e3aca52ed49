//! Properties of the cloud: named texts, such as the addresses that nodes are given (cloud.md 1.7).

use baetyl_core_lib::spec::Timestamp;
use serde::{Deserialize, Serialize};

use super::Cloud;
use crate::error::ServiceError;
use crate::store::Kind;

/// The property that says where nodes reach the cloud.
pub(crate) const SYNC_ADDRESS: &str = "sync-server-address";
/// The property that says where nodes are installed from.
pub(crate) const INIT_ADDRESS: &str = "init-server-address";

/// A named text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) create_time: Timestamp,
    pub(crate) update_time: Timestamp,
    /// Whether a person set it, so that a start with other addresses leaves it alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_hand: bool,
}

impl Cloud {
    /// Makes the addresses that this start has known, unless a person set others.
    pub(super) async fn publish_addresses(&self) -> Result<(), ServiceError> {
        for (name, value) in
            [(SYNC_ADDRESS, &self.settings.node_url), (INIT_ADDRESS, &self.settings.init_url)]
        {
            let stored: Option<Property> = self.read(Kind::Property, name).await?;
            if stored.is_none_or(|stored| !stored.by_hand && stored.value != *value) {
                self.write_property(name, value, false).await?;
            }
        }
        Ok(())
    }

    /// Sets a property.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn set_property(&self, name: &str, value: &str) -> Result<serde_json::Value, ServiceError> {
        self.write_property(name, value, true).await?;
        self.property(name).await
    }

    /// A property as it is shown.
    ///
    /// # Errors
    /// `NotFound` when it was never set.
    pub async fn property(&self, name: &str) -> Result<serde_json::Value, ServiceError> {
        let stored: Option<Property> = self.read(Kind::Property, name).await?;
        let property = stored.ok_or_else(|| ServiceError::not_found("property", name))?;
        Ok(serde_json::json!({
            "name": property.name, "value": property.value,
            "createTime": property.create_time, "updateTime": property.update_time,
        }))
    }

    pub(super) async fn sync_address(&self) -> Result<String, ServiceError> {
        let stored: Option<Property> = self.read(Kind::Property, SYNC_ADDRESS).await?;
        Ok(stored.map_or_else(|| self.settings.node_url.clone(), |property| property.value))
    }

    /// The namespace, once somebody made it.
    ///
    /// # Errors
    /// `NotFound` when nobody did.
    pub async fn namespace_view(&self) -> Result<serde_json::Value, ServiceError> {
        let made: Option<serde_json::Value> = self.read(Kind::Meta, "namespace").await?;
        made.ok_or_else(|| ServiceError::not_found("namespace", self.namespace()))
    }

    /// Makes the namespace.
    ///
    /// # Errors
    /// `Invalid` when it is made already.
    pub async fn make_namespace(&self) -> Result<serde_json::Value, ServiceError> {
        let mut tx = self.begin().await;
        if tx.read::<serde_json::Value>(Kind::Meta, "namespace").await?.is_some() {
            return Err(ServiceError::invalid("the namespace is there already"));
        }
        let view = serde_json::json!({ "name": self.namespace() });
        tx.put(Kind::Meta, "namespace", "", &view)?;
        tx.commit().await?;
        Ok(view)
    }

    async fn write_property(&self, name: &str, value: &str, by_hand: bool) -> Result<(), ServiceError> {
        let mut tx = self.begin().await;
        let now = self.now_whole();
        let stored: Option<Property> = tx.read(Kind::Property, name).await?;
        let create_time = stored.map_or(now, |stored| stored.create_time);
        let property = Property {
            name: name.to_owned(),
            value: value.to_owned(),
            create_time,
            update_time: now,
            by_hand,
        };
        tx.put(Kind::Property, name, "", &property)?;
        tx.commit().await
    }
}
