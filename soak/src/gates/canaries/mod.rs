//! Gate 19: secrets where they do not belong.

mod keeper;

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;

use rand::Rng;

use crate::child::Task;
use crate::gate::{Doing, Gate, GateError};
use crate::golden::hex;
use crate::scene::Place;
use crate::stage::{Stage, chance};
use crate::tally::Tally;

pub use keeper::Keeping;
use keeper::{End, READY};

/// The gate.
pub const GATE: Gate = Gate {
    number: 19,
    name: "canaries",
    title: "canary secrets in a process that logs at TRACE, prints the `Debug` of all it holds and every error it can provoke, and ends well, by a panic or by an abort",
    must: "0 found in logs, `Debug`, errors, panics, files, arguments and environment",
    unit: "processes",
    full_size: 300,
    test_size: 3,
    batch: 30,
    limits: &[
        "A live process has its secrets in memory, and so has its core dump, which nothing here prevents: what was found there is told and not judged.",
        "Canaries are searched for as they are, as hexadecimal digits and as base64; not in parts.",
        "Replies of authorities, forms and headers are searched by the tests of `flows` and `cli`.",
    ],
    floors: &[],
    run,
};

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        for case in cases {
            let end = match case % 3 {
                0 => End::Return,
                1 => End::Panic,
                _ => End::Abort,
            };
            keep(stage, case, end, &mut tally)?;
        }
        Ok(tally)
    })
}

/// The secrets of one process. Only their number is in its arguments.
#[derive(Clone, Debug)]
struct Canaries {
    key: [u8; 32],
    tokens: Vec<String>,
}

impl Canaries {
    /// How many tokens there are at the most.
    const TOKENS: usize = 24;

    fn of(case: u64) -> Self {
        let mut chance = chance(GATE.number, case);
        let key = chance.random();
        let token = |_| format!("canary-{}", hex(&chance.random::<[u8; 16]>()));
        Self {
            key,
            tokens: (0..Self::TOKENS).map(token).collect(),
        }
    }

    fn token(&self, number: usize) -> String {
        self.tokens[number % Self::TOKENS].clone()
    }

    /// Each in the forms in which it may be met.
    fn needles(&self) -> Vec<Vec<u8>> {
        let mut needles = vec![self.key.to_vec(), hex(&self.key).into_bytes()];
        for token in &self.tokens {
            // The digits are the secret, whatever stands around them, base64 included: three digits are four letters.
            let digits = token.trim_start_matches("canary-");
            needles.push(digits.as_bytes().to_vec());
            needles.push(hex(digits.as_bytes()).into_bytes());
            needles.extend((0..3).map(|shift| base64_inside(&digits.as_bytes()[shift..])));
        }
        needles
    }
}

/// The base64 of what is wholly inside three-byte groups.
fn base64_inside(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3);
    let sextets = groups.flat_map(|group| {
        let word = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        [18, 12, 6, 0].map(|shift| ALPHABET[(word >> shift & 63) as usize])
    });
    sextets.collect()
}

fn keep(stage: &Stage, case: u64, end: End, tally: &mut Tally) -> Result<(), GateError> {
    let folder = stage.folder()?;
    let needles = Canaries::of(case).needles();
    let keeping = Keeping {
        case,
        place: Place::Sqlite(folder.path().join("cache.db")),
        plaintext: folder.path().join("control.json"),
        end,
    };
    let mut child = stage
        .command(&Task::Keep(keeping))?
        .env("RUST_BACKTRACE", "full")
        .stderr(Stdio::piped())
        .spawn()
        .doing("could not start a child process")?;
    let missing = || GateError::new("a child process has no output");
    let mut output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
    let mut log = child.stderr.take().ok_or_else(missing)?;
    // Its log is longer than a pipe.
    let log = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut said = Vec::new();
    loop {
        let from = said.len();
        let read = output
            .read_until(b'\n', &mut said)
            .doing("a child process was not read")?;
        if read == 0 || said[from..].starts_with(READY.as_bytes()) {
            break;
        }
    }

    let proc = Path::new("/proc").join(child.id().to_string());
    for place in ["cmdline", "environ"] {
        let bytes = fs::read(proc.join(place)).doing(format!("{place} of a child process was not read"))?;
        search(&bytes, &needles, place, case, tally);
    }
    let in_memory = memory(&proc, &needles);
    tally.add(
        "limit: forms of secrets in the memory of a live process",
        in_memory,
    );
    drop(child.stdin.take());
    output
        .read_to_end(&mut said)
        .doing("a child process was not read")?;
    let status = child.wait().doing("could not wait for a child process")?;
    let log = log
        .join()
        .map_err(|_| GateError::new("the log was not read"))?
        .doing("the log was not read")?;
    if status.success() != (end == End::Return) {
        let last = String::from_utf8_lossy(&log)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned();
        return Err(GateError::new(format!(
            "a child process ended with {status}: {last}"
        )));
    }

    tally.add(&format!("processes that ended by {end:?}"), 1);
    tally.add("bytes of logs and panics searched", log.len() as u64);
    tally.add("lines of logs", count(&log, b"\n"));
    search(&log, &needles, "the log", case, tally);
    tally.add("bytes of `Debug` and errors searched", said.len() as u64);
    search(&said, &needles, "`Debug` or an error", case, tally);
    files(folder.path(), &needles, case, tally)
}

/// Searches every file that is left. One of them is in plaintext: a search that finds nothing there is none.
fn files(folder: &Path, needles: &[Vec<u8>], case: u64, tally: &mut Tally) -> Result<(), GateError> {
    for entry in fs::read_dir(folder).doing("a folder was not read")? {
        let path = entry.doing("a folder was not read")?.path();
        let bytes = fs::read(&path).doing("a file was not read")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "control.json" {
            let found = found(&bytes, needles);
            tally.add("control: secrets found in a plaintext file", found);
            tally.check(found > 0, || "the search finds nothing".to_owned());
            continue;
        }
        tally.add("files searched", 1);
        search(&bytes, needles, &name, case, tally);
    }
    Ok(())
}

fn search(bytes: &[u8], needles: &[Vec<u8>], place: &str, case: u64, tally: &mut Tally) {
    let found = found(bytes, needles);
    tally.check(found == 0, || {
        format!("case {case}: {found} forms of secrets in {place}")
    });
}

/// How many of the needles are in the bytes.
fn found(bytes: &[u8], needles: &[Vec<u8>]) -> u64 {
    let is_found = |needle: &&Vec<u8>| count(bytes, needle) > 0;
    needles.iter().filter(is_found).count() as u64
}

fn count(bytes: &[u8], needle: &[u8]) -> u64 {
    let (mut count, mut from) = (0, 0);
    while let Some(at) = position(&bytes[from..], needle) {
        count += 1;
        from += at + needle.len();
    }
    count
}

/// Where `needle` begins. (Comparing at each byte takes minutes for a process's memory without optimisation.)
fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|byte| *byte == needle[0])?;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// How many of the needles are in what a process has written to its memory: what its core dump would hold.
fn memory(proc: &Path, needles: &[Vec<u8>]) -> u64 {
    let (Ok(maps), Ok(mut memory)) = (
        fs::read_to_string(proc.join("maps")),
        fs::File::open(proc.join("mem")),
    ) else {
        return 0;
    };
    let mut bytes = Vec::new();
    for line in maps.lines().filter(|line| line.contains("[heap]")) {
        let range = line
            .split_whitespace()
            .next()
            .and_then(|range| range.split_once('-'));
        let address = |text: &str| u64::from_str_radix(text, 16).ok();
        let Some((Some(start), Some(end))) = range.map(|(start, end)| (address(start), address(end))) else {
            continue;
        };
        if memory.seek(SeekFrom::Start(start)).is_ok() {
            _ = (&mut memory).take(end - start).read_to_end(&mut bytes);
        }
    }
    found(&bytes, needles)
}
