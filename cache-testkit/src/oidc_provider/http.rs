//! As much of an HTTP client as the tests need: plain text, loopback, one request a connection.
//!
//! It speaks HTTP/1.0 so that the end of the connection ends the reply, without chunks.

use std::{fmt, io};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Error;

/// A sign-in takes five redirects; more are a loop.
const MAX_REDIRECTS: usize = 10;

/// A reply of the provider.
#[derive(Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body as JSON, `null` when it is none.
    pub body: Value,
}

impl fmt::Debug for Reply {
    /// Leaves the body out: it holds tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// `fields` in the form of `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let encoded: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    encoded.join("&")
}

pub(super) async fn get(port: u16, path: &str) -> Result<Reply, Error> {
    Ok(exchange(port, "GET", path, "", "").await?.into_reply())
}

pub(super) async fn post(port: u16, path: &str, form: &str) -> Result<Reply, Error> {
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        form.len()
    );
    Ok(exchange(port, "POST", path, &headers, form).await?.into_reply())
}

/// Follows redirects from `url`, with cookies, until one leaves the issuer, and returns that one.
pub(super) async fn browse(port: u16, issuer: &str, url: &str) -> Result<String, Error> {
    let mut location = url.to_owned();
    let mut cookies: Vec<(String, String)> = Vec::new();
    for _ in 0..MAX_REDIRECTS {
        let path = match location.strip_prefix(issuer) {
            Some(path) if path.starts_with('/') => path.to_owned(),
            _ if location.starts_with('/') => location,
            _ => return Ok(location),
        };
        let sent: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookie_header = format!("Cookie: {}\r\n", sent.join("; "));
        let raw = exchange(port, "GET", &path, &cookie_header, "").await?;
        for (name, value) in raw.values("set-cookie").filter_map(cookie) {
            cookies.retain(|(known, _)| *known != name);
            cookies.push((name, value));
        }
        location = match raw.values("location").next() {
            Some(next) => next.to_owned(),
            None => {
                return Err(refused(
                    path,
                    &raw,
                    "it answered with a page instead of a redirect",
                ));
            }
        };
    }
    Err(Error::Refused {
        path: url.to_owned(),
        status: 303,
        reason: "it redirects without end".to_owned(),
    })
}

struct RawReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl RawReply {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self {
            status,
            headers,
            body: body.to_owned(),
        })
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn into_reply(self) -> Reply {
        Reply {
            status: self.status,
            body: serde_json::from_str(&self.body).unwrap_or(Value::Null),
        }
    }
}

async fn exchange(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Result<RawReply, Error> {
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n{headers}\r\n{body}"
    );
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        RawReply::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the reply is not HTTP"))
    };
    talk.await.map_err(|source| Error::Exchange {
        // A query may hold a user code or a state.
        path: without_query(path).to_owned(),
        source: Box::new(source),
    })
}

fn refused(path: String, raw: &RawReply, reason: &str) -> Error {
    Error::Refused {
        path: without_query(&path).to_owned(),
        status: raw.status,
        reason: reason.to_owned(),
    }
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// Name and value of a `Set-Cookie` header; the attributes do not matter on one host for a second.
fn cookie(header: &str) -> Option<(String, String)> {
    let (name, value) = header.split(';').next()?.split_once('=')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
