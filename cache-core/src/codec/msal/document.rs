//! A cache document that MSAL programs read and write too, taken apart into partitions and put together again.
//!
//! The five sections are MSAL's alone: their rows are in the exchange form, with nothing of ours in them. What MSAL has no place
//! for (who is spending a refresh token, what was refused to it, sign-ins, sessions) is in one more member of the document,
//! `TokenKeep`. MSAL Node writes it back as it found it, and so does MSAL .NET by its sources; a program that does not leaves a document
//! without markers, which is what its own rows amount to. It names tokens by their hash, so what it says of a token ends with the
//! token, whoever replaces it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::as_read::AsRead;
use super::codec::{read_state, state};
use super::extension::{decode_bytes, encode, into_refresh_token, of_refresh_token};
use super::naming::{Style, as_written};
use super::{EXTENSION, RowOrigin, cache, from_partitions, into_partitions, malformed};
use crate::codec::CodecError;
use crate::schema::{AppMetadata, AuthorityIdentity, Partition, PartitionKey, RefreshToken, environment};
use crate::secret::{SecretBytes, SecretJson};
use crate::time::UnixSeconds;

/// The member of [`EXTENSION`] that lists partitions.
const PARTITIONS: &str = "partitions";
const REFRESH_TOKENS: &str = "refresh_tokens";
/// Whether the partition had an account. One that had and has none any more was signed out by another program.
const HAD_ACCOUNT: &str = "account";
/// The clients that are known to have no family, which an exchanged row does not say.
const WITHOUT_FAMILY: &str = "without_family";
/// The hashes of those refresh and ID tokens that we wrote. The others came from programs that share the document.
const WRITTEN: &str = "written";

/// A shared cache document. Rows of other partitions, unknown rows, sections and members go through it unchanged.
#[derive(Debug, Default)]
pub(crate) struct Document {
    partitions: BTreeMap<PartitionKey, Partition>,
    read: AsRead,
}

impl Document {
    /// Takes a document apart. `identify` says whose a row is, given the authorities of which the document has more than rows; times that
    /// lie after `now` count as `now`.
    ///
    /// What is known of a token must find its row whoever reads: a marker that is dropped because its authority is not configured here
    /// lets others send the token again.
    pub(crate) fn read(
        bytes: &[u8],
        identify: &dyn Fn(&[AuthorityIdentity], &RowOrigin<'_>) -> AuthorityIdentity,
        now: UnixSeconds,
    ) -> Result<Self, CodecError> {
        let mut file = cache::read(bytes)?;
        file.clamp_future(now);
        let extension = file.residue.remove(EXTENSION);
        let states = extension.as_ref().map(states_of).transpose()?.unwrap_or_default();
        let mut named: Vec<AuthorityIdentity> = Vec::new();
        for authority in states.iter().filter_map(|(said, _)| said.key.authority()) {
            if !named.contains(authority) {
                named.push(authority.clone());
            }
        }
        let mut partitions = into_partitions(file, &|origin| identify(&named, origin))
            .into_iter()
            .map(|partition| (partition.key.clone(), partition))
            .collect();
        let read = AsRead::new(bytes, &mut partitions);
        let mut document = Self { partitions, read };
        let written: Vec<_> = states.iter().flat_map(|(_, entry)| written(entry)).collect();
        for (said, entry) in states {
            document.take_in(said, entry)?;
        }
        document
            .read
            .note_written(written.into_iter(), document.partitions.values());
        Ok(document)
    }

    /// The partition; `None` when the document has nothing of it.
    pub(crate) fn partition(&self, key: &PartitionKey) -> Option<&Partition> {
        self.partitions.get(key)
    }

    /// What of the document belongs to somebody.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.values()
    }

    /// Puts `partition` in the place of the one with its key.
    pub(crate) fn replace(&mut self, mut partition: Partition) {
        let is_first = !self.partitions.contains_key(&partition.key);
        // Partitions have copies of one row. Node fails where one client has two, so that a copy under an alias must not come back.
        for metadata in &mut partition.app_metadata {
            let (client_id, name) = (metadata.client_id.clone(), metadata.environment.clone());
            let is_same =
                |row: &AppMetadata| row.client_id == client_id && environment::same(&row.environment, &name);
            let others = self.partitions.values_mut();
            for other in others.filter(|other| other.key.authority() == partition.key.authority()) {
                if let Some(place) = other.app_metadata.iter().position(is_same) {
                    let known = &other.app_metadata[place];
                    if is_first && metadata.foreign.is_none() {
                        // It was made without a look at this one.
                        let foreign = known.foreign.as_deref();
                        metadata.foreign =
                            foreign.and_then(|row| row.carried_over(super::APP_METADATA_FIELDS));
                        let family = known.family_id.clone().filter(|family| !family.is_empty());
                        metadata.family_id = metadata.family_id.take().or(family);
                    }
                    let mut copy = metadata.clone();
                    if copy.family_id.as_deref() == Some("") {
                        // One user's client was signed out of its family. Others' were not.
                        copy.family_id.clone_from(&known.family_id);
                    }
                    other.app_metadata.retain(|row| !is_same(row));
                    other.app_metadata.insert(place, copy);
                }
            }
        }
        self.partitions.insert(partition.key.clone(), partition);
    }

    /// Takes the partition out; `false` when there was none.
    pub(crate) fn remove(&mut self, key: &PartitionKey) -> bool {
        self.partitions.remove(key).is_some()
    }

    /// Whether there is anything in it but the partition.
    pub(crate) fn has_others_than(&self, key: &PartitionKey) -> bool {
        let mut partitions = self.partitions.values();
        partitions.any(|partition| partition.key != *key && !partition.is_empty())
    }

    /// Whether nothing of anybody is left in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.values().all(Partition::is_empty)
    }

    /// The document as JSON, with rows of our own as `style` says.
    pub(crate) fn write(&self, style: Style) -> SecretBytes {
        let partitions: Vec<_> = self
            .partitions
            .values()
            .map(|partition| as_written(partition, style, &self.read))
            .collect();
        let mut file = from_partitions(&partitions);
        let states: Vec<_> = self
            .partitions
            .values()
            .filter_map(|partition| state_of(partition, &self.read))
            .collect();
        if !states.is_empty() {
            let mut extension = SecretJson::default();
            extension
                .expose_mut()
                .insert(PARTITIONS.to_owned(), Value::Array(states));
            file.residue.insert(EXTENSION.to_owned(), extension);
        }
        cache::write_in_order(&file, &self.read.order)
    }

    /// Notes that the client does not use the token of its family in a partition. A client that has rows there once more, and a family
    /// by them, has signed in by another program since.
    fn take_out_of_family(&mut self, key: &PartitionKey, client_id: &str) {
        let is_of_client = |row: &&AppMetadata| row.client_id == client_id;
        let Some(partition) = self.partitions.get_mut(key) else {
            return;
        };
        if let Some(row) = partition
            .app_metadata
            .iter_mut()
            .find(|row| row.client_id == client_id)
        {
            row.family_id.get_or_insert_default();
            return;
        }
        let mut families = partition.refresh_tokens.iter();
        let Some(family) = families.find(|row| row.family_id.is_some()) else {
            return;
        };
        let environment = family.environment.clone();
        // Its row, which is there for others or for nobody, has the name that a copy must have.
        let others = self.partitions.values();
        let others = others.filter(|other| {
            other
                .key
                .authority()
                .is_none_or(|other| Some(other) == key.authority())
        });
        let mut known = others.flat_map(|other| &other.app_metadata);
        let known = known.find(|row| is_of_client(row) && environment::same(&row.environment, &environment));
        let row = known.cloned().unwrap_or_else(|| AppMetadata {
            client_id: client_id.to_owned(),
            environment,
            family_id: None,
            foreign: None,
        });
        let row = AppMetadata {
            family_id: Some(String::new()),
            ..row
        };
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.app_metadata.push(row);
        }
    }

    fn take_in(&mut self, said: Partition, entry: &Map<String, Value>) -> Result<(), CodecError> {
        let had_account = entry.get(HAD_ACCOUNT).and_then(Value::as_bool) == Some(true);
        let Some(partition) = self.partitions.get_mut(&said.key) else {
            // Sessions alone can be all that is known of a user; but not of one whom another program has signed out.
            if !had_account && said.has_only_sessions() {
                self.replace(said);
            }
            return Ok(());
        };
        if !had_account || !partition.accounts.is_empty() {
            partition.epochs = said.epochs;
            partition.sessions = said.sessions;
            partition.anchor = said.anchor;
        }
        let known = entry.get(REFRESH_TOKENS).and_then(Value::as_object);
        for row in &mut partition.refresh_tokens {
            take_in_spending(row, known)?;
        }
        let without_family = entry.get(WITHOUT_FAMILY).and_then(Value::as_array);
        for client_id in without_family.into_iter().flatten().filter_map(Value::as_str) {
            self.take_out_of_family(&said.key, client_id);
        }
        Ok(())
    }
}

/// What is known of a partition: its parts that are no rows, and the entry with what is said of rows.
type State<'a> = (Partition, &'a Map<String, Value>);

/// What the extension says, by partition.
fn states_of(extension: &SecretJson) -> Result<Vec<State<'_>>, CodecError> {
    let states = match extension.expose().get(PARTITIONS) {
        None => return Ok(Vec::new()),
        Some(states) => states.as_array().ok_or_else(unreadable)?,
    };
    let state = |entry| {
        let entry = Value::as_object(entry)?;
        Some((read_state(entry)?, entry))
    };
    let states = states.iter().map(|entry| state(entry).ok_or_else(unreadable));
    states.collect()
}

/// The tokens that we wrote. What is not understood names none.
fn written(entry: &Map<String, Value>) -> Vec<[u8; 32]> {
    let hashes = entry.get(WRITTEN).and_then(Value::as_array);
    let hash = |value: &Value| decode_bytes(value.as_str()?)?.try_into().ok();
    hashes.into_iter().flatten().filter_map(hash).collect()
}

/// What MSAL's rows cannot say of the partition; `None` where they say everything.
fn state_of(partition: &Partition, read: &AsRead) -> Option<Value> {
    let spending: BTreeMap<_, _> = partition
        .refresh_tokens
        .iter()
        .filter(|row| row.spending.is_some() || !row.refusals.is_empty())
        .map(|row| (encode(&row.secret.sha256()), Value::Object(row_state(row))))
        .collect();
    let without_family: Vec<_> = partition
        .app_metadata
        .iter()
        .filter(|row| row.family_id.as_deref() == Some(""))
        .map(|row| Value::from(row.client_id.as_str()))
        .collect();
    let refresh_tokens = partition.refresh_tokens.iter().map(|row| &row.secret);
    let secrets = refresh_tokens.chain(partition.id_tokens.iter().map(|row| &row.secret));
    let written: Vec<_> = secrets
        .filter(|secret| read.is_own(secret))
        .map(|secret| Value::from(encode(&secret.sha256())))
        .collect();
    if spending.is_empty()
        && written.is_empty()
        && without_family.is_empty()
        && partition.epochs.is_empty()
        && partition.sessions.is_empty()
        && partition.anchor.is_none()
    {
        return None;
    }
    let mut entry = state(partition);
    entry
        .0
        .insert(HAD_ACCOUNT.to_owned(), (!partition.accounts.is_empty()).into());
    entry.object(REFRESH_TOKENS, spending.into_iter().collect());
    if !written.is_empty() {
        entry.0.insert(WRITTEN.to_owned(), Value::Array(written));
    }
    if !without_family.is_empty() {
        entry
            .0
            .insert(WITHOUT_FAMILY.to_owned(), Value::Array(without_family));
    }
    Some(Value::Object(entry.0))
}

fn row_state(row: &RefreshToken) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert(EXTENSION.to_owned(), Value::Object(of_refresh_token(row)));
    fields
}

/// Gives the row what is known of its token, and of no other.
fn take_in_spending(row: &mut RefreshToken, known: Option<&Map<String, Value>>) -> Result<(), CodecError> {
    let hash = row.secret.sha256();
    let is_its = |name: &str| decode_bytes(name).is_some_and(|bytes| bytes == hash);
    let Some((_, fields)) = known.and_then(|known| known.iter().find(|(name, _)| is_its(name))) else {
        return Ok(());
    };
    let fields = fields.as_object().ok_or_else(unreadable)?;
    // Taking an unreadable marker for none could spend the token twice.
    into_refresh_token(fields, row).map_err(|_| unreadable())
}

fn unreadable() -> CodecError {
    malformed(format!("section {EXTENSION} is not what this program writes"))
}
