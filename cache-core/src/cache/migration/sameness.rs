//! What a record is to another one with the same name: the same, of the same life, or somebody else's.

use super::journal::Entry;
use crate::cache::Inner;
use crate::cache::record::Loaded;
use crate::schema::{Foreign, Partition, PartitionKey, RefreshToken, environment};
use crate::seal::Incarnation;

/// The incarnation of whatever lies in a document, which counts no lives.
pub(super) const OF_DOCUMENTS: Incarnation = Incarnation([0; 16]);

/// Whether `held` is what `target` gives back of `sent`.
///
/// A document of MSAL programs says some things in other words, under the names that it has for clouds and rows already; and sign-ins that a
/// migration itself named do not count.
pub(super) fn is_same(target: &Inner, held: &Partition, sent: &Partition) -> bool {
    if held == sent {
        return true;
    }
    let kept = target
        .shared
        .as_ref()
        .filter(|shared| shared.has_place_for(&sent.key));
    if let Some(shared) = kept {
        let held = without_names(held);
        return shared
            .as_kept(sent)
            .is_ok_and(|kept| kept.is_some_and(|kept| without_names(&kept) == held));
    }
    // Rows of MSAL programs name no sign-ins; the target does from the moment that it has them.
    if sent.epochs.is_empty() && !held.epochs.is_empty() {
        let without = Partition {
            epochs: Vec::new(),
            ..held.clone()
        };
        return without == *sent;
    }
    false
}

/// The partition without what a document decides: how it names a cloud and its rows, and what it says of applications, which is everybody's.
fn without_names(partition: &Partition) -> Partition {
    fn forget(environment: &mut String, foreign: &mut Option<Box<Foreign>>) {
        *environment = environment::group(environment);
        if let Some(named) = foreign {
            named.item_key = None;
        }
        if foreign.as_deref() == Some(&Foreign::default()) {
            *foreign = None;
        }
    }
    let mut partition = partition.clone();
    partition.app_metadata.clear();
    for row in &mut partition.accounts {
        forget(&mut row.environment, &mut row.foreign);
    }
    for row in &mut partition.id_tokens {
        forget(&mut row.environment, &mut row.foreign);
    }
    for row in &mut partition.access_tokens {
        forget(&mut row.environment, &mut row.foreign);
    }
    for row in &mut partition.refresh_tokens {
        forget(&mut row.environment, &mut row.foreign);
    }
    partition
}

/// Whether MSAL's rows say everything of the partition that anybody would miss.
pub(super) fn is_kept_whole(kept: Option<&Partition>, sent: &Partition) -> bool {
    let Some(kept) = kept else { return sent.is_empty() };
    let missing_refresh = sent.refresh_tokens.iter().any(|row| {
        let same = |other: &&RefreshToken| other.secret == row.secret && other.spending == row.spending;
        !kept.refresh_tokens.iter().any(|other| same(&other))
    });
    let missing_access = sent
        .access_tokens
        .iter()
        .any(|row| !kept.access_tokens.iter().any(|other| other.secret == row.secret));
    let missing_account = sent.accounts.iter().any(|row| {
        !kept
            .accounts
            .iter()
            .any(|other| other.home_account_id == row.home_account_id)
    });
    let missing_sections = sent.residue.keys().any(|name| !kept.residue.contains_key(name));
    let missing_sessions = kept.sessions.len() < sent.sessions.len() || kept.epochs.len() < sent.epochs.len();
    !(missing_refresh || missing_access || missing_account || missing_sections || missing_sessions)
}

/// Whether what the source has now is a later state of what the journal holds, so that the journal's is not needed any more.
pub(super) fn is_same_life(entry: &Entry, found: &Loaded, source_is_named: bool) -> bool {
    let (now, then) = (&found.partition, &entry.partition);
    let incarnation = found.origin().lineage().map(|(incarnation, _)| incarnation);
    let is_same_record = if entry.incarnation == OF_DOCUMENTS {
        // A document counts no lives. Where it is known to be the same document, what is in it is what has become of it, unless no
        // token there can have come of one in the journal.
        source_is_named
            && (then.refresh_tokens.is_empty() || then.refresh_tokens.iter().any(|row| has_lineage(now, row)))
    } else {
        incarnation == Some(entry.incarnation)
    };
    is_same_record
        || now == then
        || match now.key {
            PartitionKey::App { .. } => true,
            PartitionKey::Session { .. } => now.anchor == then.anchor,
            PartitionKey::User { .. } => shares_sign_in(now, then) || shares_token(now, then),
            PartitionKey::Residue => false,
        }
}

/// Whether what the target has is what has become of `sent` there, or makes it worthless.
///
/// The target had nothing when `sent` was put into the journal, so whatever it has is newer. It follows `sent` if it has a sign-in of it; and
/// where each of its refresh tokens has a newer one of its lineage in its place, a sign-in has replaced them, as it would have
/// if they had been there.
pub(super) fn supersedes(held: &Partition, sent: &Partition) -> bool {
    match &sent.key {
        PartitionKey::App { .. } => true,
        PartitionKey::Session { .. } => held.anchor == sent.anchor,
        PartitionKey::Residue => false,
        PartitionKey::User { .. } => {
            let rows = &sent.refresh_tokens;
            shares_sign_in(held, sent) || (!rows.is_empty() && rows.iter().all(|row| has_lineage(held, row)))
        }
    }
}

pub(super) fn shares_sign_in(a: &Partition, b: &Partition) -> bool {
    a.epochs.iter().any(|epoch| b.epochs.contains(epoch))
}

fn has_lineage(partition: &Partition, row: &RefreshToken) -> bool {
    partition
        .refresh_tokens
        .iter()
        .any(|other| other.same_lineage(row))
}

fn shares_token(a: &Partition, b: &Partition) -> bool {
    let in_b = |row: &RefreshToken| b.refresh_tokens.iter().any(|other| other.secret == row.secret);
    a.refresh_tokens.iter().any(in_b)
}
