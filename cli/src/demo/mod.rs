//! `demo`: everything at work on this machine, with a fake authority, in a folder that is removed afterwards.
//!
//! Each step checks what it shows: a demonstration that does not hold fails.

mod pen;
mod sealed_file;
mod stage;
mod timings;

use std::time::Duration;

use cache_core::secret::Secret;
use cache_testkit::authority::Grant;
use flows::client::PublicClient;
use futures_util::future::join_all;
use serde_json::json;

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session};

use pen::Pen;
use stage::Stage;
use timings::Timings;

const SCOPE: &str = "User.Read";

/// How many processes ask at once when the token has expired.
const CROWD: usize = 4;

/// Long enough for a busy machine, short enough to wait for.
const SHORT_LIFETIME: Duration = Duration::from_secs(2);

/// How long this process may take to notice another's sign-out.
const NOTICE: Duration = Duration::from_secs(10);

/// Runs the demonstration.
pub(crate) async fn run(session: &Session) -> Result<Answer, Failure> {
    let stage = Stage::set_up().await?;
    let ours = Session::new(stage.options(&session.options));
    let result = Demo {
        stage: &stage,
        session: &ours,
        pen: Pen::new(),
        timings: Timings::default(),
    }
    .play()
    .await;
    ours.close().await;
    stage.tear_down().await;
    result
}

struct Demo<'a> {
    stage: &'a Stage,
    /// This process as one that shares the store with the others.
    session: &'a Session,
    pen: Pen,
    timings: Timings,
}

impl Demo<'_> {
    async fn play(mut self) -> Result<Answer, Failure> {
        self.pen.title("tokenkeep, shown on this machine");
        self.pen.line(&format!(
            "A fake authority runs at {}. It revokes the session of a user whose refresh token is sent twice.",
            self.stage.url()
        ));
        let token = self.sign_in().await?;
        self.show_sealed_file(&token).await?;
        let client = self.share(&token).await?;
        self.refresh(&client).await?;
        self.rotate_key().await?;
        self.sign_out(&client).await?;
        self.conclude()
    }

    async fn sign_in(&mut self) -> Result<Secret, Failure> {
        self.pen.step("alice signs in with a device code");
        let ran = self
            .stage
            .tokenkeep(&["login", "device-code", "--scope", SCOPE])
            .await?;
        ran.said.iter().for_each(|line| self.pen.line(line));
        let signed_in = ran.succeeded()?;
        self.timings
            .add_reported("a process, while she signs in", &signed_in);
        let name = signed_in["account"]["username"].as_str().unwrap_or_default();
        self.pen.good(&format!(
            "signed in as {} (the authority approved the code in her name)",
            one_line(name)
        ));
        let token = self
            .stage
            .tokenkeep(&["token", "--scope", SCOPE])
            .await?
            .succeeded()?;
        Ok(Secret::new(token["access_token"].as_str().unwrap_or_default()))
    }

    /// Looks into the files before this process opens the store: who opens and closes a database file by
    /// other means than SQLite's takes the locks away that SQLite holds on it for the same process.
    async fn show_sealed_file(&mut self, token: &Secret) -> Result<(), Failure> {
        self.pen.step("what lies on the disk is sealed");
        let exported = self.stage.tokenkeep(&["export", "-"]).await?.succeeded()?;
        let mut secrets = sealed_file::secrets(&exported);
        expect(
            secrets.iter().any(|secret| secret.expose() == token.expose()),
            "the token is not in the cache",
        )?;
        let count = secrets.len();
        secrets.push(Secret::new(cache_testkit::authority::ALICE));
        let found = sealed_file::search(self.stage.folder(), &secrets)?;
        self.pen.line(&format!(
            "{} ({} bytes), where the record begins:",
            found.shown_file, found.shown_bytes
        ));
        found.dump.iter().for_each(|line| self.pen.quiet(line));
        expect(!found.dump.is_empty(), "there is no sealed record")?;
        expect(
            found.leaks.is_empty(),
            &format!("a secret is in clear in {}", found.leaks.join(", ")),
        )?;
        self.pen.good(&format!(
            "none of {count} tokens, and not alice's name, is in {}",
            found.files.join(", ")
        ));
        Ok(())
    }

    async fn share(&mut self, token: &Secret) -> Result<PublicClient, Failure> {
        self.pen
            .step("other processes get the same user's token, silently");
        let before = self.stage.authority().requests().len();
        let second = self
            .stage
            .tokenkeep(&["token", "--scope", SCOPE])
            .await?
            .succeeded()?;
        expect(second["access_token"] == token.expose(), "it got another token")?;
        self.timings.add_reported("a second process", &second);

        let client = self.session.public_client(Missing::Refuse).await?;
        let account = self.account(&client).await?;
        for who in ["this process", "this process, again"] {
            let result = client.acquire_token_silent([SCOPE]).account(&account).await?;
            expect(
                result.access_token().expose() == token.expose(),
                "this process got another token",
            )?;
            self.timings.add(who, &result);
        }
        let asked = self.stage.authority().requests().len() - before;
        expect(
            asked == 0,
            "the authority was asked although the store has the token",
        )?;
        self.pen
            .good("a second process and this one got it from the store; the authority was not asked");
        Ok(client)
    }

    async fn refresh(&mut self, client: &PublicClient) -> Result<(), Failure> {
        self.pen.step(&format!(
            "the token expires, and {CROWD} processes ask at the same moment"
        ));
        self.stage.shorten_lifetime(SHORT_LIFETIME);
        let account = self.account(client).await?;
        let short = client
            .acquire_token_silent([SCOPE])
            .account(&account)
            .force_refresh(true)
            .await?;
        self.stage.restore_lifetime();
        let expiry = short.expires_on();
        self.pen.line(&format!(
            "a token of {} seconds takes the place of the first",
            SHORT_LIFETIME.as_secs()
        ));
        let clock = self.session.clock();
        while clock.now().to_seconds() <= expiry {
            clock.sleep(Duration::from_millis(50)).await;
        }

        let before = self.stage.authority().grant_count(Grant::RefreshToken).requests;
        let words = ["token", "--scope", SCOPE];
        let crowd = join_all((0..CROWD).map(|_| self.stage.tokenkeep(&words))).await;
        let mut tokens = Vec::new();
        for (number, ran) in crowd.into_iter().enumerate() {
            let object = ran?.succeeded()?;
            self.timings
                .add_reported(&format!("process {} of {CROWD}, at once", number + 1), &object);
            tokens.push(object["access_token"].clone());
        }
        let refreshes = self.stage.authority().grant_count(Grant::RefreshToken).requests - before;
        expect(
            refreshes == 1,
            &format!("the authority saw {refreshes} refreshes"),
        )?;
        expect(
            self.stage.authority().families_revoked() == 0,
            "the authority revoked the session",
        )?;
        tokens.dedup();
        expect(tokens.len() == 1, "they got different tokens")?;
        self.pen.good(&format!(
            "all {CROWD} got the new token; the authority saw one refresh"
        ));
        Ok(())
    }

    async fn rotate_key(&mut self) -> Result<(), Failure> {
        self.pen.step("the encryption key is rotated");
        let rotated = self.stage.tokenkeep(&["keys", "rotate"]).await?.succeeded()?;
        let key = rotated["primary"].as_str().unwrap_or_default().to_owned();
        let resealed = self.stage.tokenkeep(&["keys", "reseal"]).await?.succeeded()?;
        expect(
            resealed["records_by_key"][&key] == 1,
            "the record is not under the new key",
        )?;
        let token = self
            .stage
            .tokenkeep(&["token", "--scope", SCOPE])
            .await?
            .succeeded()?;
        self.timings.add_reported("a process, after the rotation", &token);
        expect(
            token["metadata"]["source"] == "store",
            "the token was not in the store any more",
        )?;
        self.pen.good(&format!(
            "key {key} seals from now on, the record is resealed, and nobody had to sign in"
        ));
        Ok(())
    }

    async fn sign_out(&mut self, client: &PublicClient) -> Result<(), Failure> {
        self.pen
            .step("alice signs out, in one process; every other notices");
        let account = self.account(client).await?;
        self.stage.tokenkeep(&["logout"]).await?.succeeded()?;
        let clock = self.session.clock();
        let began = clock.monotonic();
        let noticed = loop {
            match client.acquire_token_silent([SCOPE]).account(&account).await {
                Err(flows::Error::InteractionRequired(_)) => break clock.monotonic() - began,
                Err(error) => return Err(error.into()),
                Ok(_) if clock.monotonic() - began > NOTICE => {
                    return Err(failed("this process still has a token after the sign-out"));
                }
                Ok(_) => clock.sleep(Duration::from_millis(5)).await,
            }
        };
        self.pen.good(&format!(
            "this process noticed after {} ms and has no token any more",
            noticed.as_millis()
        ));
        let refused = self.stage.tokenkeep(&["token", "--scope", SCOPE]).await?;
        expect(
            refused.exit == Some(i32::from(Exit::InteractionRequired.code()))
                && refused.object["error"]["kind"] == "interaction_required",
            "another process did not notice the sign-out",
        )?;
        self.pen
            .good("a new process answers `interaction required`, exit code 3");
        Ok(())
    }

    fn conclude(self) -> Result<Answer, Failure> {
        let Self { mut pen, timings, .. } = self;
        pen.step("where each token came from, and how long that took");
        timings.lines().iter().for_each(|line| pen.line(line));
        pen.title("What next");
        pen.line(
            "tokenkeep --authority URL --client-id ID --scope SCOPE login device-code    sign in for real",
        );
        pen.line("tokenkeep --authority URL --client-id ID --scope SCOPE token               print a token, silently");
        pen.line(
            "tokenkeep doctor                                                           check this machine",
        );
        Ok(Answer::new(
            json!({ "demo": "passed", "tokens": timings.objects() }),
            "",
        ))
    }

    async fn account(&self, client: &PublicClient) -> Result<cache_core::cache::CachedAccount, Failure> {
        crate::account_choice::choose(client.accounts().await?, None)
    }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(failed(otherwise)) }
}

fn failed(what: &str) -> Failure {
    Failure::new("demo", Exit::Other, what.to_owned()).next("this should not happen; please report it")
}
