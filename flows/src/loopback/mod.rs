//! The redirect listener: where the browser brings the answer of a sign-in, on this machine (RFC 8252 section 7.3).
//!
//! Whatever runs on this machine can connect, and any web page can make the browser do so. A request therefore counts
//! only if it names this listener in `Host`, has the method and path that were agreed on, and carries the state of
//! the sign-in, which its owner judges. Every other request is answered with an error page, and waiting goes on.

mod address;
mod arrival;
mod page;
mod server;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::TcpListener;

pub(crate) use address::RedirectAddress;
pub(crate) use page::{Page, Pages};
pub(crate) use server::{Answer, Received};

use crate::error::InteractiveError;
use crate::request::authorization_code::ResponseMode;

/// How often another free port is tried when the chosen one is taken in the other address family.
const ATTEMPTS: usize = 16;

/// A listener that has its port. Dropping it frees the port.
pub(crate) struct RedirectListener {
    sockets: Vec<TcpListener>,
    address: RedirectAddress,
    port: u16,
    mode: ResponseMode,
}

impl RedirectListener {
    /// Takes the port of `address`, or a free one, on 127.0.0.1 and, where there is such an address, on ::1.
    pub(crate) async fn bind(address: RedirectAddress, mode: ResponseMode) -> Result<Self, InteractiveError> {
        let wanted = address.port();
        let (first, second): (IpAddr, IpAddr) = match address.is_ipv6() {
            true => (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()),
            false => (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        };
        // Kept until the end, so that the system does not offer the same port again.
        let mut given_up = Vec::new();
        loop {
            let socket = TcpListener::bind((first, wanted.unwrap_or(0)))
                .await
                .map_err(|source| InteractiveError::listen(wanted, source))?;
            let port = socket
                .local_addr()
                .map_err(|source| InteractiveError::listen(wanted, source))?
                .port();
            let mut sockets = vec![socket];
            match TcpListener::bind((second, port)).await {
                Ok(socket) => sockets.push(socket),
                // A browser may try ::1 first for `localhost`: whoever listens there would be handed the code.
                Err(source) if is_taken(&source) && address.is_name() => {
                    if wanted.is_some() || given_up.len() >= ATTEMPTS {
                        return Err(InteractiveError::listen(Some(port), source));
                    }
                    given_up.append(&mut sockets);
                    continue;
                }
                // No such address family here, or the redirect URI names the address that was taken.
                Err(_) => {}
            }
            return Ok(Self {
                sockets,
                address,
                port,
                mode,
            });
        }
    }

    /// The redirect URI, with the port.
    pub(crate) fn redirect_uri(&self) -> String {
        self.address.uri(self.port)
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests;
