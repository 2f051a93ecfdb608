//! A strategy with every choice made, and the line of Rust that makes it.

use std::sync::Arc;
use std::time::Duration;

use cache_core::codec::{BincodeCodec, MsalJsonCodec};
use cache_core::strategy::{
    Coalescing, MemoryTier, Partitioning, RefreshPolicy, SealPolicy, Strategy, WritePolicy,
};
use serde::{Deserialize, Serialize};

use super::strategy::{Division, Form, Merging, Preset, Refresh, Sealing, Write};

/// A strategy with every choice made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// What it starts from.
    pub preset: Preset,
    /// Bytes of decoded partitions in each process; 0 for none.
    pub memory_bytes: u64,
    /// Seconds that a partition serves before the store is asked.
    pub max_staleness_seconds: u32,
    /// Whether callers wait for writes.
    pub write: Write,
    /// How an application's tokens are divided.
    pub partitioning: Division,
    /// When tokens are replaced.
    pub refresh: Refresh,
    /// How far moments of refresh are spread.
    pub refresh_jitter: f64,
    /// Among whom requests are merged.
    pub coalescing: Merging,
    /// How partitions are written.
    pub codec: Form,
    /// Whether records are encrypted.
    pub seal: Sealing,
}

impl Chosen {
    /// As a preset has it.
    #[must_use]
    pub const fn of(preset: Preset) -> Self {
        let desktop = Self {
            preset,
            memory_bytes: 8 << 20,
            max_staleness_seconds: 30,
            write: Write::Through,
            partitioning: Division::ByTenant,
            refresh: Refresh::OnDemand,
            refresh_jitter: 0.25,
            coalescing: Merging::Fleet,
            codec: Form::Bincode,
            seal: Sealing::Required,
        };
        match preset {
            Preset::DesktopTool => desktop,
            Preset::WebFrontEnd => Self {
                memory_bytes: 64 << 20,
                refresh: Refresh::Ahead,
                ..desktop
            },
            Preset::BackgroundWorker => Self {
                memory_bytes: 32 << 20,
                max_staleness_seconds: 60,
                refresh: Refresh::Ahead,
                ..desktop
            },
            Preset::HighVolumeDaemon => Self {
                memory_bytes: 256 << 20,
                max_staleness_seconds: 60,
                refresh: Refresh::Ahead,
                write: Write::Behind,
                partitioning: Division::AppByResource,
                ..desktop
            },
        }
    }

    /// The strategy.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        let memory = if self.memory_bytes == 0 {
            MemoryTier::off()
        } else {
            let staleness = Duration::from_secs(self.max_staleness_seconds.into());
            MemoryTier::bounded(self.memory_bytes).max_staleness(staleness)
        };
        let strategy = self
            .preset
            .strategy()
            .memory_tier(memory)
            .write_policy(match self.write {
                Write::Through => WritePolicy::Through,
                Write::Behind => WritePolicy::behind(),
            })
            .partitioning(match self.partitioning {
                Division::ByTenant => Partitioning::ByTenant,
                Division::AppByResource => Partitioning::AppByResource,
            })
            .refresh(match self.refresh {
                Refresh::OnDemand => RefreshPolicy::OnDemand,
                Refresh::Ahead => RefreshPolicy::Ahead {
                    jitter: self.refresh_jitter,
                },
            })
            .coalescing(match self.coalescing {
                Merging::None => Coalescing::None,
                Merging::Process => Coalescing::Process,
                Merging::Fleet => Coalescing::Fleet,
            })
            .seal(match self.seal {
                Sealing::Required => SealPolicy::Required,
                Sealing::Plaintext => SealPolicy::PlaintextAllowed,
            });
        match self.codec {
            Form::Bincode => strategy.codec(Arc::new(BincodeCodec)),
            Form::MsalJson => strategy.codec(Arc::new(MsalJsonCodec)),
        }
    }

    /// The expression that makes it: the preset, and what differs.
    #[must_use]
    pub fn expression(&self) -> String {
        let preset = Self::of(self.preset);
        let mut text = format!("Strategy::{}()", self.preset.function());
        let mut add = |differs: bool, call: String| {
            if differs {
                text.push_str("\n    .");
                text.push_str(&call);
            }
        };
        let memory = if self.memory_bytes == 0 {
            "memory_tier(MemoryTier::off())".to_owned()
        } else {
            format!(
                "memory_tier(MemoryTier::bounded({}).max_staleness(Duration::from_secs({})))",
                byte_expression(self.memory_bytes),
                self.max_staleness_seconds
            )
        };
        let same_memory = self.memory_bytes == preset.memory_bytes
            && (self.max_staleness_seconds == preset.max_staleness_seconds || self.memory_bytes == 0);
        add(!same_memory, memory);
        let write = match self.write {
            Write::Through => "write_policy(WritePolicy::Through)",
            Write::Behind => "write_policy(WritePolicy::behind())",
        };
        add(self.write != preset.write, write.to_owned());
        let partitioning = match self.partitioning {
            Division::ByTenant => "partitioning(Partitioning::ByTenant)",
            Division::AppByResource => "partitioning(Partitioning::AppByResource)",
        };
        add(self.partitioning != preset.partitioning, partitioning.to_owned());
        let same_refresh = self.refresh == preset.refresh
            && (self.refresh == Refresh::OnDemand || self.refresh_jitter == preset.refresh_jitter);
        let refresh = match self.refresh {
            Refresh::OnDemand => "refresh(RefreshPolicy::OnDemand)".to_owned(),
            Refresh::Ahead if self.refresh_jitter == preset.refresh_jitter => {
                "refresh(RefreshPolicy::ahead())".to_owned()
            }
            Refresh::Ahead => format!(
                "refresh(RefreshPolicy::Ahead {{ jitter: {:?} }})",
                self.refresh_jitter
            ),
        };
        add(!same_refresh, refresh);
        let coalescing = match self.coalescing {
            Merging::None => "None",
            Merging::Process => "Process",
            Merging::Fleet => "Fleet",
        };
        add(
            self.coalescing != preset.coalescing,
            format!("coalescing(Coalescing::{coalescing})"),
        );
        add(
            self.codec != preset.codec,
            "codec(Arc::new(MsalJsonCodec))".to_owned(),
        );
        add(
            self.seal != preset.seal,
            "seal(SealPolicy::PlaintextAllowed)".to_owned(),
        );
        text
    }

    /// What it is, in a few words for people.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            self.memory_words(),
            match self.refresh {
                Refresh::OnDemand => "refresh on demand",
                Refresh::Ahead => "refresh ahead",
            }
            .to_owned(),
            match self.write {
                Write::Through => "write through",
                Write::Behind => "write behind",
            }
            .to_owned(),
            match self.partitioning {
                Division::ByTenant => "partitions by tenant",
                Division::AppByResource => "partitions by resource",
            }
            .to_owned(),
        ];
        match self.coalescing {
            Merging::None => words.push("nothing merged".to_owned()),
            Merging::Process => words.push("merged in each process".to_owned()),
            Merging::Fleet => words.push("merged in the fleet".to_owned()),
        }
        match self.codec {
            Form::Bincode => words.push("bincode".to_owned()),
            Form::MsalJson => words.push("MSAL JSON".to_owned()),
        }
        match self.seal {
            Sealing::Required => words.push("sealed".to_owned()),
            Sealing::Plaintext => words.push("plaintext".to_owned()),
        }
        words
    }

    fn memory_words(&self) -> String {
        match (self.memory_bytes, self.max_staleness_seconds) {
            (0, _) => "no memory tier".to_owned(),
            (bytes, 0) => format!("{} of memory checked each time", mebibytes(bytes)),
            (bytes, seconds) => format!("{} of memory trusted for {seconds} s", mebibytes(bytes)),
        }
    }

    /// In what it differs from `other`, in a few words; empty when it does not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.words(), other.words());
        ours.into_iter()
            .zip(theirs)
            .filter(|(ours, theirs)| ours != theirs)
            .map(|(ours, _)| ours)
            .collect()
    }
}

fn mebibytes(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

fn byte_expression(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        format!("{} << 20", bytes >> 20)
    } else {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESETS: [Preset; 4] = [
        Preset::DesktopTool,
        Preset::WebFrontEnd,
        Preset::BackgroundWorker,
        Preset::HighVolumeDaemon,
    ];

    #[test]
    fn presets_are_those_of_the_cache() {
        for preset in PRESETS {
            let (ours, theirs) = (Chosen::of(preset).strategy(), preset.strategy());
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        }
    }

    #[test]
    fn an_expression_names_only_what_differs() {
        for preset in PRESETS {
            let expression = Chosen::of(preset).expression();
            assert_eq!(expression, format!("Strategy::{}()", preset.function()));
        }
        let chosen = Chosen {
            memory_bytes: 0,
            refresh: Refresh::OnDemand,
            coalescing: Merging::Process,
            ..Chosen::of(Preset::WebFrontEnd)
        };
        assert_eq!(
            chosen.expression(),
            "Strategy::web_front_end()\n    .memory_tier(MemoryTier::off())\n    .refresh(RefreshPolicy::OnDemand)\n    \
             .coalescing(Coalescing::Process)"
        );
    }
}
