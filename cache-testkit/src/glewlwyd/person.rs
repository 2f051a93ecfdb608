//! Somebody who is signed in to the provider: its administrator, or a user's browser.

use serde_json::{Value, json};

use super::Error;

/// A cookie, and whoever it stands for.
pub(super) struct Person {
    http: reqwest::Client,
    base: String,
    cookie: String,
}

impl Person {
    /// Signs in with a password.
    pub(super) async fn sign_in(base: &str, username: &str, password: &str) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::start("an HTTP client")(error.into()))?;
        let mut person = Self {
            http,
            base: base.to_owned(),
            cookie: String::new(),
        };
        let body = json!({ "username": username, "password": password });
        let reply = person
            .send(reqwest::Method::POST, "/api/auth/", Some(&body))
            .await?;
        person.cookie = reply
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .collect::<Vec<_>>()
            .join("; ");
        Ok(person)
    }

    /// Does something that must succeed.
    pub(super) async fn tell(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<(), Error> {
        self.send(method, path, Some(body)).await.map(drop)
    }

    /// Where the provider sends a browser that opens `url`, an address of the provider.
    pub(super) async fn redirected(&self, url: &str) -> Result<String, Error> {
        let path = url.strip_prefix(&self.base).unwrap_or(url);
        let reply = self.send(reqwest::Method::GET, path, None).await?;
        let location = reply.headers().get("location");
        let location = location.and_then(|value| value.to_str().ok());
        location.map(str::to_owned).ok_or_else(|| Error::Refused {
            path: without_query(path).to_owned(),
            status: reply.status().as_u16(),
        })
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::Response, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        // A query may hold a user code or a state.
        let path = without_query(path).to_owned();
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) => {
                return Err(Error::Exchange {
                    path,
                    source: error.without_url().into(),
                });
            }
        };
        let status = reply.status();
        if status.is_success() || status.is_redirection() {
            Ok(reply)
        } else {
            Err(Error::Refused {
                path,
                status: status.as_u16(),
            })
        }
    }
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}
