//! A workload file.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::error::WorkloadError;
use super::strategy::StrategyChoice;

/// Who asks for which tokens, how often, of what, through what. See the [module](super) for the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What it is called.
    pub title: String,
    /// Whom it is like, in one sentence.
    #[serde(default)]
    pub summary: String,
    /// Whose tokens they are.
    pub subjects: Subjects,
    /// How they are asked for.
    pub load: Load,
    /// What the tokens are like.
    pub tokens: Tokens,
    /// Who issues them.
    pub authority: Authority,
    /// What every strategy must keep to.
    #[serde(default)]
    pub needs: NeedsTable,
    /// Where they are kept.
    pub store: StoreTable,
    /// How the cache is used.
    pub strategy: StrategyChoice,
}

/// Whose tokens they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subjects {
    /// Users who are signed in, each with a refresh token.
    #[serde(default)]
    pub users: u32,
    /// Resources that each user calls; an access token each.
    #[serde(default = "one")]
    pub tokens_per_user: u32,
    /// Tenants in which the application acts as itself.
    #[serde(default)]
    pub tenants: u32,
    /// Resources that it calls in each.
    #[serde(default = "one")]
    pub resources_per_tenant: u32,
    /// How unequally often they are asked for: the exponent of Zipf's law over users and tenants; 0 for all alike.
    #[serde(default)]
    pub zipf: f64,
}

/// How the tokens are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Processes that run at the same time and share the store.
    pub processes: u32,
    /// Tasks in each, each of which waits for one token after the other.
    pub tasks: u32,
    /// How long a task pauses between two tokens on average, in milliseconds (exponentially distributed).
    pub think_milliseconds: f64,
    /// How long is measured, in seconds.
    pub seconds: f64,
    /// How long it runs before that, in seconds.
    #[serde(default)]
    pub warm_up_seconds: f64,
    /// How many tokens a process asks for before it ends and the next begins; 0 for processes that live on.
    #[serde(default)]
    pub requests_per_process: u32,
}

/// What the tokens are like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// How long an access token lives, in seconds: much shorter than in earnest, so that a short run sees many expire.
    pub lifetime_seconds: u32,
    /// After which part of its life the authority recommends to replace it; 0 for no such advice.
    #[serde(default)]
    pub refresh_after: f64,
    /// How long an access token is, in bytes.
    #[serde(default = "usual_bytes")]
    pub bytes: u32,
}

/// Who issues the tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// How long a request takes, in milliseconds.
    pub latency_milliseconds: f64,
    /// Whether a refresh token serves once, and a second use signs its user out.
    #[serde(default)]
    pub rotates: bool,
}

/// What every strategy must keep to: one that does not is not recommended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeedsTable {
    /// By how many mebibytes a process may grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// How often in a second the authority may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
}

/// Where the tokens are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreTable {
    /// What kind of store.
    pub kind: StoreKind,
    /// Which ones an exploration may choose from; the one kind if nothing is said.
    #[serde(default)]
    pub explore: Vec<StoreKind>,
}

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// In each process, and gone with it.
    Memory,
    /// A file that processes of one machine share.
    Sqlite,
    /// A server that machines share.
    Redis,
}

impl StoreKind {
    /// As in a workload file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
        }
    }

    /// As in a sentence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Memory => "a store in memory",
            Self::Sqlite => "SQLite",
            Self::Redis => "Redis",
        }
    }
}

fn one() -> u32 {
    1
}

fn usual_bytes() -> u32 {
    1600
}

impl Workload {
    /// Reads a workload file.
    ///
    /// # Errors
    /// [`WorkloadError`], which names the line and the field.
    pub fn parse(text: &str) -> Result<Self, WorkloadError> {
        let workload: Self = toml::from_str(text).map_err(|error| WorkloadError::Syntax {
            line: error.span().map_or(1, |span| line_of(text, &span)),
            message: error.message().to_owned(),
        })?;
        workload
            .check()
            .map_err(|(field, message)| WorkloadError::Value {
                field,
                line: line_of_field(text, field),
                message,
            })?;
        Ok(workload)
    }

    /// Whether processes end after a few tokens.
    #[must_use]
    pub fn is_short_lived(&self) -> bool {
        self.load.requests_per_process > 0
    }

    /// How many partitions users and tenants have, where an application's tokens are divided by tenant.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.subjects.users + self.subjects.tenants
    }

    /// How many access tokens there are.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let subjects = &self.subjects;
        u64::from(subjects.users) * u64::from(subjects.tokens_per_user)
            + u64::from(subjects.tenants) * u64::from(subjects.resources_per_tenant)
    }

    /// The stores that an exploration may choose from.
    #[must_use]
    pub fn stores_to_explore(&self) -> Vec<StoreKind> {
        let mut kinds = self.store.explore.clone();
        kinds.push(self.store.kind);
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Why a kind of store cannot serve this workload safely; `None` if it can.
    #[must_use]
    pub fn unfit(&self, kind: StoreKind) -> Option<&'static str> {
        if kind != StoreKind::Memory {
            return None;
        }
        if self.is_short_lived() {
            return Some("a store in memory ends with each process, and the sign-in with it");
        }
        (self.subjects.users > 0 && self.load.processes > 1)
            .then_some("processes that share no store would each need a sign-in of every user")
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let refuse = |field, message: &str| Err((field, message.to_owned()));
        let within = |field, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err((field, format!("{value} is not within {low} and {high}")))
            }
        };
        let (subjects, load) = (&self.subjects, &self.load);
        if self.title.trim().is_empty() {
            return refuse("title", "give it a name");
        }
        if self.partitions() == 0 {
            return refuse("subjects.users", "there must be users or tenants");
        }
        within("subjects.users", subjects.users.into(), 0.0, 100_000.0)?;
        within(
            "subjects.tokens_per_user",
            subjects.tokens_per_user.into(),
            1.0,
            100.0,
        )?;
        within("subjects.tenants", subjects.tenants.into(), 0.0, 100_000.0)?;
        within(
            "subjects.resources_per_tenant",
            subjects.resources_per_tenant.into(),
            1.0,
            1000.0,
        )?;
        within("subjects.zipf", subjects.zipf, 0.0, 4.0)?;
        within("load.processes", load.processes.into(), 1.0, 64.0)?;
        within("load.tasks", load.tasks.into(), 1.0, 1024.0)?;
        within("load.think_milliseconds", load.think_milliseconds, 0.0, 60_000.0)?;
        within("load.seconds", load.seconds, 0.1, 3600.0)?;
        within("load.warm_up_seconds", load.warm_up_seconds, 0.0, 600.0)?;
        within(
            "load.requests_per_process",
            load.requests_per_process.into(),
            0.0,
            1e6,
        )?;
        within(
            "tokens.lifetime_seconds",
            self.tokens.lifetime_seconds.into(),
            2.0,
            86_400.0,
        )?;
        within("tokens.refresh_after", self.tokens.refresh_after, 0.0, 0.95)?;
        within("tokens.bytes", self.tokens.bytes.into(), 64.0, 32_768.0)?;
        within(
            "authority.latency_milliseconds",
            self.authority.latency_milliseconds,
            0.0,
            10_000.0,
        )?;
        if let Some(mebibytes) = self.needs.memory_mib {
            within("needs.memory_mib", mebibytes.into(), 1.0, 1_048_576.0)?;
        }
        if let Some(requests) = self.needs.requests_per_second {
            within("needs.requests_per_second", requests, 0.01, 1e6)?;
        }
        if self.tokens() > 500_000 {
            return refuse("subjects.users", "there would be more than 500,000 access tokens");
        }
        if let Some(reason) = self.unfit(self.store.kind) {
            return refuse("store.kind", reason);
        }
        self.strategy
            .check(self.subjects.users > 0 && self.authority.rotates)
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn line_of_field(text: &str, field: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut words = field.split('.').peekable();
    while let Some(word) = words.next() {
        let (key, value) = table.get_key_value(word)?;
        if words.peek().is_none() {
            return Some(line_of(text, &key.span()));
        }
        table = value.get_ref().as_table()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::presets;

    fn edited(from: &str, to: &str) -> Result<Workload, WorkloadError> {
        let text = presets::text("web-front-end").unwrap();
        assert!(text.contains(from), "{from}");
        Workload::parse(&text.replace(from, to))
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let WorkloadError::Syntax { line, message } = edited("zipf =", "zipff =").unwrap_err() else {
            panic!("not a mistake of syntax");
        };
        let text = presets::text("web-front-end").unwrap();
        let expected = text.lines().position(|line| line.starts_with("zipf =")).unwrap() + 1;
        assert_eq!(line, expected);
        assert!(message.contains("zipff"), "{message}");
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let error = Workload::parse("title = \"x\"\nsummary = [").unwrap_err();
        assert!(matches!(error, WorkloadError::Syntax { line: 2, .. }), "{error}");
    }

    #[test]
    fn a_value_out_of_range_names_its_field_and_line() {
        let error = edited("processes = 4", "processes = 0").unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains("load.processes: 0 is not within 1 and 64"),
            "{shown}"
        );
        assert!(shown.starts_with("line "), "{shown}");
    }

    #[test]
    fn what_would_sign_users_out_is_refused() {
        let error = edited(
            "preset = \"web-front-end\"",
            "preset = \"web-front-end\"\ncoalescing = \"none\"",
        );
        let shown = error.unwrap_err().to_string();
        assert!(shown.contains("strategy.coalescing"), "{shown}");
        assert!(shown.contains("signs its user out"), "{shown}");
    }

    #[test]
    fn a_store_that_ends_with_its_process_cannot_keep_users() {
        let error = edited("kind = \"sqlite\"", "kind = \"memory\"").unwrap_err();
        assert!(
            matches!(
                error,
                WorkloadError::Value {
                    field: "store.kind",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_field_that_was_left_out_is_named_without_a_line() {
        let text = "title = \"x\"\n[subjects]\n[load]\nprocesses = 1\ntasks = 1\nthink_milliseconds = 1\nseconds = 1\n\
                    [tokens]\nlifetime_seconds = 9\n[authority]\nlatency_milliseconds = 1\n[store]\nkind = \"sqlite\"\n\
                    [strategy]\npreset = \"desktop-tool\"";
        let error = Workload::parse(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "subjects.users: there must be users or tenants"
        );
    }
}
