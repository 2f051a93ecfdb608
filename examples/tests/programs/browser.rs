//! As much of a browser as forgeries need: cookies, and nothing that protects its user.

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};

/// An answer, as it came.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        let location = self.headers.get(LOCATION);
        location
            .unwrap_or_else(|| panic!("no redirect: {} {}", self.status, self.body))
            .to_str()
            .unwrap()
    }

    /// The `Set-Cookie` headers whose cookies' names begin so.
    pub(crate) fn set_cookies(&self, prefix: &str) -> Vec<&str> {
        let all = self
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap());
        all.filter(|value| value.starts_with(prefix)).collect()
    }

    pub(crate) fn csrf_token(&self) -> &str {
        let (_, after) = self.body.split_once(r#"name="csrf_token" value=""#).unwrap();
        after.split_once('"').unwrap().0
    }
}

#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    pub(crate) cookies: Vec<(String, String)>,
}

impl Browser {
    /// One that trusts these certificates (PEM) and no others.
    pub(crate) fn trusting(certificates: &str) -> Self {
        let certificates = reqwest::Certificate::from_pem_bundle(certificates.as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            // A request that is refused before its body is read takes its connection with it.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only(certificates)
            .build()
            .unwrap();
        Self {
            http,
            cookies: Vec::new(),
        }
    }

    pub(crate) async fn get(&mut self, url: &str) -> Page {
        let request = self.http.get(url);
        self.send(request).await
    }

    /// Posts a form from a page of `origin`.
    pub(crate) async fn post(&mut self, url: &str, origin: Option<&str>, form: &str) -> Page {
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        self.send(request).await
    }

    /// The cookie whose name begins so.
    pub(crate) fn cookie(&self, prefix: &str) -> Option<&(String, String)> {
        self.cookies.iter().find(|(name, _)| name.starts_with(prefix))
    }

    pub(crate) fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(known, _)| known != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let sent: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let response = request.header("cookie", sent.join("; ")).send().await.unwrap();
        let page = Page {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        };
        for cookie in page.set_cookies("") {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.retain(|(known, _)| known != name);
            } else {
                self.set_cookie(name, value);
            }
        }
        page
    }
}
