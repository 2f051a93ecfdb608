//! A bare OAuth client over reqwest: it trusts the authority's certificate and follows no redirect.

use std::time::Duration;

use cache_testkit::authority::FakeAuthority;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Certificate, RequestBuilder, redirect};
use serde_json::Value;

pub(crate) struct TestClient {
    http: reqwest::Client,
    base_url: String,
}

/// An answer that arrived whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl TestClient {
    pub(crate) fn new(authority: &FakeAuthority) -> Self {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(10));
        if let Some(pem) = authority.ca_pem() {
            builder = builder.tls_certs_only([Certificate::from_pem(pem.as_bytes()).unwrap()]);
        }
        Self {
            http: builder.build().unwrap(),
            base_url: authority.base_url().to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.http.get(format!("{}{path}", self.base_url)))
            .await
            .unwrap()
    }

    /// Posts a form as it stands.
    pub(crate) async fn post_page(&self, path: &str, form: String) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base_url));
        send(
            request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form),
        )
        .await
        .unwrap()
    }

    /// Posts to an endpoint of a tenant.
    pub(crate) async fn post(&self, tenant: &str, endpoint: &str, form: &[(&str, &str)]) -> Answer {
        self.try_post(tenant, endpoint, form).await.unwrap()
    }

    pub(crate) async fn try_post(
        &self,
        tenant: &str,
        endpoint: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        send(self.request(tenant, endpoint, form)).await
    }

    pub(crate) async fn token(&self, tenant: &str, form: &[(&str, &str)]) -> Answer {
        self.post(tenant, "token", form).await
    }

    pub(crate) fn request(&self, tenant: &str, endpoint: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.http
            .post(format!("{}/{tenant}/oauth2/v2.0/{endpoint}", self.base_url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        body: response.text().await?,
    })
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a success.
    pub(crate) fn granted(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    /// A text field of a success.
    pub(crate) fn field(&self, name: &str) -> String {
        text(&self.granted(), name)
    }

    /// The error and the AADSTS number of a refusal, which must agree with its text.
    pub(crate) fn refused(&self) -> (String, u64) {
        assert!(self.status >= 400, "{}", self.body);
        let body = self.json();
        let code = body["error_codes"][0].as_u64().unwrap();
        assert!(
            text(&body, "error_description").starts_with(&format!("AADSTS{code}: ")),
            "{body}"
        );
        (text(&body, "error"), code)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_str()
            .unwrap()
    }

    /// The parameters of a redirect.
    pub(crate) fn redirected(&self) -> (url::Url, Vec<(String, String)>) {
        assert_eq!(self.status, 302, "{}", self.body);
        let url = url::Url::parse(self.header("location")).unwrap();
        let parameters = url.query_pairs().into_owned().collect();
        (url, parameters)
    }
}

pub(crate) fn text(body: &Value, name: &str) -> String {
    body[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {body}"))
        .to_owned()
}

/// The value of a parameter.
pub(crate) fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> &'a str {
    let found = parameters.iter().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.as_str())
        .unwrap_or_else(|| panic!("no {name} in {parameters:?}"))
}
