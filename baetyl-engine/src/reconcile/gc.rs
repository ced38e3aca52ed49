//! What may be forgotten once an update is over: all that no desire, no good version and nothing that runs
//! names (design.md 6).

use std::collections::BTreeSet;
use std::sync::Arc;

use baetyl_core_lib::cert::CertIssuer;
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::object::ObjectSource;
use baetyl_core_lib::resource::ResourceSource;
use baetyl_core_lib::spec::application::ResourceRef;
use baetyl_core_lib::spec::{AppInfo, ResourceInfo, ResourceKind};

use super::deploy::common_name;
use super::update::Facts;

/// What must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keep {
    resources: BTreeSet<ResourceInfo>,
    objects: BTreeSet<ResourceRef>,
    certs: BTreeSet<String>,
}

impl Keep {
    /// Begins with the common names of certificates that are the agent's own.
    pub(super) fn new(own_certs: &BTreeSet<String>) -> Self {
        Self { certs: own_certs.clone(), ..Self::default() }
    }

    /// Keeps an application's document.
    pub(super) fn app(&mut self, info: &AppInfo) {
        self.resources.insert(ResourceInfo::new(&ResourceKind::Application, &info.name, &info.version));
    }

    /// Keeps all that a version names.
    pub(super) fn version(&mut self, app: &str, facts: &Facts) {
        self.app(&AppInfo::new(app, &*facts.version));
        let info = |kind, named: &ResourceRef| ResourceInfo::new(&kind, &named.name, &named.version);
        self.resources.extend(facts.configs.iter().map(|named| info(ResourceKind::Configuration, named)));
        self.resources.extend(facts.secrets.iter().map(|named| info(ResourceKind::Secret, named)));
        self.objects.extend(facts.configs.iter().cloned());
        self.certs.extend(facts.services.iter().map(|service| common_name(app, service)));
    }
}

/// Has everything else forgotten. What fails is tried again after the next update.
pub(super) async fn sweep(
    keep: Keep,
    resources: Arc<dyn ResourceSource>,
    objects: Arc<dyn ObjectSource>,
    certs: Option<Arc<dyn CertIssuer>>,
) {
    // Objects before the documents that describe them: a crash in between leaves what can be found again.
    if let Err(error) = objects.retain(&keep.objects).await {
        tracing::warn!(error = %Chain(&error), "objects that nobody names could not be removed");
    }
    if let Err(error) = resources.retain(&keep.resources).await {
        tracing::warn!(error = %Chain(&error), "documents that nobody names could not be removed");
    }
    if let Some(certs) = certs
        && let Err(error) = certs.retain(&keep.certs).await
    {
        tracing::warn!(error = %Chain(&error), "certificates that nobody needs could not be removed");
    }
}
