//! Regional endpoints, with scripted replies in place of Microsoft's hosts.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_testkit::authority::HOME_TENANT;
use flows::TokenSource;
use flows::authority::{Authority, Region};
use flows::client::{ClientCredential, ConfidentialClient};

use crate::scene::{cache, token};
use crate::support::ScriptedClient;

#[tokio::test(flavor = "multi_thread")]
async fn an_application_asks_in_its_region_and_caches_for_all() {
    let granted = r#"{"access_token":"a","token_type":"Bearer","expires_in":3600}"#;
    let global = "https://login.microsoftonline.com";
    let regional = "https://westus2.login.microsoft.com";
    let service = "http://127.0.0.1:1";
    let imds = "http://127.0.0.1:1/metadata/instance/compute/location?api-version=2020-06-01&format=text";
    for (region, replies, hosts) in [
        (None, vec![(200, granted)], vec![global]),
        (
            Some(Region::named("WestUS2").unwrap()),
            vec![(200, granted)],
            vec![regional],
        ),
        (
            Some(Region::discover_at(service)),
            vec![(200, "westus2\n"), (200, granted), (200, granted)],
            vec![imds, regional, regional],
        ),
        (
            Some(Region::discover_at(service)),
            vec![(404, ""), (200, granted), (200, granted)],
            vec![imds, global, global],
        ),
        (
            Some(Region::discover_at(service)),
            vec![(200, "evil.example/"), (200, granted)],
            vec![imds, global],
        ),
    ] {
        let http = replies
            .into_iter()
            .fold(ScriptedClient::default(), |client, (status, body)| {
                client.reply(status, body)
            });
        let http = Arc::new(http);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let client = |region: Option<Region>, cache: TokenCache, http: &Arc<ScriptedClient>| {
            let authority = Authority::detect(&format!("{global}/{HOME_TENANT}")).unwrap();
            let secret = ClientCredential::secret(Secret::new("s"));
            let builder =
                ConfidentialClient::builder("c", authority, secret, cache).http(Arc::clone(http) as _);
            match region {
                Some(region) => builder.region(region).build().unwrap(),
                None => builder.build().unwrap(),
            }
        };
        let regional_client = client(region, cache(Arc::clone(&store)), &http);
        token(&regional_client, false).await.unwrap();
        if hosts.len() == 3 {
            token(&regional_client, true).await.unwrap();
        }
        let sent = http.sent();
        assert_eq!(sent.len(), hosts.len(), "the region is asked for once");
        for (sent, host) in sent.iter().zip(hosts) {
            assert!(sent.url.starts_with(host), "{} {host}", sent.url);
            assert_eq!(
                host == imds,
                sent.headers.contains(&("metadata".to_owned(), "true".to_owned()))
            );
        }
        // A client without a region finds the same token.
        let elsewhere = Arc::new(ScriptedClient::default());
        let found = token(&client(None, cache(store), &elsewhere), false)
            .await
            .unwrap();
        assert_eq!(found.metadata().source, TokenSource::Store);
        assert!(elsewhere.sent().is_empty());
    }
}
