//! Reading and writing one record.

use std::sync::Arc;
use std::time::Duration;

use cache_core::store::{Durability, PutMode, PutOptions, Record, StoreKey, Version};
use cache_core::time::{Clock, UnixMillis};
use redis::Value;

use crate::connection::{Connection, Request};
use crate::durability::Waiting;
use crate::error::Failure;
use crate::keys::{Bucket, KeySpace, announcement};
use crate::script::{DELETE, FIELDS, PUT, ScriptCall, ScriptText};

/// How much later than its expiry the server removes a record. The injected clock decides what is expired; the server
/// only collects garbage, and must not do so while a client whose clock is behind still counts the record as live.
const REMOVAL_DELAY: Duration = Duration::from_secs(300);

/// A lifetime that no server needs to be told of, and that a later moment than it can hold might come from.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The records of a key prefix.
pub(crate) struct Records {
    pub(crate) connection: Arc<Connection>,
    pub(crate) keys: KeySpace,
    pub(crate) clock: Arc<dyn Clock>,
    /// For durable writes, when they wait for replicas.
    pub(crate) waiting: Option<Waiting>,
}

/// What stands under a key, live or not.
pub(crate) struct StoredVersion {
    version: Version,
    expires_at: Option<UnixMillis>,
}

/// What a script says of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    Conflict,
}

impl Records {
    /// The record's key, and those of its bucket.
    pub(crate) fn script_keys(&self, key: &StoreKey) -> [String; 3] {
        let bucket = Bucket::of(key);
        [
            self.keys.record(key),
            self.keys.index(bucket),
            self.keys.expiries(bucket),
        ]
    }

    pub(crate) async fn stored_version(&self, key: &StoreKey) -> Result<Option<StoredVersion>, Failure> {
        let fields = self.fields(key, &["v", "e"]).await?;
        fields
            .map(|[version, expiry]| StoredVersion::read(version, expiry))
            .transpose()
    }

    pub(crate) async fn record(&self, key: &StoreKey) -> Result<Option<Record>, Failure> {
        let Some([version, expiry, payload]) = self.fields(key, &["v", "e", "d"]).await? else {
            return Ok(None);
        };
        let stored = StoredVersion::read(version, expiry)?;
        let payload = payload.ok_or_else(Failure::foreign)?;
        let expires_at = stored.expires_at;
        Ok(stored.live_at(self.clock.now()).map(|version| Record {
            payload: payload.into(),
            version,
            expires_at,
        }))
    }

    /// Some fields of the record's hash; `None` when there is no record.
    async fn fields<const N: usize>(
        &self,
        key: &StoreKey,
        names: &[&str; N],
    ) -> Result<Option<[Option<Vec<u8>>; N]>, Failure> {
        let (slot, name) = (Bucket::of(key).slot(), self.keys.record(key));
        let mut command = redis::cmd("HMGET");
        command.arg(&name).arg(names);
        let found: [_; N] = fields(self.connection.call(slot, &command).await?)?;
        if found.iter().any(Option::is_some) {
            return Ok(Some(found));
        }
        let mut exists = redis::cmd("EXISTS");
        exists.arg(&name);
        if self.connection.call(slot, &exists).await? == Value::Int(0) {
            return Ok(None);
        }
        // What is there without our fields may have been written since they were asked for. Asked again it may be gone, and so on
        // for ever, while others write and remove it: so both at one moment.
        let names = names.iter().map(|name| name.as_bytes()).collect();
        let call = ScriptCall::new(&FIELDS, [name], names);
        match self.connection.send(slot, Request::Script(&call)).await? {
            Value::Int(0) => Ok(None),
            Value::Int(_) => Err(Failure::foreign()),
            found => fields(found).map(Some),
        }
    }

    pub(crate) async fn put(
        &self,
        key: &StoreKey,
        payload: &[u8],
        version: Version,
        options: PutOptions,
    ) -> Result<Outcome, Failure> {
        let now = self.clock.now();
        let expected: &[u8] = match &options.mode {
            PutMode::Update(version) => version.as_bytes(),
            PutMode::Overwrite | PutMode::Create => b"",
        };
        let mode = match options.mode {
            PutMode::Overwrite => "overwrite",
            PutMode::Create => "create",
            PutMode::Update(_) => "update",
        };
        let lifetime = Lifetime::until(options.expires_at, now);
        let stays = !matches!(lifetime, Lifetime::Over);
        let (now, lifetime) = (now.to_string(), lifetime.argument());
        let expires_at = options
            .expires_at
            .map(|moment| moment.to_string())
            .unwrap_or_default();
        let announcement = announcement(key, stays.then_some(version));
        let arguments = vec![
            mode.as_bytes(),
            expected,
            now.as_bytes(),
            version.as_bytes(),
            payload,
            expires_at.as_bytes(),
            lifetime.as_bytes(),
            key.as_str().as_bytes(),
            self.keys.channel().as_bytes(),
            announcement.as_bytes(),
        ];
        self.write(&PUT, key, arguments, options.durability).await
    }

    pub(crate) async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<Outcome, Failure> {
        let now = self.clock.now().to_string();
        let announcement = announcement(key, None);
        let settle = self.waiting.is_some();
        let arguments = vec![
            expected.as_ref().map_or(&b""[..], |version| version.as_bytes()),
            now.as_bytes(),
            key.as_str().as_bytes(),
            self.keys.channel().as_bytes(),
            announcement.as_bytes(),
            if settle { b"1" } else { b"0" },
        ];
        self.write(&DELETE, key, arguments, Durability::Durable).await
    }

    async fn write(
        &self,
        script: &'static ScriptText,
        key: &StoreKey,
        arguments: Vec<&[u8]>,
        durability: Durability,
    ) -> Result<Outcome, Failure> {
        let call = ScriptCall::new(script, self.script_keys(key), arguments);
        let slot = Bucket::of(key).slot();
        let request = match (&self.waiting, durability) {
            (Some(waiting), Durability::Durable) => Request::Replicated(&call, waiting),
            _ => Request::Script(&call),
        };
        match self.connection.send(slot, request).await? {
            Value::Int(1) => Ok(Outcome::Applied),
            Value::Int(0) => Ok(Outcome::Conflict),
            Value::Int(-1) => Err(Failure::foreign()),
            _ => Err(Failure::unexpected("a script")),
        }
    }
}

impl StoredVersion {
    fn read(version: Option<Vec<u8>>, expiry: Option<Vec<u8>>) -> Result<Self, Failure> {
        let version = version.and_then(|bytes| bytes.try_into().ok());
        let version = Version::from_bytes(version.ok_or_else(Failure::foreign)?);
        let expires_at = match expiry {
            Some(digits) => {
                let moment = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok());
                Some(UnixMillis(moment.ok_or_else(Failure::foreign)?))
            }
            None => None,
        };
        Ok(Self { version, expires_at })
    }

    /// The version, unless the record is expired.
    pub(crate) fn live_at(self, now: UnixMillis) -> Option<Version> {
        let live = self.expires_at.is_none_or(|moment| now < moment);
        live.then_some(self.version)
    }
}

/// How long the server keeps a record.
enum Lifetime {
    Forever,
    Over,
    Millis(u128),
}

impl Lifetime {
    fn until(expires_at: Option<UnixMillis>, now: UnixMillis) -> Self {
        let Some(moment) = expires_at else {
            return Self::Forever;
        };
        if moment <= now {
            return Self::Over;
        }
        // By the distance from the injected clock: the server's own may show another time.
        let left = moment.duration_since(now);
        if left > LONGEST_LIFETIME {
            return Self::Forever;
        }
        Self::Millis((left + REMOVAL_DELAY).as_millis())
    }

    fn argument(&self) -> String {
        match self {
            Self::Forever => String::new(),
            Self::Over => "0".to_owned(),
            Self::Millis(millis) => millis.to_string(),
        }
    }
}

fn fields<const N: usize>(value: Value) -> Result<[Option<Vec<u8>>; N], Failure> {
    let unexpected = || Failure::unexpected("HMGET");
    let Value::Array(values) = value else {
        return Err(unexpected());
    };
    let mut fields = [const { None }; N];
    if values.len() != N {
        return Err(unexpected());
    }
    for (field, value) in fields.iter_mut().zip(values) {
        *field = match value {
            Value::Nil => None,
            Value::BulkString(bytes) => Some(bytes),
            _ => return Err(unexpected()),
        };
    }
    Ok(fields)
}
