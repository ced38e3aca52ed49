//! Integration tests of the device side.

#[cfg(feature = "pki")]
mod cert;
mod host;
#[cfg(feature = "process")]
mod process;
