//! Who shares a file: tokenkeep and real MSAL programs, behind one face.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::layout::MsalLayout;
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::store::Store;
use cache_core::strategy::{MemoryTier, SealPolicy, Strategy};
use cache_keychain::msal_file::{MsalFileConfig, MsalFileStore};
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT,
};
use cache_testkit::msal_program::{Cache, MsalProgram, Setting};
use flows::TokenSource;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::ReqwestClient;
use serde_json::{Value, json};

pub(crate) const SCOPE: &str = "User.Read";
const APP_SCOPE: &str = "api://resource/.default";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Tokenkeep,
    Python,
    Node,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tokenkeep => "tokenkeep",
            Self::Python => "MSAL Python",
            Self::Node => "MSAL Node",
        })
    }
}

/// How a program uses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// One application object for its life, which reads the file when it has changed.
    LongLived,
    /// A new one for each command, which knows nothing but the file, as a command-line tool has.
    PerCommand,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) token: String,
    pub(crate) from_cache: bool,
}

/// One program.
pub(crate) struct Party {
    who: Who,
    usage: Usage,
    kind: Kind,
}

enum Kind {
    Own(Box<Own>),
    Msal(Box<MsalProgram>),
}

struct Own {
    path: PathBuf,
    node_names: bool,
    authority: String,
    http: Arc<ReqwestClient>,
    cache: TokenCache,
}

impl Own {
    async fn open(path: &Path, node_names: bool) -> TokenCache {
        let store = MsalFileStore::open(MsalFileConfig::new(path)).await.unwrap();
        let mut layout = MsalLayout::single_record(store.record());
        if node_names {
            layout = layout.node_names();
        }
        let strategy = Strategy::desktop_tool()
            .memory_tier(MemoryTier::off())
            .seal(SealPolicy::PlaintextAllowed);
        let store: Arc<dyn Store> = Arc::new(store);
        TokenCache::builder(store)
            .strategy(strategy)
            .open_plaintext_shared(Namespace::default(), layout)
            .unwrap()
    }

    fn public(&self) -> PublicClient {
        let authority = Authority::detect(&self.authority).unwrap();
        PublicClient::builder(PUBLIC_CLIENT, authority, self.cache.clone())
            .http(self.http.clone())
            .build()
            .unwrap()
    }

    fn confidential(&self) -> ConfidentialClient {
        let authority = Authority::detect(&self.authority).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, self.cache.clone())
            .http(self.http.clone())
            .build()
            .unwrap()
    }
}

impl Party {
    /// A program for users, or (`is_app`) one that acts for itself.
    pub(crate) async fn start(
        who: Who,
        usage: Usage,
        is_app: bool,
        authority: &FakeAuthority,
        file: &Path,
    ) -> Self {
        let url = authority.authority_url(HOME_TENANT);
        let (client_id, client_secret) = if is_app {
            (CONFIDENTIAL_CLIENT, Some(CONFIDENTIAL_SECRET))
        } else {
            (PUBLIC_CLIENT, None)
        };
        let setting = Setting {
            authority: &url,
            ca_pem: authority.ca_pem().unwrap(),
            client_id,
            client_secret,
            cache: Cache::File(file),
        };
        let kind = match who {
            Who::Python => Kind::Msal(Box::new(MsalProgram::python(&setting).await.unwrap())),
            Who::Node => Kind::Msal(Box::new(MsalProgram::node(&setting).await.unwrap())),
            Who::Tokenkeep => {
                let http = ReqwestClient::builder()
                    .ca_certificates(authority.ca_pem().unwrap())
                    .no_proxy()
                    .build()
                    .unwrap();
                Kind::Own(Box::new(Own {
                    path: file.to_owned(),
                    authority: url,
                    http: Arc::new(http),
                    node_names: false,
                    cache: Own::open(file, false).await,
                }))
            }
        };
        Self { who, usage, kind }
    }

    /// Says that nobody but tokenkeep and Node shares the file.
    pub(crate) async fn share_with_node_alone(&mut self) {
        match &mut self.kind {
            Kind::Own(own) => {
                own.node_names = true;
                own.cache = Own::open(&own.path, true).await;
            }
            Kind::Msal(program) if self.who == Who::Node => {
                program.ask("keepPorts", json!({})).await.unwrap();
            }
            Kind::Msal(_) => {}
        }
    }

    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// Signs Alice in, and gives her home account ID and the access token.
    pub(crate) async fn sign_in(&mut self) -> (String, String) {
        match &mut self.kind {
            Kind::Own(own) => {
                let result = own.public().acquire_token_by_device_code([SCOPE]).await.unwrap();
                let accounts = own.public().accounts().await.unwrap().accounts;
                assert_eq!(accounts.len(), 1);
                let home = accounts[0].account.home_account_id.clone();
                (home, result.access_token().expose().to_owned())
            }
            Kind::Msal(program) => {
                let answer = program.ask("deviceCode", json!({ "scopes": [SCOPE] })).await;
                let answer = answer.unwrap();
                // Node's plugin does not read a file again that it wrote within the same few milliseconds in which it had read it, and
                // then takes the empty file that it had read before the sign-in for its cache.
                program.ask("restart", json!({})).await.unwrap();
                (text(&answer, "homeAccountId"), text(&answer, "accessToken"))
            }
        }
    }

    pub(crate) async fn silent(&mut self, home: &str, force: bool) -> Result<Answer, String> {
        self.begin().await;
        match &mut self.kind {
            Kind::Own(own) => {
                let client = own.public();
                let listing = client.accounts().await.map_err(shown)?;
                let mut accounts = listing.accounts.into_iter();
                let account = accounts
                    .find(|known| known.account.home_account_id == home)
                    .ok_or("the account is not listed")?;
                let silent = client.acquire_token_silent([SCOPE]).account(&account);
                let result = silent.force_refresh(force).await.map_err(shown)?;
                Ok(Answer {
                    token: result.access_token().expose().to_owned(),
                    from_cache: result.metadata().source != TokenSource::Authority,
                })
            }
            Kind::Msal(program) => {
                let arguments = json!({ "scopes": [SCOPE], "homeAccountId": home, "forceRefresh": force });
                answer(program.ask("silent", arguments).await)
            }
        }
    }

    pub(crate) async fn app(&mut self) -> Result<Answer, String> {
        self.begin().await;
        match &mut self.kind {
            Kind::Own(own) => {
                let result = own.confidential().acquire_token_for_client([APP_SCOPE]).await;
                let result = result.map_err(shown)?;
                Ok(Answer {
                    token: result.access_token().expose().to_owned(),
                    from_cache: result.metadata().source != TokenSource::Authority,
                })
            }
            Kind::Msal(program) => answer(program.ask("app", json!({ "scopes": [APP_SCOPE] })).await),
        }
    }

    /// The user names of the accounts that it lists.
    pub(crate) async fn accounts(&mut self) -> Vec<String> {
        self.begin().await;
        match &mut self.kind {
            Kind::Own(own) => {
                let listing = own.public().accounts().await.unwrap();
                assert!(listing.unreadable.is_empty(), "{listing:?}");
                let accounts = listing.accounts.into_iter();
                accounts.map(|known| known.account.username).collect()
            }
            Kind::Msal(program) => {
                let names = program.ask("accounts", json!({})).await.unwrap();
                serde_json::from_value(names).unwrap()
            }
        }
    }

    pub(crate) async fn sign_out(&mut self, home: &str) {
        self.begin().await;
        match &mut self.kind {
            Kind::Own(own) => {
                let client = own.public();
                let accounts = client.accounts().await.unwrap().accounts;
                for account in accounts {
                    assert!(client.remove_account(&account).await.unwrap().found);
                }
            }
            Kind::Msal(program) => {
                let arguments = json!({ "homeAccountId": home });
                program.ask("signOut", arguments).await.unwrap();
            }
        }
    }

    async fn begin(&mut self) {
        if self.usage == Usage::LongLived {
            return;
        }
        match &mut self.kind {
            Kind::Own(own) => own.cache = Own::open(&own.path, own.node_names).await,
            Kind::Msal(program) => {
                program.ask("restart", json!({})).await.unwrap();
            }
        }
    }
}

fn answer(answer: Result<Value, cache_testkit::msal_program::Error>) -> Result<Answer, String> {
    let answer = answer.map_err(shown)?;
    if answer["noAccount"] == true {
        return Err("the account is not listed".into());
    }
    Ok(Answer {
        token: text(&answer, "accessToken"),
        from_cache: answer["fromCache"] == true,
    })
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_default().to_owned()
}

fn shown(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
