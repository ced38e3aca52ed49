//! Which application is in which node's desire, kept true by every change.

use baetyl_core_lib::spec::AppSpec;

use super::Tx;
use super::node::NodeRecord;
use crate::desire::NodeDesire;
use crate::error::ServiceError;
use crate::store::Kind;

impl Tx<'_> {
    /// Computes the desire of a node from all applications.
    pub(super) async fn rematch(&mut self, node: &NodeRecord) -> Result<(), ServiceError> {
        let name = &node.spec.name;
        let apps: Vec<AppSpec> = self.all(Kind::App).await?;
        let old: NodeDesire = self.read(Kind::Desire, name).await?.unwrap_or_default();
        let mut desire = old.clone();
        desire.rematch(&apps, &node.spec.labels);
        self.save_desire(name, &old, desire)
    }

    /// Stores a desire and tells the node, if it wants something else than before.
    pub(super) fn save_desire(
        &mut self,
        node: &str,
        old: &NodeDesire,
        mut new: NodeDesire,
    ) -> Result<(), ServiceError> {
        if !old.version.is_empty() && old.wants_as(&new) {
            return Ok(());
        }
        new.version = self.version();
        self.put(Kind::Desire, node, &new.version, &new)?;
        self.tell(node, &new.version);
        Ok(())
    }

    /// Puts an application into or out of the desire of every node.
    pub(super) async fn place(&mut self, app: &AppSpec) -> Result<(), ServiceError> {
        for node in self.all::<NodeRecord>(Kind::Node).await? {
            let name = &node.spec.name;
            let old: NodeDesire = self.read(Kind::Desire, name).await?.unwrap_or_default();
            let mut desire = old.clone();
            desire.place(app, &node.spec.labels);
            self.save_desire(name, &old, desire)?;
        }
        Ok(())
    }

    /// Takes an application out of the desire of every node.
    pub(super) async fn displace(&mut self, app: &str) -> Result<(), ServiceError> {
        for node in self.all::<NodeRecord>(Kind::Node).await? {
            let name = &node.spec.name;
            let old: NodeDesire = self.read(Kind::Desire, name).await?.unwrap_or_default();
            let mut desire = old.clone();
            desire.remove(app);
            self.save_desire(name, &old, desire)?;
        }
        Ok(())
    }
}
