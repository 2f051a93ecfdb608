//! Wires between the servers of a cluster, which can be cut.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::port::BUS_OFFSET;
use super::{Error, RedisServer, RedisServerBuilder};
use crate::proxy::Proxy;

/// Proxies in front of the servers of a cluster. Who connects is known by the address that it connects from (a server) or to
/// (a client).
#[derive(Default)]
pub(super) struct Network {
    wires: Vec<Wires>,
    cut_off: Option<usize>,
}

/// The ways to one server.
struct Wires {
    /// For the other servers, which copy it, and for most clients.
    service: Proxy,
    /// For what the servers tell each other.
    bus: Proxy,
    /// For clients that are on the side of the server that is cut off.
    beside: Proxy,
}

impl Network {
    /// The host by whose name clients on the side of the server that is cut off call all servers.
    pub(super) const HOST_BESIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    /// What the next server must be told.
    pub(super) fn join(&self, server: RedisServerBuilder) -> RedisServerBuilder {
        server
            .directive("bind-source-addr", &source(self.wires.len()).to_string())
            .directive("cluster-announce-ip", "127.0.0.1")
            // Clients take the host by which they called who names another server.
            .directive("cluster-preferred-endpoint-type", "unknown-endpoint")
    }

    /// Puts proxies in front of the server that joined, and has it announce them.
    pub(super) async fn wire(&mut self, server: &RedisServer) -> Result<(), Error> {
        let address = server.address();
        let bus = SocketAddr::new(address.ip(), address.port() + BUS_OFFSET);
        let failed = Error::start::<std::io::Error>;
        let service = Proxy::start(address).await.map_err(failed("a proxy"))?;
        let port = service.address().port();
        let beside = Proxy::start_at((Self::HOST_BESIDE, port).into(), address).await;
        let wires = Wires {
            service,
            bus: Proxy::start(bus).await.map_err(failed("a proxy"))?,
            beside: beside.map_err(failed("a proxy at 127.0.0.2"))?,
        };
        let bus_port = wires.bus.address().port();
        let announced = [
            ["cluster-announce-port", &port.to_string()],
            ["cluster-announce-bus-port", &bus_port.to_string()],
        ];
        for [name, value] in announced {
            server.command(&["CONFIG", "SET", name, value]).await?;
        }
        self.wires.push(wires);
        Ok(())
    }

    /// Where clients and the others find a server.
    pub(super) fn port(&self, index: usize) -> u16 {
        self.wires[index].service.address().port()
    }

    pub(super) fn bus_port(&self, index: usize) -> u16 {
        self.wires[index].bus.address().port()
    }

    pub(super) fn who_is_cut_off(&self) -> Option<usize> {
        self.cut_off
    }

    pub(super) fn cut_off(&mut self, server: usize) {
        self.cut_off = Some(server);
        for (index, wires) in self.wires.iter().enumerate() {
            if index == server {
                wires.service.pause();
                wires.bus.pause();
            } else {
                wires.service.pause_from(source(server));
                wires.bus.pause_from(source(server));
                wires.beside.pause();
            }
        }
    }

    pub(super) fn rejoin(&mut self) {
        self.cut_off = None;
        for Wires { service, bus, beside } in &self.wires {
            [service, bus, beside].into_iter().for_each(Proxy::resume);
        }
    }
}

/// The address that a server connects from.
fn source(index: usize) -> IpAddr {
    let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, 1, number).into()
}
