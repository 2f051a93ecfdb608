//! What rounds of killing a primary amount to.

use std::fmt;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::workload::Workload;

/// How long it took in each round until every task could write again.
#[derive(Default)]
pub(crate) struct Rounds {
    recoveries: Vec<Duration>,
    /// How many acknowledged writes had been lost at the end of each round.
    lost: Vec<u64>,
}

impl Rounds {
    /// To be called before the primary is killed.
    pub(crate) async fn before(&self, workload: &Workload) {
        workload.until_all_succeed(20).await;
        workload.each(Ledger::take_longest_gap);
    }

    /// To be called when there is another primary.
    pub(crate) async fn after(&mut self, workload: &Workload) {
        workload.until_all_succeed(20).await;
        // From its last success before to its first one after: the longest wait of any task.
        let longest = workload.each(Ledger::take_longest_gap).into_iter().max();
        self.recoveries.push(longest.unwrap_or_default());
        self.lost.push(workload.each(|ledger| ledger.lost).iter().sum());
    }

    /// Prints the figures.
    pub(crate) fn report(&self, what: &str, ledgers: &[Ledger]) -> u64 {
        let sum = |of: fn(&Ledger) -> u64| ledgers.iter().map(of).sum::<u64>();
        let lost = sum(|ledger| ledger.lost);
        println!(
            "{what}: {self}; {} increments acknowledged, {lost} of them lost (in {} rounds); {} attempts failed, {} of \
             them with an unknown outcome",
            sum(|ledger| ledger.successes),
            self.rounds_with_losses(),
            sum(|ledger| ledger.failures),
            sum(|ledger| ledger.unknown),
        );
        lost
    }
}

impl Rounds {
    fn rounds_with_losses(&self) -> usize {
        let before = std::iter::once(&0).chain(&self.lost);
        self.lost
            .iter()
            .zip(before)
            .filter(|(now, before)| now > before)
            .count()
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default().as_millis();
        write!(
            f,
            "{} rounds, recovery min {} ms, median {} ms, max {} ms",
            sorted.len(),
            at(0),
            at(sorted.len() / 2),
            at(sorted.len().saturating_sub(1)),
        )
    }
}
