//! The way to the cloud and to its objects over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use baetyl_core_lib::identity::Identity;
use baetyl_sync::link::{HttpConfig, LinkConfig, connect};
use baetyl_sync::object::{self, HttpSource, ObjectConfig, Objects};
use baetyl_sync::resource::platform;

use crate::builder::{BuildError, Seams, Way};

/// Makes the link, and the objects that its cloud and other servers have.
pub(crate) fn way(
    link: HttpConfig,
    mut objects: ObjectConfig,
    identity: Arc<dyn Identity>,
    seams: &Seams<'_>,
) -> Result<Way, BuildError> {
    let own = link.address.split(',').map(|address| address.trim().to_owned());
    let source = object::HttpConfig {
        ca: link.ca_pem.clone(),
        insecure_skip_verify: link.insecure_skip_verify,
        own: own.filter(|address| !address.is_empty()).collect(),
    };
    // What placeholders in the cloud's documents stand for (edge.md 5.1).
    let variables = BTreeMap::from([
        ("BAETYL_HOST_PATH_LIB".to_owned(), seams.folder.display().to_string()),
        ("BAETYL_NODE_NAME".to_owned(), seams.name.to_owned()),
        ("BAETYL_NODE_NAMESPACE".to_owned(), seams.namespace.to_owned()),
        ("BAETYL_RUN_MODE".to_owned(), seams.run_mode.to_owned()),
    ]);
    let clock = || Arc::clone(seams.clock);
    let link = connect(LinkConfig::Http(link), Arc::clone(&identity), clock(), variables)
        .map_err(|source| BuildError::Part { what: "link", source: source.into() })?;
    let source = HttpSource::try_new(&source, Some(identity), clock())
        .map_err(|source| BuildError::Part { what: "source of objects", source: source.into() })?;
    objects.platform.get_or_insert_with(platform);
    let objects = Objects::new(
        objects,
        Arc::new(source),
        Arc::clone(seams.disk),
        Arc::clone(seams.pool),
        Arc::clone(seams.store),
        Arc::clone(seams.random),
    );
    Ok((link, Arc::new(objects)))
}
