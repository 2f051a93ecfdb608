//! What became of a partition, told from how it was and how it is: pure functions.

use super::event::{AccountName, CacheChange};
use super::snapshot::{AccessRow, Contents, RefreshRow, Rows, Whose};
use crate::seal::RecordKind;
use crate::time::UnixMillis;

/// What is known of how a partition was.
pub(super) enum Before<'a> {
    /// It was not there.
    Nothing,
    /// It was so.
    Seen(&'a Contents),
    /// It may have been there.
    Unknown,
}

/// The changes that lead from `before` to `after`. Where that is not known, only what the rows say of themselves.
///
/// `marks` tells whether a refresh leaves a marker before it sends its token, so that tokens that came without one are a sign-in's.
pub(super) fn changes(
    before: Before<'_>,
    after: &Contents,
    kind: RecordKind,
    marks: bool,
    now: UnixMillis,
) -> Vec<CacheChange> {
    let mut changes = Vec::new();
    let nothing = || Rows::empty(after.rows.whose.clone());
    match before {
        Before::Seen(before) if before.incarnation == after.incarnation => {
            if before.key_id != after.key_id && before.rows == after.rows {
                return vec![CacheChange::Resealed { kind }];
            }
            let step = after.generation.saturating_sub(before.generation);
            let by_refresh = !marks || step > 1;
            let by_refresh = by_refresh || is_being_refreshed(&before.rows, now);
            rows(&before.rows, &after.rows, by_refresh, &mut changes);
        }
        // It was removed and made anew.
        Before::Seen(before) => {
            removed(&before.rows, &mut changes);
            rows(&nothing(), &after.rows, false, &mut changes);
        }
        Before::Nothing => rows(&nothing(), &after.rows, false, &mut changes),
        Before::Unknown if after.generation == 1 => rows(&nothing(), &after.rows, false, &mut changes),
        Before::Unknown => unseen(&after.rows, now, &mut changes),
    }
    if changes.is_empty() {
        changes.push(CacheChange::Committed { kind: Some(kind) });
    }
    changes
}

/// What the removal of a record means.
pub(super) fn removed(before: &Rows, changes: &mut Vec<CacheChange>) {
    match &before.whose {
        Whose::User(account) => {
            let clients: Vec<_> = before.clients.iter().filter(|row| row.has_tokens).collect();
            if !clients.is_empty() {
                changes.push(CacheChange::SignedOut {
                    account: account.clone(),
                    clients: clients.into_iter().map(|row| row.client_id.clone()).collect(),
                });
            }
        }
        Whose::Session {
            client_id, account, ..
        } => changes.push(CacheChange::SessionEnded {
            account: account.clone(),
            client_id: client_id.clone(),
        }),
        Whose::App { .. } | Whose::Residue => {}
    }
}

fn rows(before: &Rows, after: &Rows, by_refresh: bool, changes: &mut Vec<CacheChange>) {
    match &after.whose {
        Whose::User(account) => user(account, before, after, by_refresh, changes),
        Whose::App { .. } => {
            for token in new_tokens(before, after) {
                changes.extend(app_token(&after.whose, token));
            }
        }
        Whose::Session { .. } => session(before, after, by_refresh, changes),
        Whose::Residue => {}
    }
}

fn user(
    account: &AccountName,
    before: &Rows,
    after: &Rows,
    by_refresh: bool,
    changes: &mut Vec<CacheChange>,
) {
    let is_another_sign_in = |client_id: &str| {
        let epoch = |rows: &Rows| rows.client(client_id).and_then(|row| row.epoch);
        let (before, after) = (epoch(before), epoch(after));
        after.is_none() || before.is_some_and(|before| after != Some(before))
    };
    let signed_out: Vec<_> = before
        .clients
        .iter()
        .filter(|row| row.has_tokens && is_another_sign_in(&row.client_id))
        // Without an epoch, before and after, the rows are another program's: only their absence tells.
        .filter(|row| row.epoch.is_some() || after.client(&row.client_id).is_none_or(|row| !row.has_tokens))
        .map(|row| row.client_id.clone())
        .collect();
    if !signed_out.is_empty() {
        // The account's row may have gone with its last client.
        let account = before.account().unwrap_or(account).clone();
        changes.push(CacheChange::SignedOut {
            account,
            clients: signed_out,
        });
    }
    let mut signed_in = Vec::new();
    for client in after
        .clients
        .iter()
        .filter(|row| row.has_tokens && row.epoch.is_some())
    {
        let earlier = before.client(&client.client_id);
        if earlier.is_none_or(|earlier| !earlier.has_tokens || earlier.epoch != client.epoch) {
            signed_in.push(client.client_id.as_str());
            changes.push(CacheChange::SignedIn {
                account: account.clone(),
                client_id: client.client_id.clone(),
                again: false,
            });
        }
    }
    for token in new_tokens(before, after) {
        if signed_in.contains(&token.client_id.as_str()) {
            continue;
        }
        // Only a client that signed in has an epoch; another may be served by its family's token.
        let has_signed_in = after
            .client(&token.client_id)
            .is_some_and(|row| row.epoch.is_some());
        if by_refresh || !has_signed_in {
            changes.push(refreshed(after, token));
        } else {
            signed_in.push(&token.client_id);
            changes.push(CacheChange::SignedIn {
                account: account.clone(),
                client_id: token.client_id.clone(),
                again: true,
            });
        }
    }
    refreshes(before, after, changes);
}

fn session(before: &Rows, after: &Rows, by_refresh: bool, changes: &mut Vec<CacheChange>) {
    let Whose::Session {
        client_id,
        account,
        anchor,
    } = &after.whose
    else {
        return;
    };
    let begun = || CacheChange::SessionBegun {
        account: account.clone(),
        client_id: client_id.clone(),
    };
    if before.clients.is_empty() {
        changes.push(begun());
        return;
    }
    if !matches!(&before.whose, Whose::Session { anchor: earlier, .. } if earlier == anchor) {
        removed(before, changes);
        changes.push(begun());
        return;
    }
    let by_refresh = by_refresh && !after.refresh_tokens.is_empty();
    for token in new_tokens(before, after) {
        changes.push(if by_refresh {
            refreshed(after, token)
        } else {
            CacheChange::SessionTokenStored {
                account: account.clone(),
                client_id: client_id.clone(),
                scopes: token.scopes,
                expires_on: token.expires_on,
            }
        });
    }
    refreshes(before, after, changes);
}

/// What happened to refresh tokens that were not replaced.
fn refreshes(before: &Rows, after: &Rows, changes: &mut Vec<CacheChange>) {
    let has_new_token = new_tokens(before, after).next().is_some();
    for row in &after.refresh_tokens {
        let earlier = before
            .refresh_tokens
            .iter()
            .find(|earlier| earlier.hash == row.hash);
        let account = after.account().cloned();
        let client_id = row.client_id.clone();
        let refusal = row
            .refusal
            .as_ref()
            .filter(|refusal| earlier.and_then(|earlier| earlier.refusal.as_ref()) != Some(refusal));
        if let Some(refusal) = refusal {
            changes.push(CacheChange::RefreshRefused {
                account: account.clone(),
                client_id: client_id.clone(),
                error: refusal.error.clone(),
                suberror: refusal.suberror.clone(),
                token_is_dead: refusal.token_is_dead,
            });
        }
        let earlier_marker = earlier.and_then(|earlier| earlier.marker.as_ref());
        match (earlier_marker, &row.marker) {
            (Some(earlier), Some(marker)) if earlier == marker => {}
            // An attempt that was given up leaves the mark of the one before it, whose outcome is not known.
            (Some(earlier), Some(marker)) if !earlier.outcome_unknown && marker.attempt == [0; 16] => {
                changes.push(CacheChange::RefreshNotSent { account, client_id });
            }
            (_, Some(marker)) if marker.outcome_unknown => {
                changes.push(CacheChange::OutcomeUnknown { account, client_id });
            }
            (_, Some(marker)) => changes.push(CacheChange::RefreshStarted {
                account,
                client_id,
                deadline: marker.deadline,
            }),
            (Some(_), None) if refusal.is_none() && !has_new_token => {
                changes.push(CacheChange::RefreshNotSent { account, client_id });
            }
            (_, None) => {}
        }
    }
}

/// What can be said of rows whose earlier state is not known.
fn unseen(after: &Rows, now: UnixMillis, changes: &mut Vec<CacheChange>) {
    if let Whose::App { .. } = &after.whose {
        let newest = after.access_tokens.iter().max_by_key(|token| token.cached_at);
        changes.extend(newest.and_then(|token| app_token(&after.whose, token)));
        return;
    }
    for row in &after.refresh_tokens {
        // One whose deadline has passed was there long before this change.
        let Some(marker) = row.marker.as_ref().filter(|marker| now < marker.deadline) else {
            continue;
        };
        let account = after.account().cloned();
        let client_id = row.client_id.clone();
        changes.push(if marker.outcome_unknown {
            CacheChange::OutcomeUnknown { account, client_id }
        } else {
            CacheChange::RefreshStarted {
                account,
                client_id,
                deadline: marker.deadline,
            }
        });
    }
}

fn refreshed(after: &Rows, token: &AccessRow) -> CacheChange {
    CacheChange::Refreshed {
        account: after.account().cloned(),
        client_id: token.client_id.clone(),
        scopes: token.scopes,
        expires_on: token.expires_on,
    }
}

fn app_token(whose: &Whose, token: &AccessRow) -> Option<CacheChange> {
    let Whose::App {
        client_id,
        authority,
        tenant,
    } = whose
    else {
        return None;
    };
    Some(CacheChange::AppTokenStored {
        client_id: client_id.clone(),
        authority: authority.clone(),
        tenant: tenant.clone(),
        scopes: token.scopes,
        expires_on: token.expires_on,
    })
}

fn new_tokens<'a>(before: &'a Rows, after: &'a Rows) -> impl Iterator<Item = &'a AccessRow> {
    let is_new = |token: &&AccessRow| before.access_tokens.iter().all(|known| known.hash != token.hash);
    after.access_tokens.iter().filter(is_new)
}

/// Whether somebody may be waiting for the reply to a refresh.
fn is_being_refreshed(rows: &Rows, now: UnixMillis) -> bool {
    let is_sent = |row: &RefreshRow| {
        let marker = row.marker.as_ref();
        marker.is_some_and(|marker| !marker.outcome_unknown && now <= marker.deadline)
    };
    rows.refresh_tokens.iter().any(is_sent)
}
