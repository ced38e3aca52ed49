//! Which port an instance gets. Pure: whether a port is free is asked of the caller.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// The lowest port of the range that no instance has and that `is_free` lets through.
pub(crate) fn choose(
    range: &RangeInclusive<u16>,
    taken: &BTreeSet<u16>,
    is_free: impl Fn(u16) -> bool,
) -> Option<u16> {
    range.clone().filter(|port| !taken.contains(port)).find(|port| is_free(*port))
}

/// Whether a program could listen on this port now.
pub(crate) fn can_listen(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(taken: &[u16], busy: &[u16], expected: Option<u16>) {
        let taken = taken.iter().copied().collect();
        assert_eq!(choose(&(50200..=50203), &taken, |port| !busy.contains(&port)), expected);
    }

    #[test]
    fn port_is_the_lowest_that_is_neither_given_nor_busy() {
        check(&[], &[], Some(50200));
        check(&[50200], &[], Some(50201));
        check(&[50200], &[50201, 50202], Some(50203));
    }

    #[test]
    fn full_range_gives_no_port() {
        check(&[50200, 50203], &[50201, 50202], None);
    }

    #[test]
    fn port_that_is_listened_on_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!can_listen(listener.local_addr().unwrap().port()));
    }
}
