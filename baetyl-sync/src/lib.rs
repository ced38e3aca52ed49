//! The cloud side of a Baetyl edge node: links to the cloud, the syncer that brings reports out and the
//! desire in, and the sources of resources and objects.
//!
//! This crate imports `baetyl-core-lib` only. It never calls an engine: what it learns goes into the shadow
//! ([`syncer`]), what engines need they ask of [`resource`] and [`object`]. Types of the HTTP client and of
//! the TLS library stay inside.
//!
//! | feature | gains |
//! |---|---|
//! | `http` | the link over HTTP and mutual TLS, identities from files, downloads of objects |
//! | `activate` | first contact: from a batch token to a node certificate |

pub mod cadence;
pub mod resource;
pub mod syncer;

#[cfg(feature = "activate")]
pub mod activate;
#[cfg(feature = "http")]
pub mod identity;
#[cfg(feature = "http")]
pub mod link;
#[cfg(feature = "http")]
pub mod object;
#[cfg(feature = "http")]
mod template;
#[cfg(feature = "http")]
mod tls;
#[cfg(feature = "http")]
mod unpack;
