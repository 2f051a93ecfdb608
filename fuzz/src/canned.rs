//! A network in which every request gets the same reply.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cache_core::secret::SecretBytes;
use flows::Transport;
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use url::Url;

use crate::scene::Scene;

/// The reply, and where requests for it went.
#[derive(Debug)]
pub(crate) struct Canned {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    asked: Mutex<Vec<Url>>,
}

impl Canned {
    /// The first byte is the status; lines up to an empty one are headers, and the rest is the body.
    pub(crate) fn read(data: &[u8]) -> Arc<Self> {
        const STATUSES: [u16; 12] = [200, 201, 302, 307, 400, 401, 403, 408, 429, 500, 503, 100];
        let (&status, rest) = data.split_first().unwrap_or((&0, data));
        let end = rest.windows(2).position(|window| window == b"\n\n");
        let (head, body) = end.map_or((&[][..], rest), |end| (&rest[..end], &rest[end + 2..]));
        let head = String::from_utf8_lossy(head);
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        Arc::new(Self {
            status: STATUSES[usize::from(status) % STATUSES.len()],
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_vec(),
            asked: Mutex::default(),
        })
    }

    /// Where requests went.
    pub(crate) fn asked(&self) -> Vec<Url> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What an application would reach this network through.
    pub(crate) fn transport(self: &Arc<Self>) -> Arc<Transport> {
        let scene = Scene::new();
        let http = Arc::clone(self) as Arc<dyn HttpClient>;
        Arc::new(Transport::new(http, scene.clock(), scene.random))
    }
}

#[async_trait]
impl HttpClient for Canned {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        request.check()?;
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.url);
        Ok(HttpResponse {
            status: self.status,
            headers: self.headers.clone(),
            body: SecretBytes::new(self.body.clone()),
        })
    }
}

/// A reply as [`Canned::read`] takes it.
pub(crate) fn reply(status: u8, headers: &str, body: &str) -> Vec<u8> {
    [&[status], headers.as_bytes(), b"\n\n", body.as_bytes()].concat()
}
