//! The rule on results that were made up.

use super::*;
use crate::workload::presets;
use crate::workload::strategy::{Refresh, Write};

const NEEDS: Needs = Needs {
    round_trip_nanoseconds: 60e6,
    memory_bytes: Some(100 << 20),
    requests_per_second: Some(500.0),
};

fn own() -> Candidate {
    Candidate::of(&presets::workload("multi-tenant-daemon").unwrap())
}

/// A run of two seconds.
fn run(milliseconds: f64, requests: u64, microseconds: f64) -> Figures {
    Figures {
        median_nanoseconds: 1000.0,
        p99_nanoseconds: milliseconds * 1e6,
        slowest_nanoseconds: milliseconds * 1e6,
        requests_per_second: lossy(requests) / 2.0,
        requests,
        cpu_nanoseconds: microseconds * 1e3,
        waits_per_second: 4000.0,
        grown_bytes: Some(20 << 20),
        failed: 0,
        calls: 8000,
    }
}

fn contender(change: impl FnOnce(&mut Candidate), runs: &[Figures]) -> Contender {
    let mut candidate = own();
    change(&mut candidate);
    Contender {
        candidate,
        runs: runs.to_vec(),
    }
}

fn as_is(_: &mut Candidate) {}

fn on_demand(candidate: &mut Candidate) {
    candidate.strategy.refresh = Refresh::OnDemand;
}

fn without_memory(candidate: &mut Candidate) {
    candidate.strategy.memory_bytes = 0;
}

fn chosen(contenders: &[Contender]) -> Choice {
    let all: Vec<_> = (0..contenders.len()).collect();
    choose(contenders, &all, &own(), &NEEDS).unwrap()
}

#[test]
fn who_waits_is_asked_first_and_nothing_makes_up_for_it() {
    let slow = [run(60.0, 10, 5.0), run(58.0, 11, 5.0), run(61.0, 10, 5.0)];
    let fast = [run(6.0, 300, 9.0), run(6.4, 310, 9.0), run(5.0, 300, 9.0)];
    let choice = chosen(&[contender(as_is, &slow), contender(on_demand, &fast)]);
    assert_eq!((choice.chosen, choice.runner_up), (1, Some(0)));
    assert_eq!(choice.out_at, [Some(Step::Waits), None]);
    assert_eq!(choice.decided_by(), Some(Step::Waits));
}

#[test]
fn what_is_lost_in_a_round_trip_is_no_wait() {
    // Ten times as slow, and half a millisecond beside the sixty of every request.
    let slower = [run(0.5, 100, 9.0), run(0.51, 100, 9.0), run(0.52, 100, 9.0)];
    let faster = [run(0.05, 200, 9.0), run(0.05, 201, 9.0), run(0.05, 205, 9.0)];
    let choice = chosen(&[contender(as_is, &faster), contender(without_memory, &slower)]);
    assert_eq!(choice.chosen, 1);
    assert_eq!(choice.decided_by(), Some(Step::Requests), "half as many");
}

#[test]
fn noise_decides_nothing() {
    // The other is better in the median, but not by more than its own runs differ.
    let ours = [run(20.0, 100, 9.0), run(9.0, 100, 9.0), run(14.0, 100, 9.0)];
    let other = [run(8.0, 100, 9.0), run(16.0, 100, 9.0), run(10.0, 100, 9.0)];
    let choice = chosen(&[contender(as_is, &ours), contender(on_demand, &other)]);
    assert_eq!(choice.chosen, 0, "the workload's own stays");
    assert_eq!(choice.out_at, [None, Some(Step::Settings)]);
    assert_eq!(choice.runner_up, Some(1));
}

#[test]
fn a_count_varies_by_its_root() {
    let ours = [run(5.0, 30, 9.0), run(5.0, 31, 9.0), run(5.0, 32, 9.0)];
    let other = [run(5.0, 25, 9.0), run(5.0, 26, 9.0), run(5.0, 27, 9.0)];
    let choice = chosen(&[contender(as_is, &ours), contender(on_demand, &other)]);
    assert_eq!(choice.chosen, 0, "five of thirty are chance");
    let many = [run(5.0, 300, 9.0), run(5.0, 310, 9.0), run(5.0, 320, 9.0)];
    let fewer = [run(5.0, 200, 9.0), run(5.0, 210, 9.0), run(5.0, 220, 9.0)];
    let choice = chosen(&[contender(as_is, &many), contender(on_demand, &fewer)]);
    assert_eq!((choice.chosen, choice.decided_by()), (1, Some(Step::Requests)));
}

#[test]
fn two_runs_are_too_few_to_tell() {
    let slow = [run(60.0, 10, 5.0), run(58.0, 11, 5.0)];
    let fast = [run(6.0, 10, 5.0), run(6.4, 10, 5.0)];
    let choice = chosen(&[contender(as_is, &slow), contender(on_demand, &fast)]);
    assert_eq!((choice.chosen, choice.decided_by()), (0, Some(Step::Settings)));
}

#[test]
fn processor_time_counts_where_it_is_a_part_of_a_processor() {
    let ours = [run(5.0, 100, 30.0), run(5.0, 100, 31.0), run(5.0, 100, 32.0)];
    let cheap = [run(5.0, 100, 20.0), run(5.0, 100, 21.0), run(5.0, 100, 22.0)];
    let contenders = [contender(as_is, &ours), contender(without_memory, &cheap)];
    assert_eq!(
        chosen(&contenders).decided_by(),
        Some(Step::Processor),
        "4 % of one"
    );
    let hardly = [run(5.0, 100, 29.0), run(5.0, 100, 29.1), run(5.0, 100, 29.2)];
    let contenders = [contender(as_is, &ours), contender(without_memory, &hardly)];
    assert_eq!(
        chosen(&contenders).chosen,
        0,
        "2 µs of 4,000 calls are less than 1 %"
    );
}

#[test]
fn of_those_that_are_alike_the_one_that_changes_least_is_chosen() {
    let runs = [run(5.0, 100, 9.0), run(5.1, 100, 9.1), run(5.2, 100, 9.2)];
    let much = |candidate: &mut Candidate| {
        on_demand(candidate);
        candidate.strategy.write = Write::Through;
    };
    let slow = [run(50.0, 100, 9.0); 3];
    let contenders = [
        contender(as_is, &slow),
        contender(much, &runs),
        contender(on_demand, &runs),
    ];
    let choice = chosen(&contenders);
    assert_eq!((choice.chosen, choice.runner_up), (2, Some(1)));
    assert_eq!(choice.out_at, [Some(Step::Waits), Some(Step::Settings), None]);
}

#[test]
fn what_does_not_meet_the_needs_is_not_chosen_however_good_it_is() {
    let failing = Figures {
        failed: 1,
        ..run(1.0, 1, 1.0)
    };
    let large = Figures {
        grown_bytes: Some(101 << 20),
        ..run(1.0, 1, 1.0)
    };
    let greedy = run(1.0, 1100, 1.0);
    let mut contenders = vec![contender(as_is, &[run(50.0, 100, 20.0); 3])];
    for unfit in [failing, large, greedy] {
        contenders.push(contender(on_demand, &[unfit; 3]));
    }
    let plain = |candidate: &mut Candidate| candidate.strategy.seal = Sealing::Plaintext;
    contenders.push(contender(plain, &[run(1.0, 1, 1.0); 3]));
    let choice = chosen(&contenders);
    assert_eq!(choice.chosen, 0);
    assert_eq!(choice.out_at[1..], [Some(Step::Needs); 4]);
    assert_eq!(choice.runner_up, None, "what is ruled out is no rival");
    let choice = chosen(&contenders[1..3]);
    assert_eq!(
        choice.decided_by(),
        Some(Step::Settings),
        "where none does, they are compared"
    );
}

#[test]
fn after_one_run_the_most_promising_come_first() {
    let contenders = [
        contender(as_is, &[run(50.0, 10, 9.0)]),
        contender(on_demand, &[run(5.0, 200, 9.0)]),
        contender(without_memory, &[run(5.1, 100, 9.0)]),
        contender(as_is, &[run(20.0, 10, 9.0)]),
    ];
    let order = screen(&contenders, &[0, 1, 2, 3], &own(), &NEEDS);
    assert_eq!(
        order,
        [
            (2, None),
            (1, Some(Step::Requests)),
            (3, Some(Step::Waits)),
            (0, Some(Step::Waits))
        ]
    );
}

#[test]
fn without_runs_there_is_no_choice() {
    assert!(choose(&[], &[], &own(), &NEEDS).is_none());
    assert!(choose(&[contender(as_is, &[])], &[0], &own(), &NEEDS).is_none());
    assert!(screen(&[], &[], &own(), &NEEDS).is_empty());
}
