//! Ports that are likely to be free, also a moment later.

use std::net::{Ipv4Addr, TcpListener};

use cache_core::random::{OsRandom, Random};

use super::Error;

/// A cluster's nodes speak to each other at their port plus this.
pub(super) const BUS_OFFSET: u16 = 10_000;

/// Below what systems give to outgoing connections (from 32,768 on Linux), with the bus port too: nothing takes the
/// port by chance while its server is down.
const FIRST: u16 = 11_000;
const COUNT: u16 = 10_000;

const ATTEMPTS: usize = 1_000;

/// A port that is free, and whose bus port is. Another test may take it before the server does: try again then.
pub(super) fn free() -> Result<u16, Error> {
    for _ in 0..ATTEMPTS {
        let mut bytes = [0; 2];
        OsRandom
            .fill(&mut bytes)
            .map_err(|error| Error::start("random numbers")(error.to_string()))?;
        let port = FIRST + u16::from_ne_bytes(bytes) % COUNT;
        if is_free(port) && is_free(port + BUS_OFFSET) {
            return Ok(port);
        }
    }
    Err(Error::start("a free port")("all that were tried are taken"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
