//! A token of a user, from memory.

use std::sync::Arc;
use std::time::Duration;

use benches::harness::{Question, QuestionError, Row, at_least, on, sync};
use benches::payload::{CLIENT_ID, LIFETIME, Picker};
use cache_core::cache::CachedAccount;
use cache_core::time::{Clock, SystemClock};
use flows::TokenSource;
use flows::client::PublicClient;
use serde_json::json;

use crate::moka_tokens::MokaTokens;
use crate::offline::Offline;
use crate::script::{Measurement, Script, Scripts};
use crate::users::{Users, authority_url};

const WHOLE: &str = "acquire_token_silent(…).await";
const SEED: u64 = 11;

/// How many times faster it has to be.
#[derive(Clone, Copy)]
struct Demand {
    row: Row,
    than_python: f64,
    than_node: f64,
}

/// How many accounts there are.
const SIZES: [(usize, Option<Demand>); 3] = [
    (
        1,
        Some(Demand {
            row: Row::PeersOne,
            than_python: 100.0,
            than_node: 500.0,
        }),
    ),
    (100, None),
    (
        10_000,
        Some(Demand {
            row: Row::PeersMany,
            than_python: 20_000.0,
            than_node: 200_000.0,
        }),
    ),
];

pub(crate) fn ask(question: &mut Question, scripts: &Scripts) -> Result<(), QuestionError> {
    for (count, demand) in SIZES {
        let users = Users::new(question.sized(count, count.min(100)));
        // Entra grants more than was asked for, whenever the user has consented to more; a program that asks again does so in the words of its first
        // question. Where the words are exactly those of the token, MSAL Python needs no search.
        let names = [false, true].map(|exact| {
            let scopes = if exact {
                "exactly the scopes granted"
            } else {
                "fewer scopes than granted"
            };
            (exact, format!("silent, {}, {scopes}", accounts(count)))
        });
        if !names.iter().any(|(_, name)| question.wants(name)) {
            continue;
        }
        for script in scripts.both() {
            load(script, &users)?;
        }
        for (exact, name) in &names {
            let demand = demand.filter(|_| !exact);
            compare(question, scripts, &users, name, *exact, demand)?;
        }
        for script in scripts.both() {
            script.forget("false")?;
            script.forget("true")?;
        }
    }
    question.means(
        "An MSAL of another language searches its whole cache for a token whose scopes include those asked for, so its price grows with the number of accounts; here \
         it does not. MSAL Python finds a token without a search where it was granted exactly the scopes asked for, which Entra seldom does for a user.",
    );
    Ok(())
}

fn accounts(count: usize) -> String {
    match count {
        1 => "1 account".to_owned(),
        10_000 => "10,000 accounts".to_owned(),
        count => format!("{count} accounts"),
    }
}

/// Fills two applications, one for each set of scopes.
fn load(script: &Script, users: &Users) -> Result<(), QuestionError> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), users.document().expose())?;
    for exact in [false, true] {
        let filled = json!({
            "file": file.path(), "scopes": [users.scopes(exact)], "accounts": users.accounts(), "client": CLIENT_ID,
            "secret": "", "authority": authority_url(),
        });
        script.load(&exact.to_string(), filled)?;
    }
    Ok(())
}

/// Asks for everybody until memory answers for all: what the store reports of its being filled arrives late, and sends a lookup back to it once.
async fn settle(
    client: &PublicClient,
    known: &[CachedAccount],
    scopes: &[String],
    users: &Users,
) -> Result<(), QuestionError> {
    for _ in 0..10 {
        let mut from_memory = 0;
        for (user, account) in known.iter().enumerate() {
            let found = client.acquire_token_silent(scopes).account(account).await?;
            if found.access_token().expose() != users.access_token(user) {
                return Err("the cache did not answer with the user's token".into());
            }
            from_memory += usize::from(found.metadata().source == TokenSource::Memory);
        }
        if from_memory == known.len() {
            return Ok(());
        }
    }
    Err("the cache does not answer from its memory".into())
}

fn compare(
    question: &mut Question,
    scripts: &Scripts,
    users: &Users,
    name: &str,
    exact: bool,
    demand: Option<Demand>,
) -> Result<(), QuestionError> {
    if !question.wants(name) {
        return Ok(());
    }
    let is_quick = question.is_quick();
    let (cache, scopes) = (exact.to_string(), users.scopes(exact));
    let picker = || Picker::uniform(users.count(), SEED);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let http = Arc::new(Offline::default());
    let (client, known) = runtime.block_on(users.client(Arc::clone(&http)))?;
    runtime.block_on(settle(&client, &known, &scopes, users))?;
    let moka = MokaTokens::new(users.count());
    let expires_on = SystemClock.now().saturating_add(LIFETIME);
    let owners: Vec<String> = (0..users.count())
        .map(|user| users.home_account_id(user))
        .collect();
    for (user, owner) in owners.iter().enumerate() {
        moka.insert(owner, &scopes, users.access_token(user), expires_on);
    }

    let prepared: Vec<_> = known
        .iter()
        .map(|account| client.prepare_silent(&scopes, account))
        .collect();
    if prepared.iter().any(|prepared| prepared.peek().is_none()) {
        return Err("a prepared request does not find the token in memory".into());
    }

    let (mut ours, mut peeked, mut theirs) = (picker(), picker(), picker());
    let peek = sync(|| prepared[peeked.pick()].peek().map(|found| found.expires_on()));
    let whole = on(&runtime, async || {
        client
            .acquire_token_silent(&scopes)
            .account(&known[ours.pick()])
            .await
    });
    let bare = sync(|| moka.get(&owners[theirs.pick()], &scopes));
    let mut comparison = question
        .compare(name)
        // Where MSAL searches, what it costs depends on who is asked for: of many it has to be several.
        .batch(Duration::from_millis(if users.count() > 1000 { 50 } else { 4 }))
        .variant(WHOLE, whole)
        .variant("the same prepared, borrowed", peek);
    comparison = comparison.peer("moka, text to text", bare);
    for script in scripts.both() {
        let expected = |user| users.access_token(user);
        let operation = script.operation(&cache, Measurement::Silent, picker(), expected, is_quick);
        comparison = comparison.peer(script.name, operation);
    }
    let measured = comparison.run();
    for script in scripts.both() {
        script.check()?;
    }
    if http.requests() > 0 {
        return Err("a request was made while memory hits were measured".into());
    }
    if let Some(demand) = demand {
        for (script, times) in scripts
            .both()
            .into_iter()
            .zip([demand.than_python, demand.than_node])
        {
            let name = format!("× faster than {}", script.name);
            let _ = question
                .target(demand.row, &name, at_least(times), measured.ratio_of(script.name, WHOLE))
                .reason("a hit of the whole call costs more than the ratio leaves for it; the question `silent` says what it is spent on")
                .next_idea("the same by a prepared request");
        }
    }
    Ok(())
}
