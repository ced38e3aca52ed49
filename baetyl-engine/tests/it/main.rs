//! Integration tests of the device side.

#[cfg(feature = "pki")]
mod cert;
mod collect;
mod host;
#[cfg(feature = "process")]
mod process;
mod reconcile;
