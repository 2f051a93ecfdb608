//! Sign-ins and imports of which nobody knows whether they were stored: what a further run of their merge may write.

use super::rows::known_family;
use super::{in_known_environment, is_of_its_client, refresh_token_row, sign_in};
use crate::schema::{Partition, SessionAnchor, TokenResponse};
use crate::time::UnixSeconds;

/// What the runs of one merge met.
#[derive(Default)]
pub(crate) struct Met {
    /// Refresh tokens, by hash.
    tokens: Vec<[u8; 32]>,
    /// The clients that were signed in.
    clients: Vec<String>,
    /// The sign-ins of sessions that had the place of this one.
    anchors: Vec<Option<SessionAnchor>>,
}

/// What others did since with what an earlier run stored, or with what was there before; which of the two, nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// Nothing that is known of: the sign-in is to be stored.
    Nothing,
    /// A refresh token of its lineage is there that was not met: it may be on its way to the issuer, or the successor of one that was. To
    /// store the sign-in again would take its marker off, or bring back what is spent.
    GoneOn,
    /// It was ended, or another has its place.
    Over,
}

impl Met {
    /// What others did with the place of a sign-in, of which an earlier run may be stored.
    pub(crate) fn meanwhile(
        &self,
        partition: Option<&Partition>,
        response: &TokenResponse,
        anchor: Option<&SessionAnchor>,
    ) -> Meanwhile {
        // One without rows stands for none.
        let Some(partition) = partition.filter(|rows| !rows.is_empty()) else {
            let met_nothing = self.tokens.is_empty() && self.clients.is_empty() && self.anchors.is_empty();
            return if met_nothing {
                Meanwhile::Nothing
            } else {
                Meanwhile::Over
            };
        };
        if partition.anchor.as_ref() != anchor {
            return if self.anchors.contains(&partition.anchor) {
                Meanwhile::Nothing
            } else {
                Meanwhile::Over
            };
        }
        let found = lineage(partition, response);
        if self.has_signed_out(partition, &response.client_id) || found.is_empty() && !self.tokens.is_empty()
        {
            Meanwhile::Over
        } else if found.iter().any(|token| !self.tokens.contains(token)) {
            Meanwhile::GoneOn
        } else {
            Meanwhile::Nothing
        }
    }

    /// Notes what a run met that stores a sign-in.
    pub(crate) fn note(
        &mut self,
        partition: Option<&Partition>,
        response: &TokenResponse,
        anchor: Option<&SessionAnchor>,
    ) {
        let Some(partition) = partition.filter(|rows| !rows.is_empty()) else {
            return;
        };
        if partition.anchor.as_ref() != anchor {
            self.anchors.push(partition.anchor.clone());
            return;
        }
        self.tokens.extend(lineage(partition, response));
        let epochs = partition.epochs.iter().map(|known| &known.client_id);
        self.clients
            .extend(epochs.filter(|client| **client == response.client_id).cloned());
    }

    /// Notes what the first run of an import met.
    pub(crate) fn note_all(&mut self, partition: &Partition) {
        let rows = partition.refresh_tokens.iter();
        self.tokens.extend(rows.map(|row| row.secret.sha256()));
        let epochs = partition.epochs.iter();
        self.clients.extend(epochs.map(|known| known.client_id.clone()));
    }

    /// Takes from what is imported, of which an earlier run may be stored, what is of clients that were signed out since, and the refresh
    /// tokens in whose place others have come.
    pub(crate) fn drop_outdated(&self, imported: &mut Partition, existing: &Partition) {
        let stays = |client_id: &str| !self.has_signed_out(existing, client_id);
        imported.access_tokens.retain(|row| stays(&row.client_id));
        imported.id_tokens.retain(|row| stays(&row.client_id));
        imported.app_metadata.retain(|row| stays(&row.client_id));
        imported.refresh_tokens.retain(|row| {
            let rows = existing.refresh_tokens.iter();
            stays(&row.client_id)
                && rows
                    .filter(|other| other.same_lineage(row) || is_of_its_client(other, row))
                    .all(|other| other.secret == row.secret || self.tokens.contains(&other.secret.sha256()))
        });
        // An account goes with its last client.
        let has_left = |client: &String| self.has_signed_out(existing, client);
        let has_rows = !imported.access_tokens.is_empty()
            || !imported.id_tokens.is_empty()
            || !imported.refresh_tokens.is_empty();
        if !has_rows && self.clients.iter().any(has_left) {
            imported.accounts.clear();
        }
    }

    fn has_signed_out(&self, partition: &Partition, client_id: &str) -> bool {
        let mut epochs = partition.epochs.iter();
        self.clients.iter().any(|client| client == client_id)
            && epochs.all(|known| known.client_id != client_id)
    }
}

/// The refresh tokens, by hash, of the lineage that [`sign_in`] would replace, and the client's others: a refresh may have moved its token
/// into a family.
fn lineage(partition: &Partition, response: &TokenResponse) -> Vec<[u8; 32]> {
    let response = &in_known_environment(partition, response);
    let Some(row) = refresh_token_row(response) else {
        return Vec::new();
    };
    let rows = partition.refresh_tokens.iter();
    rows.filter(|other| other.same_lineage(&row) || is_of_its_client(other, &row))
        .map(|other| other.secret.sha256())
        .collect()
}

/// Applies a sign-in whose family has gone on without it: all but its refresh token, which is the family's of a moment ago. `false`, and
/// nothing is written, where the client is signed in here, or was signed out, or the family is not here.
pub(crate) fn join_family(
    partition: &mut Partition,
    response: &TokenResponse,
    epoch: [u8; 16],
    now: UnixSeconds,
) -> bool {
    let mut epochs = partition.epochs.iter();
    let is_signed_in = epochs.any(|known| known.client_id == response.client_id);
    let in_environment = in_known_environment(partition, response);
    // A sign-out from a family that others keep says so; an earlier one cannot be told from it, and stands as well.
    let has_left = known_family(partition, &in_environment).as_deref() == Some("");
    let mut rows = partition.refresh_tokens.iter();
    let is_here = response.family_id.is_some() && rows.any(|row| row.family_id == response.family_id);
    if is_signed_in || has_left || !is_here {
        return false;
    }
    let granted = TokenResponse {
        refresh_token: None,
        ..response.clone()
    };
    sign_in(partition, &granted, epoch, now);
    true
}
