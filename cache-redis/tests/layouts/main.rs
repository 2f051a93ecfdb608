//! Layouts of MSAL programs, held against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod aspnet_core;
mod conformance;
mod node;
#[path = "../store/server.rs"]
mod server;

use std::net::TcpStream;

use redis::{Connection, ConnectionLike, Value};

use server::Server;

/// Another client of the server: what a program of somebody else writes and finds.
pub(crate) struct Peer(Connection);

impl Peer {
    pub(crate) fn of(server: &Server) -> Self {
        drop(TcpStream::connect(("127.0.0.1", server.port())).unwrap());
        let client = redis::Client::open(server.url()).unwrap();
        Self(client.get_connection().unwrap())
    }

    pub(crate) fn ask(&mut self, arguments: &[&[u8]]) -> Value {
        let mut command = redis::Cmd::new();
        for argument in arguments {
            command.arg(*argument);
        }
        self.0.req_command(&command).unwrap()
    }

    pub(crate) fn number(&mut self, arguments: &[&[u8]]) -> i64 {
        match self.ask(arguments) {
            Value::Int(number) => number,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn text(&mut self, arguments: &[&[u8]]) -> String {
        match self.ask(arguments) {
            Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}
