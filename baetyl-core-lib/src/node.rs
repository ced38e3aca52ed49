//! The node itself: who it is, its members, and how they fare.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::BoxError;
use crate::spec::{NodeInfo, NodeStats};

/// The node itself: one machine, or the members of a cluster.
#[async_trait]
pub trait Node: Debug + Send + Sync {
    /// What its members are, by name.
    ///
    /// # Errors
    /// When they cannot be asked; the report then keeps what it had.
    async fn info(&self) -> Result<BTreeMap<String, NodeInfo>, NodeError>;

    /// How its members fare, by name.
    ///
    /// # Errors
    /// When they cannot be asked; the report then keeps what it had.
    async fn stats(&self) -> Result<BTreeMap<String, NodeStats>, NodeError>;

    /// The version of the Kubernetes server, or an empty text.
    fn mode_info(&self) -> Value {
        Value::String(String::new())
    }
}

/// The node cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("node cannot be looked at: {what}")]
pub struct NodeError {
    /// What could not be read.
    pub what: String,
    /// What went wrong.
    #[source]
    pub source: BoxError,
}
