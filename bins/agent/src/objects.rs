//! The source of objects of an agent that was given none.

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use baetyl_core_lib::object::{ObjectError, ObjectSource, OnProgress};
use baetyl_core_lib::spec::Configuration;
use baetyl_core_lib::spec::application::ResourceRef;

/// Has no object: applications without any run all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoObjects;

#[async_trait]
impl ObjectSource for NoObjects {
    async fn ensure(&self, config: &Configuration, _: OnProgress) -> Result<PathBuf, ObjectError> {
        let object = config.data.keys().find(|key| key.starts_with(baetyl_core_lib::spec::OBJECT_PREFIX));
        Err(ObjectError::Invalid {
            config: config.name.clone(),
            object: object.cloned().unwrap_or_default(),
            reason: "this agent fetches no objects: its program gives it a source with AgentBuilder::objects"
                .to_owned(),
        })
    }

    async fn retain(&self, _: &BTreeSet<ResourceRef>) -> Result<(), ObjectError> {
        Ok(())
    }
}
