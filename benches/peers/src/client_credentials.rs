//! A token of the application itself, from memory.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use benches::harness::{Question, QuestionError, on, sync};
use benches::payload::{CLIENT_ID, LIFETIME, Picker};
use cache_core::time::{Clock, SystemClock};
use flows::TokenSource;
use serde_json::json;

use crate::applications::{Resources, SECRET};
use crate::moka_tokens::MokaTokens;
use crate::offline::Offline;
use crate::script::{Measurement, Scripts};
use crate::users::authority_url;
use crate::{azure, yup};

const SEED: u64 = 12;
const CACHE: &str = "application";

pub(crate) fn ask(question: &mut Question, scripts: &Scripts) -> Result<(), QuestionError> {
    for (count, name) in [
        (1, "client credentials, 1 resource"),
        (100, "client credentials, 100 resources"),
        (10_000, "client credentials, 10,000 resources"),
    ] {
        if question.wants(name) {
            let resources = Resources::new(question.sized(count, count.min(100)));
            compare(question, scripts, &resources, name)?;
        }
    }
    Ok(())
}

fn compare(
    question: &mut Question,
    scripts: &Scripts,
    resources: &Resources,
    name: &str,
) -> Result<(), QuestionError> {
    let is_quick = question.is_quick();
    let scopes = resources.scopes();
    let expected = |resource| resources.access_token(resource);
    let wrong = || QuestionError::from("a cache did not answer with the resource's token");
    let picker = || Picker::uniform(resources.count(), SEED);
    for script in scripts.both() {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), resources.document(script.name).to_string())?;
        let filled = json!({
            "file": file.path(), "scopes": scopes, "accounts": [], "client": CLIENT_ID, "secret": SECRET,
            "authority": authority_url(),
        });
        script.load(CACHE, filled)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let http = Arc::new(Offline::default());
    let (client, credential, account) = runtime.block_on(async {
        let client = resources.client(Arc::clone(&http)).await?;
        let credential = azure::credential(resources, Arc::clone(&http)).await?;
        let account = yup::service_account(resources).await?;
        for (resource, scopes) in scopes.iter().enumerate() {
            let found = client.acquire_token_for_client(scopes).await?;
            let others = [
                credential
                    .get_token(&[&scopes[0]], None)
                    .await?
                    .token
                    .secret()
                    .to_owned(),
                account
                    .token(scopes)
                    .await?
                    .token()
                    .unwrap_or_default()
                    .to_owned(),
            ];
            let right = expected(resource);
            if found.metadata().source == TokenSource::Authority
                || found.access_token().expose() != right
                || others.iter().any(|other| *other != right)
            {
                return Err(wrong());
            }
        }
        Ok((client, credential, account))
    })?;
    let filling = http.requests();
    let moka = MokaTokens::new(resources.count());
    let expires_on = SystemClock.now().saturating_add(LIFETIME);
    for (resource, scopes) in scopes.iter().enumerate() {
        moka.insert(CLIENT_ID, scopes, expected(resource), expires_on);
    }

    let prepared: Vec<_> = scopes
        .iter()
        .map(|scopes| client.prepare_for_client(scopes))
        .collect();
    if prepared.iter().any(|prepared| prepared.peek().is_none()) {
        return Err("a prepared request does not find the token in memory".into());
    }

    let (mut ours, mut peeked) = (picker(), picker());
    let (mut azures, mut yups, mut mokas) = (picker(), picker(), picker());
    let peek = sync(|| prepared[peeked.pick()].peek().map(|found| found.expires_on()));
    let whole = on(&runtime, async || {
        client.acquire_token_for_client(&scopes[ours.pick()]).await
    });
    let azure = on(&runtime, async || {
        credential.get_token(&[&scopes[azures.pick()][0]], None).await
    });
    let yup = on(&runtime, async || account.token(&scopes[yups.pick()]).await);
    let moka = sync(|| moka.get(CLIENT_ID, &scopes[mokas.pick()]));
    let mut comparison = question
        .compare(name)
        .batch(Duration::from_millis(4))
        .variant("acquire_token_for_client(…).await", whole)
        .variant("the same prepared, borrowed", peek)
        .peer("moka, text to text", moka)
        .peer("azure_identity", azure)
        .peer("yup-oauth2", yup);
    for script in scripts.both() {
        let operation = script.operation(CACHE, Measurement::ApplicationToken, picker(), expected, is_quick);
        comparison = comparison.peer(script.name, operation);
    }
    comparison.run();
    for script in scripts.both() {
        script.check()?;
        script.forget(CACHE)?;
    }
    if http.requests() > filling {
        return Err("a request was made while memory hits were measured".into());
    }
    Ok(())
}
