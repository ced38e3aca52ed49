//! The device side of a Baetyl edge node: what makes the desire run, and says what runs.
//!
//! [`reconcile`] owns the update of every application, from the documents to the last good version; it sees
//! engines only through [`Engine`](baetyl_core_lib::engine::Engine). [`collect`] measures the node. The other
//! modules are engines and what the host offers. Nothing here knows how the cloud is reached.
//!
//! | feature | gains |
//! |---|---|
//! | `process` | applications as programs of the host |
//! | `pki` | the node's own certificate authority |

#[cfg(feature = "pki")]
pub mod cert;
pub mod collect;
pub mod host;
#[cfg(feature = "process")]
pub mod process;
pub mod reconcile;
