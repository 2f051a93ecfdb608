//! The table `strategy` of a workload file.

use cache_core::strategy::Strategy;
use serde::{Deserialize, Serialize};

use super::chosen::Chosen;

/// The table `strategy`: a preset, and what is chosen otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrategyChoice {
    /// What to start from.
    pub preset: Preset,
    /// How many bytes of decoded partitions each process keeps; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// How many seconds a partition serves before the store is asked whether it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_staleness_seconds: Option<u32>,
    /// Whether callers wait for writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
    /// How an application's tokens are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<Division>,
    /// When tokens are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// How far moments of refresh are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_jitter: Option<f64>,
    /// Among whom requests are merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalescing: Option<Merging>,
    /// How partitions are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Form>,
    /// Whether records are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Sealing>,
}

/// The presets of [`Strategy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// [`Strategy::desktop_tool`].
    DesktopTool,
    /// [`Strategy::web_front_end`].
    WebFrontEnd,
    /// [`Strategy::background_worker`].
    BackgroundWorker,
    /// [`Strategy::high_volume_daemon`].
    HighVolumeDaemon,
}

/// [`WritePolicy`](cache_core::strategy::WritePolicy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Write {
    /// Every write is stored before its caller goes on.
    Through,
    /// Tokens of applications are stored in the background.
    Behind,
}

/// [`Partitioning`](cache_core::strategy::Partitioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// One partition for each tenant.
    ByTenant,
    /// One for each tenant and resource.
    AppByResource,
}

/// [`RefreshPolicy`](cache_core::strategy::RefreshPolicy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refresh {
    /// When a token no longer serves.
    OnDemand,
    /// In the background, before that.
    Ahead,
}

/// [`Coalescing`](cache_core::strategy::Coalescing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merging {
    /// Nobody's.
    None,
    /// The tasks' of a process.
    Process,
    /// Everybody's who shares the store.
    Fleet,
}

/// The codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// [`BincodeCodec`](cache_core::codec::BincodeCodec).
    Bincode,
    /// [`MsalJsonCodec`](cache_core::codec::MsalJsonCodec).
    MsalJson,
}

/// [`SealPolicy`](cache_core::strategy::SealPolicy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sealing {
    /// Records are encrypted.
    Required,
    /// They are not: whoever reads the store reads the tokens.
    Plaintext,
}

impl StrategyChoice {
    /// With every choice made.
    #[must_use]
    pub fn chosen(&self) -> Chosen {
        let preset = Chosen::of(self.preset);
        Chosen {
            preset: self.preset,
            memory_bytes: self.memory_bytes.unwrap_or(preset.memory_bytes),
            max_staleness_seconds: self.max_staleness_seconds.unwrap_or(preset.max_staleness_seconds),
            write: self.write.unwrap_or(preset.write),
            partitioning: self.partitioning.unwrap_or(preset.partitioning),
            refresh: self.refresh.unwrap_or(preset.refresh),
            refresh_jitter: self.refresh_jitter.unwrap_or(preset.refresh_jitter),
            coalescing: self.coalescing.unwrap_or(preset.coalescing),
            codec: self.codec.unwrap_or(preset.codec),
            seal: self.seal.unwrap_or(preset.seal),
        }
    }

    pub(super) fn check(&self, refresh_tokens_rotate: bool) -> Result<(), (&'static str, String)> {
        if refresh_tokens_rotate && self.coalescing == Some(Merging::None) {
            let message = "with an authority that rotates refresh tokens, using one twice signs its user out; choose \"process\" or \
                           \"fleet\", or `rotates = false` if that is true";
            return Err(("strategy.coalescing", message.to_owned()));
        }
        match self.refresh_jitter {
            Some(jitter) if !(0.0..=1.0).contains(&jitter) => Err((
                "strategy.refresh_jitter",
                format!("{jitter} is not within 0 and 1"),
            )),
            _ => Ok(()),
        }
    }
}

impl Preset {
    /// As in a workload file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DesktopTool => "desktop-tool",
            Self::WebFrontEnd => "web-front-end",
            Self::BackgroundWorker => "background-worker",
            Self::HighVolumeDaemon => "high-volume-daemon",
        }
    }

    pub(super) const fn function(self) -> &'static str {
        match self {
            Self::DesktopTool => "desktop_tool",
            Self::WebFrontEnd => "web_front_end",
            Self::BackgroundWorker => "background_worker",
            Self::HighVolumeDaemon => "high_volume_daemon",
        }
    }

    pub(super) fn strategy(self) -> Strategy {
        match self {
            Self::DesktopTool => Strategy::desktop_tool(),
            Self::WebFrontEnd => Strategy::web_front_end(),
            Self::BackgroundWorker => Strategy::background_worker(),
            Self::HighVolumeDaemon => Strategy::high_volume_daemon(),
        }
    }
}
