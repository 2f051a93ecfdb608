//! Workloads: who asks for which tokens, how often, and through which strategy, run in earnest with a simulated authority.
//!
//! # The file
//!
//! TOML. A field that is not listed here is refused; shipped files are in [`presets`].
//!
//! | field | meaning | if left out |
//! |---|---|---|
//! | `title`, `summary` | what it is called, and whom it is like | no summary |
//! | `subjects.users`, `.tokens_per_user` | signed-in users, and the resources that each calls | 0, 1 |
//! | `subjects.tenants`, `.resources_per_tenant` | tenants in which the application acts as itself, and resources in each | 0, 1 |
//! | `subjects.zipf` | how unequally often they are asked for (exponent); 0 for all alike | 0 |
//! | `load.processes`, `.tasks` | processes that share the store, and tasks in each | |
//! | `load.think_milliseconds` | a task's mean pause between two requests | |
//! | `load.seconds`, `.warm_up_seconds` | how long is measured, and how long it runs before that | no warm-up |
//! | `load.requests_per_process` | requests after which a process ends and another begins; 0 for never | 0 |
//! | `tokens.lifetime_seconds` | lifetime of an access token, much shorter than in earnest | |
//! | `tokens.refresh_after` | the part of its life after which the authority recommends to replace it; 0 for no advice | 0 |
//! | `tokens.bytes` | length of an access token | 1600 |
//! | `authority.latency_milliseconds` | how long it takes to answer | |
//! | `authority.rotates` | whether a refresh token serves once, and a second use signs its user out | false |
//! | `needs.memory_mib` | by how many mebibytes a process may grow; a strategy that exceeds it is not recommended | no bound |
//! | `needs.requests_per_second` | how often the authority may be asked, in the time of the run | no bound |
//! | `store.kind` | `memory`, `sqlite` or `redis` | |
//! | `store.explore` | the kinds that an exploration may choose from | the one kind |
//! | `strategy.preset` | `desktop-tool`, `web-front-end`, `background-worker` or `high-volume-daemon` | |
//! | `strategy.memory_bytes`, `.max_staleness_seconds` | the memory tier; 0 bytes for none, 0 seconds to ask the store each time | the preset's |
//! | `strategy.write` | `through` or `behind` | the preset's |
//! | `strategy.partitioning` | `by-tenant` or `app-by-resource` | the preset's |
//! | `strategy.refresh`, `.refresh_jitter` | `on-demand` or `ahead`, and how far it is spread (0 to 1) | the preset's |
//! | `strategy.coalescing` | `none` (refused where users' refresh tokens rotate), `process` or `fleet` | the preset's |
//! | `strategy.codec` | `bincode` or `msal-json` | the preset's |
//! | `strategy.seal` | `required` or `plaintext` | the preset's |
//!
//! # A run
//!
//! ```text
//!  parent ── fills the store ── starts processes ── answers as the authority, counts ── adds up
//!               │                    │ ▲ pipes: job, answers │ questions, result
//!               ▼                    ▼ │
//!        SQLite file, Redis  ◀──  worker: TokenCache, tasks, a histogram for each tier
//! ```
//!
//! Everything is temporary: a folder that only its owner can enter, a key that lives as long as the run, a Redis on a unix socket in
//! that folder or keys of its own at a given server. No port is opened and no network is needed.

mod calls;
mod chosen;
mod counting;
mod error;
pub mod explore;
mod file;
mod filling;
mod grants;
mod issuer;
mod link;
mod measured;
mod place;
pub mod presets;
mod run;
mod sequence;
mod strategy;
mod sweep;
mod usage;
mod worker;

pub use chosen::Chosen;
pub use counting::StoreCounts;
pub use error::{BenchError, WorkloadError};
pub use file::{Authority, Load, NeedsTable, StoreKind, StoreTable, Subjects, Tokens, Workload};
pub use measured::{AuthorityCounts, Calls, Figures, Latencies, Measurement, PIECES, Share, Tier};
pub use run::{Bench, Launcher, Trial};
pub use sequence::{Sequence, Step, Subject, SubjectKind};
pub use strategy::{Division, Form, Merging, Preset, Refresh, Sealing, StrategyChoice, Write};
pub use sweep::{SweepPoint, sweep};
pub use worker::serve;

pub(crate) use measured::{lossy, ratio};
