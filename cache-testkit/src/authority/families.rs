//! Refresh tokens and the families that they descend in.

use std::collections::HashMap;

use super::config::Rotation;
use super::directory::Client;
use super::refusal::Refusal;
use super::statistics::FamilyStatistics;

/// Names a family; access tokens carry it so that revoking a family reaches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FamilyId(usize);

impl FamilyId {
    /// As access tokens carry it, in the claim `sid`.
    pub(super) fn claim(self) -> u64 {
        self.0 as u64
    }

    pub(super) fn from_claim(claim: u64) -> Option<Self> {
        usize::try_from(claim).ok().map(Self)
    }
}

/// Every family and every refresh token ever issued. Spent tokens stay known, or reuse could not be told
/// from nonsense.
#[derive(Default)]
pub(super) struct Families {
    families: Vec<Family>,
    tokens: HashMap<String, RefreshToken>,
}

/// What all tokens of one sign-in have in common.
#[derive(Clone)]
struct Family {
    username: String,
    client_id: String,
    /// The family of client IDs (FOCI), a different thing in spite of the name.
    client_family: Option<String>,
    scopes: Vec<String>,
    refreshes: u64,
    reuses: u64,
    revoked: bool,
    /// The thumbprint of the key that the family's refresh tokens are bound to.
    key: Option<String>,
}

struct RefreshToken {
    family: FamilyId,
    expires_at: u64,
    spent: bool,
}

/// What a refresh token entitles its bearer to.
pub(super) struct Entitlement {
    pub(super) family: FamilyId,
    pub(super) username: String,
    pub(super) scopes: Vec<String>,
}

impl Families {
    /// A family for a new sign-in.
    pub(super) fn begin(&mut self, username: &str, client: &Client, scopes: &[String]) -> FamilyId {
        self.families.push(Family {
            username: username.to_owned(),
            client_id: client.client_id.clone(),
            client_family: client.family.clone(),
            scopes: scopes.to_vec(),
            refreshes: 0,
            reuses: 0,
            revoked: false,
            key: None,
        });
        FamilyId(self.families.len() - 1)
    }

    /// Records a new token of a family.
    pub(super) fn add(&mut self, family: FamilyId, token: String, expires_at: u64) {
        self.tokens.insert(
            token,
            RefreshToken {
                family,
                expires_at,
                spent: false,
            },
        );
    }

    /// Checks that `client` may use a token now. A reuse under strict rotation revokes the family.
    ///
    /// A client that may not use the token leaves it untouched, so that a probe with a stolen token by the
    /// wrong client cannot revoke a family.
    pub(super) fn examine(
        &mut self,
        token: &str,
        client: &Client,
        rotation: Rotation,
        now: u64,
    ) -> Result<Entitlement, Refusal> {
        let unknown =
            || Refusal::invalid_grant(9_002_313, "Invalid request. Request is malformed or invalid.");
        let row = self.tokens.get_mut(token).ok_or_else(unknown)?;
        let id = row.family;
        let family = self.families.get_mut(id.0).ok_or_else(unknown)?;

        let shares = family.client_family.is_some() && family.client_family == client.family;
        if family.client_id != client.client_id && !shares {
            let text =
                "The refresh token was issued to another client, with which this one shares no family.";
            return Err(Refusal::invalid_grant(70_000, text).suberror("client_mismatch"));
        }
        if row.spent && rotation == Rotation::Strict {
            family.reuses += 1;
            family.revoked = true;
        }
        if family.revoked {
            let text =
                "The provided grant has expired due to it being revoked, a fresh auth token is needed.";
            return Err(Refusal::invalid_grant(50_173, text).suberror("bad_token"));
        }
        if row.expires_at <= now {
            let text = "The refresh token has expired due to inactivity.";
            return Err(Refusal::invalid_grant(700_082, text).suberror("bad_token"));
        }
        Ok(Entitlement {
            family: id,
            username: family.username.clone(),
            scopes: family.scopes.clone(),
        })
    }

    /// Marks a token used, once nothing can go wrong any more.
    pub(super) fn spend(&mut self, token: &str) {
        let Some(row) = self.tokens.get_mut(token) else {
            return;
        };
        row.spent = true;
        if let Some(family) = self.families.get_mut(row.family.0) {
            family.refreshes += 1;
        }
    }

    /// The key that a token is bound to.
    pub(super) fn key_of(&self, token: &str) -> Option<String> {
        let row = self.tokens.get(token)?;
        self.families.get(row.family.0)?.key.clone()
    }

    /// Binds a token's family to a key.
    pub(super) fn bind(&mut self, token: &str, key: &str) {
        let family = self.tokens.get(token).map(|row| row.family.0);
        if let Some(family) = family.and_then(|family| self.families.get_mut(family)) {
            family.key = Some(key.to_owned());
        }
    }

    /// Revokes one family.
    pub(super) fn revoke(&mut self, family: FamilyId) {
        if let Some(family) = self.families.get_mut(family.0) {
            family.revoked = true;
        }
    }

    /// Revokes the family of a token, for the client that it was issued to or one that shares it.
    pub(super) fn revoke_token(&mut self, token: &str, client: &Client) -> Result<(), Refusal> {
        let Some(row) = self.tokens.get(token) else {
            return Ok(());
        };
        let Some(family) = self.families.get_mut(row.family.0) else {
            return Ok(());
        };
        let shares = family.client_family.is_some() && family.client_family == client.family;
        if family.client_id != client.client_id && !shares {
            return Err(Refusal::invalid_grant(
                70_000,
                "The refresh token was issued to another client.",
            ));
        }
        family.revoked = true;
        Ok(())
    }

    /// Revokes every family of a user, as an administrator does.
    pub(super) fn revoke_user(&mut self, username: &str) {
        for family in self
            .families
            .iter_mut()
            .filter(|family| family.username == username)
        {
            family.revoked = true;
        }
    }

    pub(super) fn is_revoked(&self, family: FamilyId) -> bool {
        self.families.get(family.0).is_none_or(|family| family.revoked)
    }

    pub(super) fn statistics(&self) -> Vec<FamilyStatistics> {
        self.families
            .iter()
            .map(|family| FamilyStatistics {
                username: family.username.clone(),
                client_id: family.client_id.clone(),
                refreshes: family.refreshes,
                reuses: family.reuses,
                revoked: family.revoked,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family_with_token(families: &mut Families, client: &Client) -> FamilyId {
        let id = families.begin("alice", client, &[]);
        families.add(id, "first".to_owned(), 100);
        id
    }

    fn use_token(
        families: &mut Families,
        token: &str,
        client: &Client,
        rotation: Rotation,
        now: u64,
    ) -> Result<(), Refusal> {
        families.examine(token, client, rotation, now)?;
        families.spend(token);
        Ok(())
    }

    #[test]
    fn a_reuse_under_strict_rotation_revokes_the_newest_token_too() {
        let (mut families, client) = (Families::default(), Client::public("c"));
        let id = family_with_token(&mut families, &client);
        use_token(&mut families, "first", &client, Rotation::Strict, 1).unwrap();
        families.add(id, "second".to_owned(), 100);
        assert!(use_token(&mut families, "first", &client, Rotation::Strict, 2).is_err());
        assert!(use_token(&mut families, "second", &client, Rotation::Strict, 3).is_err());
        assert_eq!(families.statistics()[0].reuses, 1);
        assert!(families.is_revoked(id));
    }

    #[test]
    fn an_old_token_stays_usable_at_entra_until_it_expires() {
        let (mut families, client) = (Families::default(), Client::public("c"));
        family_with_token(&mut families, &client);
        assert!(use_token(&mut families, "first", &client, Rotation::EntraLike, 1).is_ok());
        assert!(use_token(&mut families, "first", &client, Rotation::EntraLike, 99).is_ok());
        assert_eq!(
            use_token(&mut families, "first", &client, Rotation::EntraLike, 100)
                .unwrap_err()
                .code,
            700_082
        );
    }

    #[test]
    fn another_client_needs_the_same_family_and_does_no_harm() {
        let (mut families, client) = (Families::default(), Client::public("c").family("1"));
        family_with_token(&mut families, &client);
        let stranger = Client::public("d");
        let refused = use_token(&mut families, "first", &stranger, Rotation::Strict, 1).unwrap_err();
        assert_eq!(refused.suberror.as_deref(), Some("client_mismatch"));
        assert!(use_token(&mut families, "first", &stranger.family("1"), Rotation::Strict, 1).is_ok());
    }
}
