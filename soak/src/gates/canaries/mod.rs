//! Gate 19: secrets where they do not belong.

mod authority;
mod keeper;
mod needles;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use rand::Rng;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::child::Task;
use crate::gate::{Doing, Gate, GateError};
use crate::golden::hex;
use crate::scene::Place;
use crate::stage::{Stage, chance};
use crate::tally::Tally;

pub use keeper::Keeping;
use keeper::{End, KEY, READY};
use needles::Needles;

/// The gate.
pub const GATE: Gate = Gate {
    number: 19,
    name: "canaries",
    title: "canary secrets in a process that logs at TRACE, prints the `Debug` of all it holds and every error it can provoke, starts another \
            program, forbids core dumps, and ends well, by a panic or by an abort, where core dumps are allowed",
    must: "0 found in logs, `Debug`, errors, panics, files, arguments, the environment (but the key that it came by) and that of the program \
           it starts; 0 core dumps",
    unit: "processes",
    full_size: 400,
    test_size: 4,
    batch: 32,
    limits: &[
        "A live process has its secrets in memory: what was found there is told and not judged. A program that does not call `core_dumps::forbid` \
         has them in its core dump too (each fourth process is such a one, for a control, and is counted apart).",
        "Canaries are searched for as they are, as hexadecimal digits and as base64; not in parts.",
        "Replies of authorities, forms and headers are searched by the tests of `flows` and `cli`.",
    ],
    floors: &[
        ("control: secrets found in a plaintext file", 0.7),
        ("lines of logs", 30.0),
        ("bytes of `Debug` and errors searched", 2500.0),
    ],
    run,
};

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    allow_core_dumps()?;
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        for case in cases {
            let end = match case % 4 {
                0 => End::Return,
                1 => End::Panic,
                2 => End::Abort,
                _ => End::AbortWithDump,
            };
            keep(stage, case, end, &mut tally)?;
        }
        Ok(tally)
    })
}

/// Allows the processes that this one starts as large a core dump as it may itself leave.
fn allow_core_dumps() -> Result<(), GateError> {
    let limit = getrlimit(Resource::Core);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Core, most).doing("could not allow core dumps")
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

    /// The key in the forms in which it may be met.
    fn key_forms(&self) -> Needles {
        let base64 = (0..3).map(|shift| base64_inside(&self.key[shift..]));
        let forms = [self.key.to_vec(), hex(&self.key).into_bytes()];
        Needles::new(forms.into_iter().chain(base64).collect())
    }

    /// The tokens in theirs.
    fn token_forms(&self) -> Needles {
        let mut forms = Vec::new();
        for token in &self.tokens {
            // The digits are the secret, whatever stands around them, base64 included: three digits are four letters.
            let digits = token.trim_start_matches("canary-");
            forms.push(digits.as_bytes().to_vec());
            forms.push(hex(digits.as_bytes()).into_bytes());
            forms.extend((0..3).map(|shift| base64_inside(&digits.as_bytes()[shift..])));
        }
        Needles::new(forms)
    }

    /// All of them.
    fn needles(&self) -> Needles {
        let forms = [self.key_forms(), self.token_forms()];
        Needles::new(forms.into_iter().flat_map(|needles| needles.forms).collect())
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
    let canaries = Canaries::of(case);
    let needles = canaries.needles();
    let keeping = Keeping {
        case,
        place: Place::Sqlite(folder.path().join("cache.db")),
        plaintext: folder.path().join("control.json"),
        end,
    };
    let mut child = stage
        .command(&Task::Keep(keeping))?
        .env("RUST_BACKTRACE", "full")
        .env(KEY, hex(&canaries.key))
        // Where a core dump would be.
        .current_dir(folder.path())
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
    let arguments = fs::read(proc.join("cmdline")).doing("the arguments of a child process were not read")?;
    search(&arguments, &needles, "the arguments", case, tally);
    match fs::read(proc.join("environ")) {
        Ok(environment) => {
            let key = canaries.key_forms().found(&environment);
            tally.add(
                "control: environments in which the key was found that came by it",
                (key > 0).into(),
            );
            search(
                &environment,
                &canaries.token_forms(),
                "the environment",
                case,
                tally,
            );
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tally.add("environments that only root may read", 1);
        }
        Err(error) => {
            return Err(GateError::new("the environment of a child process was not read").because(error));
        }
    }
    match memory(&proc, &needles) {
        Ok(found) => tally.add("limit: forms of secrets in the memory of a live process", found),
        Err(_) => tally.add("memories that only root may read", 1),
    }
    drop(child.stdin.take());
    output
        .read_to_end(&mut said)
        .doing("a child process was not read")?;
    let status = child.wait().doing("could not wait for a child process")?;
    let log = log
        .join()
        .map_err(|_| GateError::new("the log was not read"))?
        .doing("the log was not read")?;
    let is_as_expected = match end {
        End::Return => status.success(),
        End::Panic => status.code() == Some(101),
        End::Abort | End::AbortWithDump => status.signal() == Some(Signal::ABORT.as_raw()),
    };
    if !is_as_expected {
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
    tally.add(
        "lines of logs",
        log.iter().filter(|byte| **byte == b'\n').count() as u64,
    );
    search(&log, &needles, "the log", case, tally);
    tally.add("bytes of `Debug` and errors searched", said.len() as u64);
    search(&said, &needles, "`Debug` or an error", case, tally);
    if end == End::AbortWithDump {
        let name = if status.core_dumped() {
            "control: core dumps of processes that do not forbid them"
        } else {
            "control: processes that left no core dump although they do not forbid it, as the system writes none"
        };
        tally.add(name, 1);
    } else {
        tally.check(!status.core_dumped(), || {
            format!("case {case}: a core dump was written ({status})")
        });
    }
    files(folder.path(), &needles, (case, end), tally)
}

/// Searches every file that is left. One of them is in plaintext: a search that finds nothing there is none.
fn files(
    folder: &Path,
    needles: &Needles,
    (case, end): (u64, End),
    tally: &mut Tally,
) -> Result<(), GateError> {
    for entry in fs::read_dir(folder).doing("a folder was not read")? {
        let path = entry.doing("a folder was not read")?.path();
        let bytes = fs::read(&path).doing("a file was not read")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "control.json" {
            let found = needles.found(&bytes);
            tally.add("control: secrets found in a plaintext file", found);
            tally.check(found > 0, || "the search finds nothing".to_owned());
            continue;
        }
        if name.starts_with("core") {
            if end == End::AbortWithDump {
                tally.add("control: forms of secrets in a core dump", needles.found(&bytes));
            } else {
                tally.violation(format_args!("case {case}: a core dump was left: {name}"));
            }
            continue;
        }
        tally.add("files searched", 1);
        search(&bytes, needles, &name, case, tally);
    }
    Ok(())
}

fn search(bytes: &[u8], needles: &Needles, place: &str, case: u64, tally: &mut Tally) {
    let found = needles.found(bytes);
    tally.check(found == 0, || {
        format!("case {case}: {found} forms of secrets in {place}")
    });
}

/// How many of the needles are in what a process may write in its memory: what its core dump would hold.
fn memory(proc: &Path, needles: &Needles) -> std::io::Result<u64> {
    let maps = fs::read_to_string(proc.join("maps"))?;
    let mut memory = fs::File::open(proc.join("mem"))?;
    let mut found = BTreeSet::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some("rw-p" | "rw-s" | "rwxp")) = (fields.next(), fields.next()) else {
            continue;
        };
        let address = |text: &str| u64::from_str_radix(text, 16).ok();
        let range = range.split_once('-');
        let Some((Some(start), Some(end))) = range.map(|(start, end)| (address(start), address(end))) else {
            continue;
        };
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start))?;
        // The system's own pages among them cannot be read.
        _ = (&mut memory).take(end - start).read_to_end(&mut bytes);
        needles.find(&bytes, &mut found);
    }
    Ok(found.len() as u64)
}
