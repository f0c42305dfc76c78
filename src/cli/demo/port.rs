//! A port for the page: the usual one, or the next that no other program has.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::config::ListenAddress;

/// The port of every example.
const USUAL: u16 = 8099;

/// How many are tried.
const MOST: u16 = 100;

/// A port that is nobody else's until this is dropped, so that two demonstrations that start together do not take the same.
pub(super) struct Reserved {
    address: SocketAddr,
    _listener: Option<TcpListener>,
}

impl Reserved {
    /// The first that is free; if none is, what is in the way of the usual one is logged when it is served there.
    pub(super) fn first() -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let taken = (USUAL..USUAL + MOST).map(at).find_map(|address| {
            let listener = TcpListener::bind(address).ok()?;
            Some((address, listener))
        });
        let (address, listener) = taken.unzip();
        Self {
            address: address.unwrap_or(at(USUAL)),
            _listener: listener,
        }
    }

    /// Where that is.
    pub(super) fn address(&self) -> ListenAddress {
        ListenAddress(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let [first, second] = [Reserved::first(), Reserved::first()];
        assert_ne!(first.address(), second.address());
        assert!(first.address.ip().is_loopback());
        let address = second.address();
        drop(second);
        assert!(TcpListener::bind(address.0).is_ok());
    }
}
