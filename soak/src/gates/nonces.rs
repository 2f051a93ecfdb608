//! Gate 15: where nonces come from.

use std::collections::HashSet;
use std::ops::Range;
use std::process::Stdio;
use std::sync::Arc;

use cache_core::random::OsRandom;
use cache_core::seal::{Incarnation, Namespace, RecordKind, RecordMeta, Sealer};
use cache_core::store::MemoryStore;
use cache_core::time::SystemClock;
use cache_testkit::system_calls::{Outcome, Strace, Trace};
use fork::Fork;
use serde::{Deserialize, Serialize};

use crate::child::{Child, Task, tell};
use crate::gate::{Doing, Gate, GateError};
use crate::scene::key_source;
use crate::stage::Stage;
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 15,
    name: "nonces",
    title: "Nonces of sealed records: compared over processes and forks, and with what `getrandom` handed out, recorded by strace",
    must: "0 duplicates, 0 seals without a draw of their own",
    unit: "seals",
    full_size: 1_000_000,
    test_size: 12_000,
    batch: 1_000_000,
    limits: &[
        "At most 20,000 of the seals are recorded: recording takes its time. The recorded process does not fork; the nonces of those that do \
         are compared with all others.",
        "Where a C library draws without a system call (glibc 2.41 on Linux 6.11 and newer), the gate cannot be run; the kernel then sees to \
         forks itself.",
        "A virtual machine that is resumed twice from one snapshot is not tried: Linux tells its generator of that where the hypervisor does.",
    ],
    floors: &[
        ("nonces", 1.0),
        ("seals with a draw of their own", 0.01),
        ("seals after forks", 0.1),
    ],
    run,
};

/// Where the nonce is in a sealed record.
const NONCE: Range<usize> = 89..113;
const NONCE_BYTES: usize = 24;
const MOST_RECORDED: u64 = 20_000;
const FORKS: u64 = 7;
const PROCESSES: u64 = 4;
/// Nonces in a line: fewer bytes than a pipe takes in one piece, so that the lines of forks do not mix.
const TOLD_AT_ONCE: usize = 64;
/// A ring is looked at again after some time.
const FRESHENED_EVERY: u64 = 1_000;

/// Seals records and tells their nonces.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sealing {
    seals: u64,
    /// How often it forks when it has sealed a few. All of them seal then.
    forks: u64,
}

impl Sealing {
    pub(crate) fn perform(self) -> Result<(), GateError> {
        // In one thread: a fork has no other.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing("could not start the runtime")?;
        let sealer = runtime.block_on(Sealer::open(
            Arc::new(MemoryStore::new()),
            Namespace::default(),
            key_source(),
            Arc::new(SystemClock),
            Arc::new(OsRandom),
        ));
        let sealer = sealer.doing("could not open a sealer")?;
        seal(&runtime, &sealer, FRESHENED_EVERY.min(self.seals))?;
        let rest = self.seals.saturating_sub(FRESHENED_EVERY);
        let mut children = Vec::new();
        for _ in 0..self.forks {
            match fork::fork().doing("could not fork")? {
                Fork::Parent(child) => children.push(child),
                Fork::Child => return seal(&runtime, &sealer, rest),
            }
        }
        seal(&runtime, &sealer, rest)?;
        for child in children {
            let status = fork::waitpid(child).doing("could not wait for a fork")?;
            if !fork::WIFEXITED(status) || fork::WEXITSTATUS(status) != 0 {
                return Err(GateError::new("a fork failed"));
            }
        }
        Ok(())
    }
}

fn seal(runtime: &tokio::runtime::Runtime, sealer: &Sealer, seals: u64) -> Result<(), GateError> {
    let key = sealer.stored_key(RecordKind::User, b"user");
    let meta = RecordMeta {
        codec: 1,
        schema: 1,
        incarnation: Incarnation([9; 16]),
        generation: 1,
    };
    let mut told = String::new();
    for number in 0..seals {
        if number % FRESHENED_EVERY == 0 {
            runtime
                .block_on(sealer.freshen())
                .doing("could not look at the ring")?;
        }
        let record = sealer
            .seal(RecordKind::User, &key, meta, b"token")
            .doing("could not seal")?;
        for byte in &record[NONCE] {
            told.push_str(&format!("{byte:02x}"));
        }
        if told.len() == TOLD_AT_ONCE * NONCE_BYTES * 2 || number + 1 == seals {
            tell(&told);
            told.clear();
        }
    }
    Ok(())
}

type Nonce = [u8; NONCE_BYTES];

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let seals = cases.end - cases.start;
    let recorded = (seals / 4).min(MOST_RECORDED);
    let forked = seals / 4;
    let mut tally = Tally::default();
    let mut all = Vec::new();

    let nonces = recorded_nonces(stage, recorded, &mut tally)?;
    tally.add("seals recorded", nonces.len() as u64);
    all.extend(nonces);

    // One of the processes is the parent, and each seals what it had before the fork only once.
    let before = FRESHENED_EVERY.min(forked / 2);
    let each = (forked - before) / (FORKS + 1);
    let mut forking = stage.start(&Task::Seal(Sealing {
        seals: FRESHENED_EVERY + each,
        forks: FORKS,
    }))?;
    let nonces = told(&mut forking)?;
    tally.add("seals after forks", (FORKS + 1) * each);
    tally.add("forks", FORKS);
    all.extend(nonces);

    let rest = seals.saturating_sub(all.len() as u64);
    let mut children = (0..PROCESSES)
        .map(|process| {
            stage.start(&Task::Seal(Sealing {
                seals: rest / PROCESSES + u64::from(process < rest % PROCESSES),
                forks: 0,
            }))
        })
        .collect::<Result<Vec<_>, _>>()?;
    for child in &mut children {
        all.extend(told(child)?);
    }

    tally.add("nonces", all.len() as u64);
    let different: HashSet<Nonce> = all.iter().copied().collect();
    let duplicates = all.len() - different.len();
    tally.check(duplicates == 0, || {
        format!("{duplicates} of {} nonces came before", all.len())
    });
    Ok(tally)
}

/// The nonces of a process whose draws were recorded.
fn recorded_nonces(stage: &Stage, seals: u64, tally: &mut Tally) -> Result<Vec<Nonce>, GateError> {
    let folder = stage.folder()?;
    let record = folder.path().join("calls");
    let task = Task::Seal(Sealing { seals, forks: 0 });
    let mut command = Strace::new(&["getrandom"])
        .record(&record)
        .command(&stage.command(&task)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let nonces = told(&mut Child::spawn(command)?)?;

    let record = std::fs::read_to_string(&record).doing("could not read what was recorded")?;
    let trace = Trace::parse(&record).doing("could not understand what was recorded")?;
    let drawn: Vec<_> = trace
        .calls
        .iter()
        .filter(|call| call.outcome == Outcome::Returned(NONCE_BYTES as i64))
        .filter_map(|call| call.bytes(0))
        .collect();
    tally.add("draws recorded", drawn.len() as u64);
    if trace.calls.is_empty() {
        return Err(GateError::new(
            "no draw is a system call here, so none can be recorded",
        ));
    }
    // The ring has nonces too, which were drawn first.
    let of_seals = &drawn[drawn.len().saturating_sub(nonces.len())..];
    let own = nonces
        .iter()
        .zip(of_seals)
        .filter(|(nonce, drawn)| nonce.as_slice() == **drawn)
        .count();
    tally.add("seals with a draw of their own", own as u64);
    tally.check(own == nonces.len(), || {
        format!(
            "{} of {} recorded seals had no draw of their own",
            nonces.len() - own,
            nonces.len()
        )
    });
    Ok(nonces)
}

fn told(child: &mut Child) -> Result<Vec<Nonce>, GateError> {
    let mut nonces = Vec::new();
    while let Some(line) = child.line()? {
        for digits in line.as_bytes().chunks(NONCE_BYTES * 2) {
            let mut nonce = [0; NONCE_BYTES];
            if digits.len() != NONCE_BYTES * 2 {
                return Err(GateError::new("a child told something else"));
            }
            for (byte, digits) in nonce.iter_mut().zip(digits.chunks(2)) {
                let digits = std::str::from_utf8(digits).doing("a child told something else")?;
                *byte = u8::from_str_radix(digits, 16).doing("a child told something else")?;
            }
            nonces.push(nonce);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(GateError::new(format!("a child failed ({status})")));
    }
    Ok(nonces)
}
