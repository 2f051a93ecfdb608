//! The whole silent acquisition that memory answers, beside the lookup that it makes.

use std::future::IntoFuture;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use benches::harness::{Estimate, Question, QuestionError, Row, answer, at_most, exactly, on, sync, threads};
use benches::payload::{CLIENT_ID, ENVIRONMENT, FakeAuthority, LIFETIME, Payload, REALM, memory_cache};
use cache_core::cache::{AcquireOptions, CachedAccount, Lookup, PartitionRef, TokenCache};
use cache_core::schema::{AuthorityKind, TokenContext, TokenRequest, TokenType};
use cache_core::secret::Secret;
use cache_core::strategy::{MemoryTier, Strategy};
use cache_core::time::SystemClock;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use futures_util::FutureExt;

fn main() -> ExitCode {
    answer(
        "silent",
        "What does a whole silent acquisition cost that memory answers?",
        |question| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let users = question.sized(1000, 20);
            let scene = runtime.block_on(Scene::new(users))?;
            scene.users(question, &runtime);
            scene.threads(question);
            scene.application(question, &runtime);
            scene.allocations(question);
            for paragraph in MEANS {
                question.means(paragraph);
            }
            Ok(())
        },
    )
}

const MEANS: [&str; 2] = [
    "`acquire_token_silent(…).await` asks memory when it is polled for the first time, with what the caller said and nothing else built from it, and is \
     ready at once. What a result tells beside the token (claims, account, scopes) is read out when it is asked for.",
    "Where one account is served again and again, keep a prepared request: it borrows the token and writes nothing that threads share.",
];

/// A cache with many users, all in memory, and clients that have tokens in it.
struct Scene {
    cache: TokenCache,
    public: PublicClient,
    confidential: ConfidentialClient,
    account: CachedAccount,
    request: Arc<TokenRequest>,
    own_request: Arc<TokenRequest>,
}

impl Scene {
    async fn new(users: usize) -> Result<Self, QuestionError> {
        let payload = Payload::present(3);
        let strategy = Strategy::web_front_end().memory_tier(MemoryTier::bounded(256 << 20));
        let cache = memory_cache(&payload, users, 3, strategy).await?;
        let authority = Authority::entra(&format!("https://{ENVIRONMENT}/{REALM}"))?;
        let public = PublicClient::builder(CLIENT_ID, authority.clone(), cache.clone()).build()?;
        let own_request = payload.app_request(7, 0);
        let credential = ClientCredential::secret(Secret::new("not needed"));
        let confidential =
            ConfidentialClient::builder(own_request.client_id(), authority, credential, cache.clone())
                .build()?;
        let wanted = payload.home_account_id(users / 2);
        let accounts = public.accounts().await?.accounts;
        let account = accounts
            .into_iter()
            .find(|account| account.account.home_account_id == wanted)
            .ok_or("the account is not in the cache")?;
        let call = Arc::new(FakeAuthority::granting(
            Arc::new(SystemClock),
            Duration::ZERO,
            payload.app_response(7, 0),
            LIFETIME,
        ));
        let options = AcquireOptions::default();
        cache.acquire_app(Arc::clone(&own_request), options, call).await?;
        let scene = Self {
            request: payload.subset_request(users / 2, 0),
            cache,
            public,
            confidential,
            account,
            own_request,
        };
        // What was answered once is found from then on.
        for _ in 0..3 {
            let silent = scene.public.acquire_token_silent(words(&scene.request));
            silent.account(&scene.account).await?;
            let scopes = words(&scene.own_request);
            scene.confidential.acquire_token_for_client(scopes).await?;
        }
        Ok(scene)
    }

    fn users(&self, question: &mut Question, runtime: &tokio::runtime::Runtime) {
        let scopes = words(&self.request);
        let prepared = self.public.prepare_silent(&scopes, &self.account);
        let plain = TokenContext::default();
        let lookup = lookup(&self.request, &scopes, &plain);
        let measured = question
            .compare("a user's token, one thread")
            .limit(
                "TokenCache::find",
                sync(|| self.cache.find(std::hint::black_box(&lookup))),
            )
            .variant(
                "acquire_token_silent(…).await",
                on(runtime, async || {
                    let silent = self.public.acquire_token_silent(std::hint::black_box(&scopes));
                    silent.account(&self.account).await
                }),
            )
            .variant(
                "the same, and its authorization header",
                on(runtime, async || {
                    let silent = self.public.acquire_token_silent(std::hint::black_box(&scopes));
                    let result = silent.account(&self.account).await;
                    result.map(|result| result.authorization_header())
                }),
            )
            .variant(
                "the same, and the claims of the ID token",
                on(runtime, async || {
                    let silent = self.public.acquire_token_silent(std::hint::black_box(&scopes));
                    let result = silent.account(&self.account).await;
                    result.map(|result| result.id_token_claims().is_some())
                }),
            )
            .variant(
                "PreparedSilent::acquire().await",
                on(runtime, async || prepared.acquire().await),
            )
            .variant(
                "PreparedSilent::peek",
                sync(|| prepared.peek().map(|peeked| peeked.expires_on())),
            )
            .run();
        question
            .target(
                Row::Silent,
                "× TokenCache::find, one thread",
                at_most(3.0),
                measured.ratio("acquire_token_silent(…).await"),
            )
            .reason(
                "the scopes are copied into the future, so that it borrows nothing that the caller dropped",
            )
            .next_idea("take scopes by reference where the caller has them so");
    }

    fn threads(&self, question: &mut Question) {
        let scopes = words(&self.request);
        let prepared = self.public.prepare_silent(&scopes, &self.account);
        let plain = TokenContext::default();
        let lookup = lookup(&self.request, &scopes, &plain);
        let measured = question
            .compare("the same user's token, two threads")
            .limit(
                "TokenCache::find",
                threads(2, |_| || self.cache.find(std::hint::black_box(&lookup))),
            )
            .variant(
                "acquire_token_silent(…), polled once",
                threads(2, |_| {
                    || {
                        let silent = self.public.acquire_token_silent(std::hint::black_box(&scopes));
                        silent.account(&self.account).into_future().now_or_never()
                    }
                }),
            )
            .variant(
                "PreparedSilent::peek",
                threads(2, |_| || prepared.peek().map(|peeked| peeked.expires_on())),
            )
            .run();
        question
            .target(
                Row::Silent,
                "× TokenCache::find, two threads on one hot token",
                at_most(3.0),
                measured.ratio("acquire_token_silent(…), polled once"),
            )
            .reason("two threads count references to one answer")
            .next_idea("a prepared request for the hottest tokens");
    }

    fn application(&self, question: &mut Question, runtime: &tokio::runtime::Runtime) {
        let scopes = words(&self.own_request);
        let prepared = self.confidential.prepare_for_client(&scopes);
        let plain = TokenContext::default();
        let lookup = lookup(&self.own_request, &scopes, &plain);
        let measured = question
            .compare("an application's own token, one thread")
            .limit(
                "TokenCache::find",
                sync(|| self.cache.find(std::hint::black_box(&lookup))),
            )
            .variant(
                "acquire_token_for_client(…).await",
                on(runtime, async || {
                    let scopes = std::hint::black_box(&scopes);
                    self.confidential.acquire_token_for_client(scopes).await
                }),
            )
            .variant(
                "PreparedForClient::peek",
                sync(|| prepared.peek().map(|peeked| peeked.expires_on())),
            )
            .run();
        question
            .target(
                Row::Silent,
                "× TokenCache::find, client credentials",
                at_most(3.0),
                measured.ratio("acquire_token_for_client(…).await"),
            )
            .reason(
                "the scopes are copied into the future, so that it borrows nothing that the caller dropped",
            )
            .next_idea("take scopes by reference where the caller has them so");
    }

    fn allocations(&self, question: &mut Question) {
        let (scopes, own_scopes) = (words(&self.request), words(&self.own_request));
        let mut result = None;
        let silent = allocation_counter::measure(|| {
            let silent = self.public.acquire_token_silent(&scopes);
            result = silent.account(&self.account).into_future().now_or_never();
        });
        let is_hit = matches!(result, Some(Ok(_)));
        let own = allocation_counter::measure(|| {
            let own = self.confidential.acquire_token_for_client(&own_scopes);
            result = own.into_future().now_or_never();
        });
        let allocations = match (is_hit, result) {
            (true, Some(Ok(_))) => (silent.count_total + own.count_total) as f64,
            _ => f64::NAN,
        };
        question.count(
            "allocations of a hit, both acquisitions",
            allocations,
            "allocations",
        );
        question
            .target(
                Row::Silent,
                "allocations on a hit",
                exactly(0.0),
                Estimate::exact(allocations),
            )
            .reason("more scopes than are kept in place")
            .next_idea("more room for them");
    }
}

fn words(request: &TokenRequest) -> Vec<&str> {
    request.scopes().words().collect()
}

fn lookup<'a>(request: &'a TokenRequest, scopes: &'a [&'a str], plain: &'a TokenContext) -> Lookup<'a> {
    let partition = PartitionRef::of(request.partition());
    #[expect(
        clippy::expect_used,
        reason = "the payload makes requests for users and applications only"
    )]
    let partition = partition.expect("it is no residue");
    Lookup {
        partition,
        kind: AuthorityKind::Entra,
        client_id: request.client_id(),
        environment: request.environment(),
        realm: request.realm(),
        scopes,
        token_type: &TokenType::Bearer,
        context: plain,
    }
}
