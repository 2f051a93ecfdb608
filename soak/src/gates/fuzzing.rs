//! Gate 16: bytes that an attacker chooses.

use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use fuzz::{Outcome, TARGETS, Target};
use rand::Rng;
use rand::rngs::StdRng;

use crate::fuzzer::{Broken, Fuzzer};
use crate::gate::{Gate, GateError};
use crate::golden::hex;
use crate::stage::{Stage, chance};
use crate::tally::Tally;

/// The gate. The first cases, one a target, run its seeds and what is near them in this process; each further case is a slice of a run that is
/// guided by coverage.
pub const GATE: Gate = Gate {
    number: 16,
    name: "fuzzing",
    title: "coverage-guided fuzzing of bytes that an attacker chooses: sealed records and the key ring, bincode and MSAL JSON behind the seal, \
            files for an import, `WWW-Authenticate`, discovery documents, ID tokens and JWKS, replies of token and device endpoints and of managed \
            identities; and of operations with faults against an oracle",
    must: "0 panics, 0 broken promises; no input (of 8 KiB at the most) takes 10 s, and no program 768 MiB",
    unit: "slices",
    full_size: NEAR + 20 * ROUND.len() as u64,
    test_size: NEAR,
    batch: ROUND.len() as u64,
    limits: &[
        "The first 11 slices are each the seeds of a target and 400 inputs near them; each other slice is 500,000 executions guided by coverage, \
         not counting what was found before. That is 10^8 executions of the records' target and 10^7 of each other. For 10^9: \
         `cargo xtask fuzz TARGET --runs 1000000000`.",
        "Not fuzzed: the manifest of a store in the keychain, hashes and announcements of Redis, the request that a browser sends to the loopback \
         listener, the Azure CLI's configuration, lock files of MSAL programs. Their readers have tests.",
        "Ciphertexts are not forged by chance: behind the AEAD, decoders are reached by targets of their own. Nor are signatures.",
        "The programs run without sanitizers; the workspace has no unsafe code, and its dependencies' is not watched.",
    ],
    floors: &[],
    run,
};

const NEAR: u64 = TARGETS.len() as u64;

const EXECUTIONS: u64 = 500_000;

/// What the slices of one round are of: ten of the records, one of each other. The last target takes as long as all others together, so it is
/// where a batch of as many begins.
const ROUND: [usize; 20] = [0, 1, 0, 2, 0, 3, 0, 4, 0, 10, 0, 6, 0, 7, 0, 8, 0, 9, 0, 5];

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    // Slices are of very different lengths: whoever is done takes the next.
    let next = AtomicU64::new(cases.start);
    stage.in_parallel(0..2, |_| {
        let mut tally = Tally::default();
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= cases.end {
                return Ok(tally);
            }
            match case.checked_sub(NEAR) {
                None => near_the_seeds(&TARGETS[index(case)], case, &mut tally),
                Some(slice) => {
                    let of = ROUND[index(slice % ROUND.len() as u64)];
                    guided_by_coverage(&TARGETS[of], case, &mut tally)?;
                }
            }
        }
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it is smaller than a table's length"
)]
fn index(number: u64) -> usize {
    number as usize
}

fn guided_by_coverage(target: &Target, case: u64, tally: &mut Tally) -> Result<(), GateError> {
    let fuzzer = Fuzzer::from_environment()?;
    let name = target.name;
    // What broke a promise once is forgotten by nobody.
    for input in fuzzer.found(target)? {
        tally.add("inputs run again that had broken a promise", 1);
        if let Some(broken) = fuzzer.breaks(target, &input)? {
            violated(name, broken, tally);
        }
    }
    let run = fuzzer.run(target, EXECUTIONS, case)?;
    tally.add(
        &format!("executions of {name}, guided by coverage"),
        run.executions,
    );
    tally.add(
        &format!("inputs of {name} that reached something new"),
        run.new_inputs,
    );
    tally.at_most(&format!("edges reached by {name}"), run.edges);
    tally.at_most("slowest input in s", run.slowest);
    tally.at_most("peak memory in MiB", run.peak);
    if let Some(broken) = run.broken {
        violated(name, broken, tally);
    }
    Ok(())
}

fn violated(name: &str, broken: Broken, tally: &mut Tally) {
    let input = broken.input.map_or_else(
        || "no input was written".to_owned(),
        |path| std::fs::read(path).map_or_else(|error| error.to_string(), |input| hex(&input)),
    );
    tally.violation(format_args!("{name}: {}: {input}", broken.message));
}

/// How many inputs near the seeds are run in this process.
const NEIGHBOURS: u64 = 400;

fn near_the_seeds(target: &Target, case: u64, tally: &mut Tally) {
    let seeds = (target.seeds)();
    let mut chance = chance(GATE.number, case);
    let neighbours = (0..NEIGHBOURS).map(|_| neighbour(&seeds, target.max_len, &mut chance));
    for input in seeds.iter().cloned().chain(neighbours) {
        let became = match catch_unwind(|| (target.run)(&input)) {
            Ok(Outcome::Taken) => "taken",
            Ok(Outcome::Refused) => "refused",
            Err(_) => {
                tally.violation(format_args!("{}: a panic at {}", target.name, hex(&input)));
                continue;
            }
        };
        tally.add(
            &format!("inputs of {} near its seeds that were {became}", target.name),
            1,
        );
    }
}

/// A seed with a few changes, of the kinds that an attacker tries first.
fn neighbour(seeds: &[Vec<u8>], max_len: usize, chance: &mut StdRng) -> Vec<u8> {
    let mut input = seeds[chance.random_range(0..seeds.len())].clone();
    for _ in 0..chance.random_range(1..4) {
        let at = chance.random_range(0..=input.len());
        match chance.random_range(0..6) {
            0 => input.truncate(at),
            1 => input.insert(at, chance.random()),
            2 => {
                let other = &seeds[chance.random_range(0..seeds.len())];
                let from = chance.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            3 => {
                // A length or a number at its end.
                let value = [0, 0x7F, 0x80, 0xFC, 0xFD, 0xFF][chance.random_range(0..6)];
                let until = input.len().min(at + chance.random_range(1..9));
                input[at..until].fill(value);
            }
            4 if at < input.len() => _ = input.remove(at),
            _ if at < input.len() => input[at] ^= 1 << chance.random_range(0..8),
            _ => {}
        }
    }
    input.truncate(max_len);
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzer::{MEBIBYTES, SECONDS};

    #[test]
    fn what_is_published_is_what_is_run() {
        for (target, name) in TARGETS.iter().enumerate() {
            let slices = ROUND.iter().filter(|of| **of == target).count() as u64;
            let executions = slices * EXECUTIONS * ((GATE.full_size - NEAR) / ROUND.len() as u64);
            let expected = if target == 0 { 100_000_000 } else { 10_000_000 };
            assert_eq!(executions, expected, "{}", name.name);
            assert!(name.max_len <= 8192, "{}", name.name);
        }
        assert!(
            GATE.must.contains(&format!("{SECONDS} s")) && GATE.must.contains(&format!("{MEBIBYTES} MiB"))
        );
        assert!(GATE.limits[0].contains(&format!("first {NEAR} slices")));
        assert!(GATE.limits[0].contains(&format!("{NEIGHBOURS} inputs")));
    }
}
