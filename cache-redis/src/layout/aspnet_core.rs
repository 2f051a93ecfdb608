//! ASP.NET Core's distributed cache, which Microsoft.Identity.Web keeps MSAL .NET's cache in.

use std::sync::LazyLock;
use std::time::Duration;

use cache_core::time::UnixMillis;

use crate::error::Failure;
use crate::script::ScriptText;

pub(super) static GET: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("../lua/layout/aspnet_core_get.lua")));
pub(super) static PUT: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("../lua/layout/aspnet_core_put.lua")));

/// 1970-01-01 in ticks: 100 ns since 0001-01-01.
const EPOCH_TICKS: i128 = 621_355_968_000_000_000;
const TICKS_A_MILLISECOND: i128 = 10_000;
const NONE: &str = "-1";

/// `DateTimeOffset.MaxValue` in milliseconds. A .NET program cannot read an entry that ends later.
const LAST_MOMENT: UnixMillis = UnixMillis(253_402_300_799_999);

/// A lifetime that no server needs to be told of, and that a later moment than it can hold might come from.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How `Microsoft.Extensions.Caching.StackExchangeRedis` keeps an entry: the hash `{instance name}{key}` with the fields `absexp` and
/// `sldexp` (ticks, `-1` for none: a moment in UTC, and a duration) and `data`, and the earlier of both as the key's expiry
/// (`RedisCache` of .NET 8 to 10; tests compare with its bytes as its source has them, no .NET program was run).
///
/// Expiries here are those that the .NET program sets in `MsalDistributedTokenCacheAdapterOptions`; a write that brings an expiry of its
/// own has that instead of the absolute one. Whoever reads or writes an entry with a sliding expiry begins it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AspNetCoreLayout {
    instance_name: String,
    absolute: Option<Duration>,
    sliding: Option<Duration>,
}

impl AspNetCoreLayout {
    /// Sets what comes before each key (`RedisCacheOptions.InstanceName`); nothing by default.
    #[must_use]
    pub fn instance_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.instance_name);
        self
    }

    /// Sets how long after each write an entry ends (`AbsoluteExpirationRelativeToNow`); `None`, the default, for never.
    #[must_use]
    pub fn absolute_expiration(mut self, lifetime: Option<Duration>) -> Self {
        self.absolute = lifetime;
        self
    }

    /// Sets how long after each use an entry ends (`SlidingExpiration`); `None`, the default, for never.
    #[must_use]
    pub fn sliding_expiration(mut self, lifetime: Option<Duration>) -> Self {
        self.sliding = lifetime;
        self
    }

    pub(super) fn prefix(&self) -> &str {
        &self.instance_name
    }

    /// Absolute and sliding expiry as the fields have them, and how long the server keeps what is written at `now`.
    pub(super) fn expiry(&self, expires_at: Option<UnixMillis>, now: UnixMillis) -> Vec<String> {
        let usual = || self.absolute.map(|lifetime| now.saturating_add(lifetime));
        let absolute = expires_at.or_else(usual).map(|moment| moment.min(LAST_MOMENT));
        let left = absolute.map(|moment| moment.duration_since(now));
        let stays = [left, self.sliding].into_iter().flatten().min();
        let stays = stays.filter(|stays| *stays <= LONGEST_LIFETIME);
        // A `TimeSpan` is an i64 of ticks.
        let sliding_ticks =
            |sliding: Duration| (sliding.as_nanos() / 100).min(i64::MAX.unsigned_abs().into());
        let sliding = self.sliding.map(|sliding| sliding_ticks(sliding).to_string());
        vec![
            absolute.map_or_else(|| NONE.to_owned(), ticks),
            sliding.unwrap_or_else(|| NONE.to_owned()),
            stays
                .map(|stays| stays.as_millis().to_string())
                .unwrap_or_default(),
        ]
    }
}

/// The moment in ticks.
pub(super) fn ticks(moment: UnixMillis) -> String {
    (EPOCH_TICKS + i128::from(moment.0) * TICKS_A_MILLISECOND).to_string()
}

/// The moment of so many ticks; `None` for never.
pub(super) fn moment(ticks: &str) -> Result<Option<UnixMillis>, Failure> {
    if ticks == NONE {
        return Ok(None);
    }
    let ticks: i64 = ticks.parse().map_err(|_| Failure::foreign())?;
    let millis = (i128::from(ticks) - EPOCH_TICKS).div_euclid(TICKS_A_MILLISECOND);
    let millis = i64::try_from(millis).map_err(|_| Failure::foreign())?;
    Ok(Some(UnixMillis(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_dot_net() {
        // DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_123).UtcTicks
        assert_eq!(ticks(UnixMillis(1_700_000_000_123)), "638355968001230000");
        assert_eq!(
            moment("638355968001239999").unwrap(),
            Some(UnixMillis(1_700_000_000_123))
        );
        assert_eq!(moment("-1").unwrap(), None);
        assert!(moment("soon").is_err());
    }

    #[test]
    fn the_earlier_expiry_is_the_servers() {
        let now = UnixMillis(1_700_000_000_000);
        let layout = AspNetCoreLayout::default()
            .absolute_expiration(Some(Duration::from_secs(60)))
            .sliding_expiration(Some(Duration::from_secs(20)));
        assert_eq!(
            layout.expiry(None, now),
            ["638355968600000000", "200000000", "20000"]
        );
        let soon = now.saturating_add(Duration::from_millis(1));
        assert_eq!(
            layout.expiry(Some(soon), now),
            ["638355968000010000", "200000000", "1"]
        );
        assert_eq!(AspNetCoreLayout::default().expiry(None, now), ["-1", "-1", ""]);
    }
}
