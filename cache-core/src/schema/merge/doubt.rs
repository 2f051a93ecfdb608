//! Sign-ins and imports of which nobody knows whether they were stored: what a further run of their merge may write.

use super::rows::known_family;
use super::{in_known_environment, is_of_its_client, refresh_token_row, sign_in};
use crate::schema::{Partition, SessionAnchor, TokenResponse};
use crate::time::UnixSeconds;

/// What the runs of one merge met, and replaced.
#[derive(Default)]
pub(crate) struct Met {
    /// Refresh tokens, by hash.
    tokens: Vec<[u8; 32]>,
    /// The sign-ins of sessions that had the place of this one.
    anchors: Vec<Option<SessionAnchor>>,
}

impl Met {
    /// Whether others did something with the partition since: with what an earlier run stored there, or with what was there before. A
    /// refresh token of it may be on its way to the issuer, or spent. To store the sign-in again would take the marker off, or bring back
    /// what is spent.
    pub(crate) fn has_gone_on(
        &self,
        partition: Option<&Partition>,
        response: &TokenResponse,
        anchor: Option<&SessionAnchor>,
    ) -> bool {
        let Some(partition) = partition else {
            return !self.tokens.is_empty();
        };
        if partition.anchor.as_ref() != anchor {
            return !self.anchors.contains(&partition.anchor);
        }
        let found = lineage(partition, response);
        if found.is_empty() {
            !self.tokens.is_empty()
        } else {
            found.iter().any(|token| !self.tokens.contains(token))
        }
    }

    /// Notes what a run met.
    pub(crate) fn note(
        &mut self,
        partition: Option<&Partition>,
        response: &TokenResponse,
        anchor: Option<&SessionAnchor>,
    ) {
        let Some(partition) = partition else { return };
        if partition.anchor.as_ref() == anchor {
            self.tokens.extend(lineage(partition, response));
        } else {
            self.anchors.push(partition.anchor.clone());
        }
    }

    /// As [`note`](Self::note), of all refresh tokens.
    pub(crate) fn note_all(&mut self, partition: &Partition) {
        let rows = partition.refresh_tokens.iter();
        self.tokens.extend(rows.map(|row| row.secret.sha256()));
    }

    /// Takes from what is imported the refresh tokens whose lineage has gone on since with another one.
    pub(crate) fn drop_outdated(&self, imported: &mut Partition, existing: &Partition) {
        imported.refresh_tokens.retain(|row| {
            let rows = existing.refresh_tokens.iter();
            rows.filter(|other| other.same_lineage(row))
                .all(|other| other.secret == row.secret || self.tokens.contains(&other.secret.sha256()))
        });
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
    // Only a sign-out that stored this tells that the client has left; an older one cannot be told from it, and stands as well.
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
