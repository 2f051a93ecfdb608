//! A store that is a place of MSAL programs, and what the Azure CLI's files say of it.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::layout::MsalLayout;
use cache_core::schema::AuthorityKind;
use cache_core::seal::Namespace;
use cache_core::store::StoreKey;
use cache_core::strategy::{SealPolicy, Strategy};

use super::{Missing, Session};
use crate::answer::say;
use crate::azure_cli::{self, AzureCli, Identity};
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::store_address::StoreAddress;
use crate::writing_place::require_writable;

impl Session {
    /// The cache in the place of MSAL programs, and a word that it is not encrypted.
    pub(super) async fn open_shared(&self, missing: Missing) -> Result<TokenCache, Failure> {
        let address = self.store_address()?;
        if address == StoreAddress::AzureCli
            && let Some(client_id) = &self.options.client_id
            && !client_id.eq_ignore_ascii_case(azure_cli::CLIENT_ID)
            && self.service_principal()?.is_none()
        {
            say(&format!(
                "warning: --client-id {} is not the Azure CLI's own ({}); its sign-in serves another application only if that is \
                 one of Microsoft's family of applications",
                one_line(client_id),
                azure_cli::CLIENT_ID
            ));
        }
        let opened = self.opened(missing).await?;
        let record = opened.msal_record().ok_or_else(|| not_for_msal(&address))?;
        say(&format!(
            "warning: {} is not encrypted by this program: whoever can read it can use every token in it",
            one_line(&self.shown_place()?)
        ));
        let strategy = Strategy::desktop_tool()
            .limits(self.time_limits())
            .seal(SealPolicy::PlaintextAllowed);
        let cache = TokenCache::builder(Arc::clone(&opened.store)).strategy(strategy);
        Ok(cache.open_plaintext_shared(Namespace::default(), self.layout(record)?)?)
    }

    /// Reads a place of MSAL programs, and sees whether it can be written, before a user signs in for nothing.
    pub(crate) async fn require_place(&self, cache: &TokenCache) -> Result<(), Failure> {
        match self.store_address()? {
            StoreAddress::MsalFile(path) => require_writable(&path)?,
            StoreAddress::AzureCli => require_writable(&azure_cli::token_cache()?)?,
            StoreAddress::MsalItem(_) => {}
            _ => return Ok(()),
        }
        match cache.accounts().await?.unreadable.into_iter().next() {
            Some((_, error)) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Where MSAL programs keep what. Their rows do not show B2C and External ID, so it is told of them.
    fn layout(&self, record: StoreKey) -> Result<MsalLayout, Failure> {
        let layout = MsalLayout::single_record(record);
        if self.options.authority.is_none() {
            return Ok(layout);
        }
        let authority = self.authority()?;
        Ok(match authority.kind() {
            AuthorityKind::B2c | AuthorityKind::Ciam => layout.authority(authority.identity()),
            _ => layout,
        })
    }

    /// The store as people know it: for the Azure CLI's, its file too.
    pub(crate) fn shown_place(&self) -> Result<String, Failure> {
        let address = self.store_address()?;
        Ok(match self.azure_cli()? {
            Some(cli) => format!("{address} ({})", cli.token_cache().display()),
            None => address.to_string(),
        })
    }

    /// Refuses a place of MSAL programs, for `what` is not kept there.
    pub(crate) fn require_own_store(&self, what: &str) -> Result<(), Failure> {
        let address = self.store_address()?;
        if !address.is_of_msal() {
            return Ok(());
        }
        let message = format!("{address} is a place of MSAL programs, which have {what}");
        Err(Failure::usage(one_line(&message))
            .next("leave --store out, or name a store of this program's own"))
    }

    /// The Azure CLI's files, where its token cache is the store.
    pub(crate) fn azure_cli(&self) -> Result<Option<&AzureCli>, Failure> {
        if self.options.store != Some(StoreAddress::AzureCli) {
            return Ok(None);
        }
        if self.azure_cli.get().is_none() {
            // Nobody else is at it: a session opens its parts one after the other.
            let _ = self.azure_cli.set(AzureCli::read()?);
        }
        Ok(self.azure_cli.get())
    }

    /// The Azure CLI, where a service principal is signed in to it, and neither another client nor a credential is given.
    pub(crate) fn service_principal(&self) -> Result<Option<&AzureCli>, Failure> {
        if self.options.credential.is_given() || self.options.account.is_some() {
            return Ok(None);
        }
        let Some(cli) = self.azure_cli()? else {
            return Ok(None);
        };
        let is_meant = |id: &String| {
            let given = self.options.client_id.as_ref();
            given.is_none_or(|given| given.eq_ignore_ascii_case(id))
        };
        Ok(match cli.sign_in().map(|found| &found.identity) {
            Some(Identity::ServicePrincipal(id)) if is_meant(id) => Some(cli),
            _ => None,
        })
    }

    /// Whose token is meant: `--account`, or the user who is signed in to the Azure CLI, where its token cache is the store.
    pub(crate) fn account(&self) -> Result<Option<&str>, Failure> {
        if let Some(account) = &self.options.account {
            return Ok(Some(account));
        }
        let Some(cli) = self.azure_cli()? else {
            return Ok(None);
        };
        let is_all_the_clis = self.options.authority.is_none() && self.options.client_id.is_none();
        let sign_in = if is_all_the_clis {
            Some(cli.require_sign_in()?)
        } else {
            cli.sign_in()
        };
        Ok(match sign_in.map(|found| &found.identity) {
            Some(Identity::User(name)) => Some(name),
            _ => None,
        })
    }

    /// What to do where a user must sign in: to the Azure CLI, where its token cache is the store.
    pub(crate) fn advised(&self, failure: Failure) -> Failure {
        if failure.exit != Exit::InteractionRequired || self.options.store != Some(StoreAddress::AzureCli) {
            return failure;
        }
        let is_the_clis = self
            .client_id()
            .is_ok_and(|id| id.eq_ignore_ascii_case(azure_cli::CLIENT_ID));
        failure.next(if is_the_clis {
            "sign in with `az login`; `az account set` chooses among its subscriptions, and with them among tenants and accounts"
        } else {
            "sign in with `az login`, and leave --client-id out: its token cache serves the Azure CLI's own client ID, the service \
             principal that is signed in to it, and Microsoft's family of applications"
        })
    }
}

fn not_for_msal(address: &StoreAddress) -> Failure {
    Failure::usage(format!("{address} is not a place of MSAL programs"))
}
