//! Whether two sets of numbers differ, by ranks alone.
//!
//! Rates and waiting times on a real machine have tails, and the mean of five runs is what the one bad run makes it. So
//! nothing here supposes a shape: the test is Mann and Whitney's (Wilcoxon's rank sum), exact by counting, ties
//! included, for up to [`EXACT_MAX`] numbers together, and by the normal approximation beyond. The interval of the
//! change is that of Hodges and Lehmann: the middle of all quotients of a number after and a number before. See e.g.
//! Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, chapter 4.

/// Most numbers, of both sides together, whose arrangements are counted.
pub const EXACT_MAX: usize = 80;

/// By how much the second set differs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    /// The middle of the quotients after / before: 1.1 is ten percent more.
    pub ratio: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
}

/// How likely a difference in ranks at least this large is when both sets come from one source, 0 to 1. `None` if one
/// of them is empty.
#[must_use]
pub fn p_value(before: &[f64], after: &[f64]) -> Option<f64> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let ranks = doubled_ranks(before, after);
    let sum: usize = ranks[..before.len()].iter().sum();
    let expected = before.len() * (ranks.len() + 1);
    let distance = sum.abs_diff(expected);
    if ranks.len() <= EXACT_MAX {
        return Some(exact(&ranks, before.len(), expected, distance));
    }
    Some(approximate(&ranks, before.len(), distance))
}

/// The least p that so many numbers on each side can reach, when all of one are above all of the other.
#[must_use]
pub fn p_least(before: usize, after: usize) -> f64 {
    // Two of all the ways to choose which of them are the first side's.
    let (n, k) = (before + after, before.min(after));
    let ways = (0..k).fold(1.0, |ways, i| ways * number(n - i) / number(i + 1));
    (2.0 / ways).min(1.0)
}

/// The change with an interval of `confidence`; `None` unless all numbers are above 0.
#[must_use]
pub fn change(before: &[f64], after: &[f64], confidence: f64) -> Option<Change> {
    if before.is_empty()
        || after.is_empty()
        || before.iter().chain(after).any(|value| *value <= 0.0)
    {
        return None;
    }
    let mut ratios: Vec<f64> =
        after.iter().flat_map(|a| before.iter().map(move |b| a / b)).collect();
    ratios.sort_by(f64::total_cmp);
    let cut = cut(before.len(), after.len(), 1.0 - confidence).min((ratios.len() - 1) / 2);
    let ratio = crate::statistics::quantile(&ratios, 0.5);
    Some(Change { ratio, low: ratios[cut], high: ratios[ratios.len() - 1 - cut] })
}

/// Twice the rank of each number among all (equal ones share the middle of theirs), the first set's first.
fn doubled_ranks(before: &[f64], after: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = before.iter().chain(after).copied().collect();
    let rank = |value: &f64| {
        let below = all.iter().filter(|other| other.total_cmp(value).is_lt()).count();
        let equal = all.iter().filter(|other| other.total_cmp(value).is_eq()).count();
        2 * below + equal + 1
    };
    all.iter().map(rank).collect()
}

/// Counts the choices of `chosen` ranks whose sum is at least `distance` from what is expected.
fn exact(ranks: &[usize], chosen: usize, expected: usize, distance: usize) -> f64 {
    let sums = sums(ranks, chosen);
    let all: f64 = sums.iter().sum();
    let far = sums.iter().enumerate().filter(|(sum, _)| sum.abs_diff(expected) >= distance);
    (far.map(|(_, ways)| ways).sum::<f64>() / all).min(1.0)
}

/// In how many ways `chosen` of the ranks have each sum.
fn sums(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let largest: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0_f64; largest + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for (seen, rank) in ranks.iter().enumerate() {
        for count in (1..=chosen.min(seen + 1)).rev() {
            for sum in (*rank..=largest).rev() {
                ways[count][sum] += ways[count - 1][sum - rank];
            }
        }
    }
    ways.pop().unwrap_or_default()
}

fn approximate(ranks: &[usize], chosen: usize, distance: usize) -> f64 {
    let n = number(ranks.len());
    let mean = n + 1.0;
    let spread: f64 = ranks.iter().map(|rank| (number(*rank) - mean).powi(2)).sum();
    let variance = number(chosen) * (n - number(chosen)) * spread / (n * (n - 1.0));
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a step of a doubled rank is 1: the correction for continuity.
    let z = ((number(distance) - 1.0) / variance.sqrt()).max(0.0);
    2.0 * upper_tail(z)
}

/// How many of the ordered quotients lie beyond the interval on each side.
fn cut(before: usize, after: usize, level: f64) -> usize {
    if before + after > EXACT_MAX {
        let (m, n) = (number(before), number(after));
        let spread = (m * n * (m + n + 1.0) / 12.0).sqrt();
        let z = 2.575_829_3;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to m n")]
        return (m * n / 2.0 - z * spread).max(0.0) as usize;
    }
    // Without ties: the ranks 1, 2, 3, ... doubled.
    let ranks: Vec<usize> = (1..=before + after).map(|rank| 2 * rank).collect();
    let sums = sums(&ranks, before);
    let all: f64 = sums.iter().sum();
    let least = before * (before + 1);
    let mut below = 0.0;
    let mut cut = 0;
    for statistic in 0..=before * after / 2 {
        below += sums.get(least + 2 * statistic).copied().unwrap_or(0.0) / all;
        if below > level / 2.0 {
            break;
        }
        cut = statistic;
    }
    cut
}

/// The chance that a standard normal number is above `z`, to 7 digits (Abramowitz and Stegun 26.2.17).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = series.iter().rev().fold(0.0, |sum, factor| t * (factor + sum));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

#[expect(clippy::cast_precision_loss, reason = "numbers of runs and their ranks")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn p_is_that_of_the_tables() {
        let low: Vec<f64> = (0..5).map(f64::from).collect();
        let high: Vec<f64> = (10..15).map(f64::from).collect();
        // All of one above all of the other: two of the 252 choices.
        assert!(close(p_value(&low, &high).unwrap(), 2.0 / 252.0));
        assert!(close(p_least(5, 5), 2.0 / 252.0) && close(p_least(3, 3), 0.1));
        assert!(close(p_value(&low, &low).unwrap(), 1.0));
        assert_eq!(p_value(&low, &[]), None);
        // U = 4 of 3 and 5 numbers: P(U <= 4) = 11/56 on each side.
        assert!(close(p_value(&[1.0, 3.0, 6.0], &[2.0, 4.0, 5.0, 7.0, 8.0]).unwrap(), 22.0 / 56.0));
        // Equal numbers share their rank: 1.5 and 1.5 against 3 and 4; 2 of 6 choices are as far.
        assert!(close(p_value(&[1.0, 1.0], &[2.0, 3.0]).unwrap(), 2.0 / 6.0));
        assert!(close(p_value(&[1.0; 6], &[1.0; 6]).unwrap(), 1.0));
    }

    #[test]
    fn many_numbers_are_approximated_well() {
        let before: Vec<f64> = (0..40).map(f64::from).collect();
        let after: Vec<f64> = (0..40).map(|n| f64::from(n) + 6.5).collect();
        let exact = p_value(&before, &after).unwrap();
        let ranks = doubled_ranks(&before, &after);
        let distance = ranks[..40].iter().sum::<usize>().abs_diff(40 * 81);
        let near = approximate(&ranks, 40, distance);
        assert!((exact - near).abs() < 0.002, "{exact} {near}");
        let after: Vec<f64> = (0..50).map(|n| f64::from(n) + 100.0).collect();
        assert!(p_value(&before, &after).unwrap() < 1e-9);
        assert!(close(approximate(&vec![91; 90], 40, 0), 1.0));
    }

    #[test]
    fn the_change_lies_in_its_interval() {
        let before = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0];
        let after = before.map(|value| value * 1.2);
        let found = change(&before, &after, 0.99).unwrap();
        assert!(close(found.ratio, 1.2), "{found:?}");
        assert!(
            found.low > 1.1 && found.low < 1.2 && found.high < 1.3 && found.high > 1.2,
            "{found:?}"
        );
        // Known: 6 and 6 numbers at 99 %: the 3rd smallest and largest of 36 differences.
        assert_eq!(cut(6, 6, 0.01), 2);
        // 95 %, 5 and 5: the 3rd.
        assert_eq!(cut(5, 5, 0.05), 2);
        // Too few: the whole range.
        assert_eq!(cut(3, 3, 0.01), 0);
        assert_eq!(change(&[0.0, 1.0], &after, 0.99), None);
    }

    #[test]
    fn sets_of_one_source_seldom_differ() {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        let mut next = || random.f64();
        let mut differ = 0;
        for _ in 0..2_000 {
            let before: Vec<f64> = (0..6).map(|_| next()).collect();
            let after: Vec<f64> = (0..6).map(|_| next()).collect();
            differ += i32::from(p_value(&before, &after).unwrap() <= 0.01);
        }
        // 20 are expected at most (the test is exact, its steps are coarse: 8 of 924, so 17).
        assert!((4..=34).contains(&differ), "{differ} of 2000");
    }
}
