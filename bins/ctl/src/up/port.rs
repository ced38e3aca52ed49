//! The port of the first application's page: chosen once for a folder, and kept from other `up`s while this
//! one runs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use crate::error::CtlError;

/// Tried in this order. They lie below the ports that Linux hands out by itself.
const PORTS: std::ops::RangeInclusive<u16> = 8088..=8187;

/// A port that no other `up` of this machine takes as long as this lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: UnixListener,
}

impl Port {
    /// The port of an earlier `up`, or one that nobody listens on.
    pub(crate) fn claim(earlier: Option<u16>) -> Result<Self, CtlError> {
        if let Some(number) = earlier {
            return Self::of(number).ok_or_else(|| {
                CtlError::Failed(format!(
                    "port {number} of this folder's page is used by another `baetylctl up`: stop that one first"
                ))
            });
        }
        PORTS.filter_map(Self::of).find(|port| is_free(port.number)).ok_or_else(|| {
            CtlError::Failed(format!(
                "no port of {} to {} is free for the page: stop what uses one",
                PORTS.start(),
                PORTS.end()
            ))
        })
    }

    /// Between the choice and the moment when the page listens nothing holds the port itself, so a name in
    /// the kernel's own namespace is held instead: it goes with the process, however that ends.
    fn of(number: u16) -> Option<Self> {
        let name = format!("baetylctl-up-page-{number}");
        let claim =
            UnixAddress::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name)).ok()?;
        Some(Self { number, _claim: claim })
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_once_have_different_ports_and_one_that_was_chosen_stays() {
        let first = Port::claim(None).unwrap();
        let second = Port::claim(None).unwrap();
        assert_ne!(first.number, second.number);
        let number = first.number;
        assert!(Port::claim(Some(number)).unwrap_err().to_string().contains(&number.to_string()));
        drop(first);
        assert_eq!(Port::claim(Some(number)).unwrap().number, number);
    }
}
