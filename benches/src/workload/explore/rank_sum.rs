//! Whether runs of one strategy differ from those of another by more than chance: the rank-sum test of Wilcoxon, Mann and Whitney,
//! exact, which assumes nothing of how figures are spread.

/// How likely it is that chance alone makes `these` as much greater than `those` as they are: 1 where there is nothing to compare.
///
/// With three runs of each, all of `these` above all of `those` is a matter of chance once in twenty times.
pub(super) fn by_chance(these: &[f64], those: &[f64]) -> f64 {
    if these.is_empty() || those.is_empty() {
        return 1.0;
    }
    // Each pair in which the greater is not among `these` speaks for chance, and a tie does as well.
    let against = these
        .iter()
        .map(|this| those.iter().filter(|that| *that >= this).count())
        .sum::<usize>();
    let ways = ways(these.len(), those.len());
    let as_extreme: f64 = ways.iter().take(against + 1).sum();
    as_extreme / ways.iter().sum::<f64>()
}

/// In how many orders of `m` and `n` values there are 0, 1, 2, … pairs in which the greater one is among the `n`.
fn ways(m: usize, n: usize) -> Vec<f64> {
    // The row of `m` for each number up to `n`, from that of one fewer: the greatest of all is among the `m` and above each of the
    // `n`, or among the `n` and above each of the `m`.
    let mut row = vec![vec![1.0]; n + 1];
    for of_these in 1..=m {
        let mut next: Vec<Vec<f64>> = vec![vec![1.0]];
        for of_those in 1..=n {
            let mut counts = vec![0.0; of_these * of_those + 1];
            for (pairs, count) in row[of_those].iter().enumerate() {
                counts[pairs] += count;
            }
            for (pairs, count) in next[of_those - 1].iter().enumerate() {
                counts[pairs + of_these] += count;
            }
            next.push(counts);
        }
        row = next;
    }
    row.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_counted() {
        assert_eq!(ways(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert!((ways(3, 3).iter().sum::<f64>() - 20.0).abs() < 1e-9);
        assert!((ways(5, 4).iter().sum::<f64>() - 126.0).abs() < 1e-9);
    }

    #[test]
    fn three_above_three_are_chance_once_in_twenty() {
        let chance = by_chance(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]);
        assert!((chance - 0.05).abs() < 1e-9, "{chance}");
        assert!(by_chance(&[4.0, 5.0], &[1.0, 2.0]) > 0.15, "two say too little");
        assert!(
            by_chance(&[1.0, 5.0, 6.0], &[1.0, 2.0, 3.0]) > 0.05,
            "nor do ties"
        );
        assert!((by_chance(&[], &[1.0]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn among_many_runs_one_that_went_wrong_does_not_decide() {
        let these = [60.0, 61.0, 62.0, 63.0, 64.0, 65.0];
        let those = [2.0, 3.0, 2.5, 2.2, 90.0, 2.1];
        assert!(by_chance(&these, &those) < 0.05);
    }
}
