//! Which strategies are worth a run: those that are safe for a workload and differ where it can tell.

use serde::Serialize;

use crate::workload::chosen::Chosen;
use crate::workload::file::{StoreKind, Workload};
use crate::workload::strategy::{Division, Form, Merging, Refresh, Sealing, Write};

/// A store and a strategy on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Where tokens are kept.
    pub store: StoreKind,
    /// How the cache is used.
    pub strategy: Chosen,
}

impl Candidate {
    /// What the workload itself says.
    #[must_use]
    pub fn of(workload: &Workload) -> Self {
        Self {
            store: workload.store.kind,
            strategy: workload.strategy.chosen(),
        }
    }

    /// In what it differs from `other`, in a few words; empty when it does not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let mut words = self.strategy.difference(&other.strategy);
        if self.store != other.store {
            words.insert(0, self.store.title().to_owned());
        }
        words
    }

    /// In a few words that matter for `workload`.
    #[must_use]
    pub fn title(&self, workload: &Workload) -> String {
        let words = self.strategy.words();
        let mut parts = vec![self.store.title().to_owned()];
        // Memory tier and refresh matter to all, write policy and partitioning to applications only.
        parts.extend(words.iter().take(2).cloned());
        if workload.subjects.tenants > 0 {
            parts.extend(words.iter().skip(2).take(2).cloned());
        }
        let usual = Chosen::of(self.strategy.preset);
        let rest = words.iter().zip(usual.words()).skip(4);
        parts.extend(
            rest.filter(|(word, usual)| word != &usual)
                .map(|(word, _)| word.clone()),
        );
        parts.join(", ")
    }
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matrix {
    /// The first is what the workload itself says.
    pub candidates: Vec<Candidate>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// What is worth a run for `workload` on the stores `available`.
#[must_use]
pub fn matrix(workload: &Workload, available: &[StoreKind]) -> Matrix {
    let given = Candidate::of(workload);
    // What is tried is sealed, in our own form and merged wherever that is safe: the others are priced afterwards.
    let base = Chosen {
        seal: Sealing::Required,
        codec: Form::Bincode,
        coalescing: Merging::Fleet,
        ..given.strategy
    };
    let has_users = workload.subjects.users > 0;
    let has_applications = workload.subjects.tenants > 0;
    let mut left_out = Vec::new();
    let stores: Vec<_> = available
        .iter()
        .copied()
        .filter(|kind| match workload.unfit(*kind) {
            Some(reason) => {
                left_out.push(format!("{}: {reason}", kind.title()));
                false
            }
            None => true,
        })
        .collect();
    let partitionings: &[_] = if has_applications {
        &[Division::ByTenant, Division::AppByResource]
    } else {
        left_out.push("partitions by resource, and writes behind: users always have one partition each, and what concerns a refresh token is never written behind".to_owned());
        &[Division::ByTenant]
    };
    if has_users && workload.authority.rotates {
        left_out.push("nothing merged: a refresh token that is sent twice signs its user out".to_owned());
    }
    let alone = workload.load.processes == 1 && !workload.is_short_lived();
    let mergings: &[_] = if has_users && alone {
        &[Merging::Process, Merging::Fleet]
    } else {
        if has_users {
            left_out.push(
                "merged in each process only: other processes would send the same refresh token".to_owned(),
            );
        } else {
            left_out.push(
                "how widely requests are merged: it concerns refresh tokens, and there are none".to_owned(),
            );
        }
        &[Merging::Fleet]
    };
    left_out.push("plaintext: never recommended; its price is below".to_owned());

    let mut candidates = vec![given];
    let mut add = |candidate: Candidate| {
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    };
    for store in stores {
        let writes: &[_] = if has_applications && store != StoreKind::Memory {
            &[Write::Through, Write::Behind]
        } else {
            &[Write::Through]
        };
        for refresh in [Refresh::OnDemand, Refresh::Ahead] {
            for partitioning in partitionings {
                for write in writes {
                    for coalescing in mergings {
                        let strategy = Chosen {
                            refresh,
                            partitioning: *partitioning,
                            write: *write,
                            coalescing: *coalescing,
                            ..base
                        };
                        add(Candidate { store, strategy });
                        // How much memory is worth hardly depends on how an application's tokens are written.
                        let is_usual = *write == base.write && *partitioning == base.partitioning;
                        if is_usual || !has_applications {
                            for (memory_bytes, max_staleness_seconds) in memory_tiers(&base) {
                                let strategy = Chosen {
                                    memory_bytes,
                                    max_staleness_seconds,
                                    ..strategy
                                };
                                add(Candidate { store, strategy });
                            }
                        }
                    }
                }
            }
        }
    }
    // Where time is short, what is furthest from the workload's own is not tried.
    candidates.sort_by_key(|candidate| candidate.difference(&given).len());
    Matrix { candidates, left_out }
}

/// No memory, memory that is checked each time, and what is trusted for a while.
fn memory_tiers(base: &Chosen) -> [(u64, u32); 3] {
    let preset = Chosen::of(base.preset);
    let bytes = if base.memory_bytes == 0 {
        preset.memory_bytes
    } else {
        base.memory_bytes
    };
    let staleness = preset.max_staleness_seconds.max(1);
    [(0, 0), (bytes, 0), (bytes, staleness)]
}

/// What is never recommended, or not for its speed, and yet worth a price: the same as `chosen` but for one thing.
#[must_use]
pub fn price_tags(workload: &Workload, chosen: &Candidate) -> Vec<(&'static str, Candidate)> {
    let with = |strategy| Candidate {
        store: chosen.store,
        strategy,
    };
    let mut tags = vec![
        (
            "without encryption: whoever reads the store reads the tokens",
            with(Chosen {
                seal: Sealing::Plaintext,
                ..chosen.strategy
            }),
        ),
        (
            "written as MSAL's JSON, which costs more and helps nobody here",
            with(Chosen {
                codec: Form::MsalJson,
                ..chosen.strategy
            }),
        ),
    ];
    if !(workload.subjects.users > 0 && workload.authority.rotates) {
        tags.push((
            "with nothing merged: every caller sends a request of its own",
            with(Chosen {
                coalescing: Merging::None,
                ..chosen.strategy
            }),
        ));
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::presets;

    const ALL: [StoreKind; 3] = [StoreKind::Memory, StoreKind::Sqlite, StoreKind::Redis];

    #[test]
    fn nothing_unsafe_is_tried() {
        for (name, _) in presets::PRESETS {
            let workload = presets::workload(name).unwrap();
            let matrix = matrix(&workload, &ALL);
            assert_eq!(matrix.candidates[0], Candidate::of(&workload), "{name}");
            for candidate in &matrix.candidates {
                assert_eq!(candidate.strategy.seal, Sealing::Required);
                assert_eq!(candidate.strategy.coalescing, Merging::Fleet);
                assert!(workload.unfit(candidate.store).is_none());
            }
            assert!(
                (6..=32).contains(&matrix.candidates.len()),
                "{name}: {}",
                matrix.candidates.len()
            );
        }
    }

    #[test]
    fn a_price_is_not_put_on_what_signs_users_out() {
        let workload = presets::workload("web-front-end").unwrap();
        let tags = price_tags(&workload, &Candidate::of(&workload));
        assert!(
            tags.iter()
                .all(|(_, tag)| tag.strategy.coalescing != Merging::None)
        );
        let workload = presets::workload("multi-tenant-daemon").unwrap();
        assert_eq!(price_tags(&workload, &Candidate::of(&workload)).len(), 3);
    }
}
