//! A program that keeps its cache's key in a keychain, in a process of its own that the tests talk to.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::OsRandom;
use cache_core::seal::{
    FileKeySource, Incarnation, KeySource, KeySourceError, Namespace, RecordKind, RecordMeta, SealError,
    Sealer,
};
use cache_core::store::{PutOptions, Store, StoreError};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::{KeyPolicy, Keychain, KeychainConfig, KeychainError, KeychainKeySource, Prompt};
use cache_sqlite::{SqliteConfig, SqliteStore};
use futures_util::TryStreamExt;

/// The test that is the program, when it is run with [`FOLDER`].
pub(crate) const NAME: &str = "inside::program";

/// Where the program keeps its cache.
pub(crate) const FOLDER: &str = "TOKENKEEP_TEST_FOLDER";
/// The name of its items.
pub(crate) const SERVICE: &str = "TOKENKEEP_TEST_SERVICE";

/// How long the program's user is waited for, in milliseconds. Nobody is asked where it is not there.
pub(crate) const WAIT: &str = "TOKENKEEP_TEST_WAIT";

/// How long the program lets a keychain take. The tests know only this of time.
pub(crate) const DEADLINE: Duration = Duration::from_millis(1500);

const MARK: &str = "answer: ";

/// The program, seen from outside.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What the program says to a line.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) word: String,
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl Program {
    /// Starts `command`, which runs this binary with [`NAME`].
    pub(crate) fn start(mut command: Command, folder: &Path, service: &str) -> Self {
        let mut child = command
            .env(FOLDER, folder)
            .env(SERVICE, service)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub(crate) fn hear(&mut self) -> Answer {
        let mut lines = (&mut self.output).lines().map(Result::unwrap);
        let answer = lines.find_map(|line| Some(line.split_once(MARK)?.1.to_owned()));
        let answer = answer.expect("the program ended");
        let mut parts = answer.splitn(3, ' ');
        let (word, took) = (parts.next().unwrap().to_owned(), parts.next().unwrap());
        Answer {
            word,
            took: Duration::from_millis(took.parse().unwrap()),
            text: parts.next().unwrap_or_default().to_owned(),
        }
    }

    /// What the program says to `line`. Whatever it says, it says in time.
    pub(crate) fn ask(&mut self, line: &str) -> Answer {
        self.tell(line);
        let answer = self.hear();
        // An opening asks the keychain at most three times: write, read back, remove.
        assert!(answer.took < DEADLINE * 4 + Duration::from_secs(20), "{answer:?}");
        answer
    }

    /// How many records its store holds.
    pub(crate) fn records(&mut self) -> String {
        self.expect("records", "ok").text
    }

    pub(crate) fn expect(&mut self, line: &str, word: &str) -> Answer {
        let answer = self.ask(line);
        assert_eq!(answer.word, word, "{line}: {answer:?}");
        answer
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// That the program left nothing in its folder but the database, and nothing in that.
pub(crate) fn assert_nothing_was_written(program: &mut Program, folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with("cache.db"), "{name} was written");
    }
    assert_eq!(program.records(), "0");
}

#[tokio::test]
async fn program() {
    let (Some(folder), Ok(service)) = (std::env::var_os(FOLDER), std::env::var(SERVICE)) else {
        return;
    };
    let folder = Path::new(&folder);
    let mut config = KeychainConfig::new(service).deadline(DEADLINE);
    if let Ok(millis) = std::env::var(WAIT) {
        config = config.prompt(Prompt::WaitFor(Duration::from_millis(millis.parse().unwrap())));
    }
    let native = Keychain::native(config.clone());
    let keyutils = Keychain::keyutils(config);
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let mut words = line.split_whitespace();
        let (action, which) = (words.next().unwrap(), words.next().unwrap_or("native"));
        let keychain = if which == "keyutils" { &keyutils } else { &native };
        let start = SystemClock.monotonic();
        let (word, text) = act(action, keychain, folder, words).await;
        let took = SystemClock.monotonic().saturating_sub(start).as_millis();
        println!("\n{MARK}{word} {took} {}", text.replace('\n', " "));
    }
}

async fn act<'a>(
    action: &str,
    keychain: &Keychain,
    folder: &Path,
    arguments: impl Iterator<Item = &'a str>,
) -> (String, String) {
    let source = KeychainKeySource::new(keychain.clone());
    let prefer = KeyPolicy::PreferKeychain {
        otherwise: Arc::new(FileKeySource::new(folder.join("key"))),
    };
    let outcome = match action {
        // Opens the cache, which is made where there is none.
        "open" => open(folder, KeyPolicy::RequireKeychain.source(keychain.clone())).await,
        "prefer" => open(folder, prefer.source(keychain.clone())).await,
        "records" => records(folder).await.map_err(Failure::from),
        "rotate" => rotate(folder, &source).await,
        "try" => keychain
            .try_out()
            .await
            .map(|()| String::new())
            .map_err(Failure::from),
        // Several calls at once.
        "together" => {
            let calls = (0..4).map(|_| keychain.try_out());
            let answers = futures_util::future::join_all(calls).await;
            let words = answers.into_iter().map(|answer| match answer {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{:?}", error.kind()),
            });
            Ok(words.collect::<Vec<_>>().join(" "))
        }
        "list" => source
            .list()
            .await
            .map(|keys| keys.len().to_string())
            .map_err(Failure::from),
        "clear" => clear(&source).await.map_err(Failure::from),
        "examine" => {
            let report = keychain.examine().await;
            let (present, locked) = (report.is_present(), report.is_locked());
            Ok(format!(
                "present={present} locked={locked} persistence={:?} {report}",
                report.persistence
            ))
        }
        // A program beside it, in the same session.
        "run" => {
            let output = run(arguments);
            assert!(output.status.success(), "{output:?}");
            Ok(String::from_utf8(output.stdout).unwrap())
        }
        "attempt" => Ok(run(arguments).status.to_string()),
        other => panic!("{other} is nothing to do"),
    };
    match outcome {
        Ok(text) => ("ok".to_owned(), text),
        Err(failure) => failure.said(),
    }
}

fn run<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Output {
    let program = arguments.next().unwrap();
    Command::new(program).args(arguments).output().unwrap()
}

async fn open(folder: &Path, source: Arc<dyn KeySource>) -> Result<String, Failure> {
    let sealer = open_sealer(folder, source).await?;
    let mut shown = String::new();
    for key in sealer.keys() {
        write!(shown, "{} ", key.id).unwrap();
    }
    Ok(format!(
        "{shown}{}",
        sealer
            .key_source()
            .await
            .map_or_else(|| "none".to_owned(), |description| description.kind().to_owned())
    ))
}

async fn open_sealer(folder: &Path, source: Arc<dyn KeySource>) -> Result<Sealer, SealError> {
    let store = SqliteStore::open(SqliteConfig::new(folder.join("cache.db"))).await?;
    let namespace = Namespace::new("test").unwrap();
    let store = Arc::new(store);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
    let sealer = Sealer::open(store.clone(), namespace, source, clock, random).await?;
    // Something that only this ring can open.
    let key = sealer.stored_key(RecordKind::User, b"somebody");
    let payload = match store.get(&key).await? {
        Some(record) => {
            sealer
                .open_record(RecordKind::User, &key, &record.payload)?
                .payload
        }
        None => {
            let meta = RecordMeta {
                codec: 1,
                schema: 1,
                incarnation: Incarnation::random(&OsRandom).unwrap(),
                generation: 1,
            };
            let record = sealer.seal(RecordKind::User, &key, meta, b"a token")?;
            // Another process may be faster; then it is as good.
            let _ = store.put(&key, record, PutOptions::create()).await;
            return Ok(sealer);
        }
    };
    assert_eq!(payload.expose(), b"a token");
    Ok(sealer)
}

/// A new key; the former one is listed as unused, and can be removed; the new one cannot.
async fn rotate(folder: &Path, source: &KeychainKeySource) -> Result<String, Failure> {
    let sealer = open_sealer(folder, Arc::new(source.clone())).await?;
    let former = source.rotate(&sealer).await?.unwrap();
    let current = sealer.key_source().await.unwrap();
    assert_ne!(former, current);
    assert_eq!(source.list().await?.len(), 2);
    assert_eq!(
        source.unused(std::slice::from_ref(&current)).await?,
        std::slice::from_ref(&former)
    );
    let refused = source.delete_former(&current, &sealer).await.unwrap_err();
    assert!(matches!(refused, KeySourceError::Parameters { .. }), "{refused}");
    assert!(source.delete_former(&former, &sealer).await?);
    assert!(!source.delete_former(&former, &sealer).await?);
    assert_eq!(source.list().await?, [current]);
    Ok(String::new())
}

async fn records(folder: &Path) -> Result<String, StoreError> {
    let store = SqliteStore::open(SqliteConfig::new(folder.join("cache.db"))).await?;
    let records: Vec<_> = store.scan("").try_collect().await?;
    store.close().await;
    Ok(records.len().to_string())
}

async fn clear(source: &KeychainKeySource) -> Result<String, KeySourceError> {
    for key in source.list().await? {
        source.delete(&key).await?;
    }
    Ok(String::new())
}

struct Failure(Box<dyn Error>);

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    /// The kind of the keychain's error, or of the key source's; and what a person reads of the whole chain.
    fn said(&self) -> (String, String) {
        let (mut word, mut text) = (String::new(), Vec::new());
        let mut next: Option<&(dyn Error + 'static)> = Some(&*self.0);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<KeySourceError>() {
                let shown = format!("{error:?}");
                word = shown.split([' ', '(']).next().unwrap().to_owned();
            }
            if let Some(error) = error.downcast_ref::<KeychainError>() {
                word = format!("{:?}", error.kind());
            }
            text.push(error.to_string());
            next = error.source();
        }
        (
            if word.is_empty() { "other".to_owned() } else { word },
            text.join(": "),
        )
    }
}
