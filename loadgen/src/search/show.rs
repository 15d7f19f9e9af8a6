//! What searches found, for people.

use comfy_table::{CellAlignment, Table, presets};

use super::Failure;
use super::connections::Concurrent;
use super::mlr::{Answer, Bound, Caveat, Found};
use super::rfc2544::{BackToBack, CurvePoint, LatencyFound, Throughput};
use crate::report::figures::count;
use crate::report::unit::Unit;
use crate::statistics::Summary;

/// The first line of a result that is not whole.
#[must_use]
pub fn partial(why: &Failure) -> String {
    format!("PARTIAL RESULT: {why}; this is what was known until then\n")
}

/// Answers with their bounds. `unit` is that of the load.
#[must_use]
pub fn found(found: &Found, unit: Unit) -> String {
    let heads =
        ["goal", "throughput", "good at", "trials", "sure", "bad at", "trials", "sure", "apart"];
    let mut table = table(&heads);
    for answer in &found.answers {
        table.add_row(row(answer, unit));
    }
    let mut text = table.trim_fmt();
    for answer in &found.answers {
        if let Some(caveat) = answer.caveat {
            text += &format!("\n{}: {}", answer.goal.name, words(caveat));
        }
        if answer.judged_by_s < answer.goal.duration_sum_s {
            text += &format!(
                "; these bounds are of {:.1} s of trials where {} s are wanted",
                answer.judged_by_s, answer.goal.duration_sum_s
            );
        }
    }
    for answer in &found.answers {
        let goal = &answer.goal;
        text += &format!(
            "\n{}: a trial of {} s is good with a loss of {} or less; good ones take {} of {} s at least",
            goal.name,
            goal.trial_s,
            Unit::Share.show(goal.loss_ratio),
            Unit::Share.show(1.0 - goal.exceed_ratio),
            goal.duration_sum_s,
        );
    }
    if let Some(max) = found.generator_max {
        text += &format!("\nthe generator reaches {} here", unit.show(max));
    }
    text + &format!("\n{} trials, {:.0} s of offering", found.trials.len(), found.spent_s)
}

fn row(answer: &Answer, unit: Unit) -> Vec<String> {
    let load = |bound: Option<&Bound>| bound.map_or_else(none, |bound| unit.show(bound.load));
    let trials = |bound: Option<&Bound>| {
        bound.map_or_else(none, |bound| format!("{} good, {} bad", bound.trials.0, bound.trials.1))
    };
    let sure =
        |bound: Option<&Bound>| bound.map_or_else(none, |bound| Unit::Share.show(bound.confidence));
    let (lower, upper) = (answer.lower.as_ref(), answer.upper.as_ref());
    let apart = lower.zip(upper).map(|(lower, upper)| (upper.load - lower.load) / upper.load);
    vec![
        answer.goal.name.clone(),
        answer.conditional_throughput.map_or_else(none, |rate| unit.show(rate)),
        load(lower),
        trials(lower),
        sure(lower),
        load(upper),
        trials(upper),
        sure(upper),
        apart.map_or_else(none, |share| Unit::Share.show(share)),
    ]
}

fn words(caveat: Caveat) -> &'static str {
    match caveat {
        Caveat::AtMaximum => "the greatest load is good: the box may carry more",
        Caveat::AtGenerator => "all that the generator reaches is good: the box may carry more",
        Caveat::AtMinimum => "the least load is bad: the box may carry less, or nothing",
        Caveat::TimeOver => "NOT REACHED: time was over before the bounds were near enough",
        Caveat::CutShort => {
            "NOT REACHED: the search was cut short before the bounds were sure and near enough"
        }
    }
}

/// A throughput of RFC 2544.
#[must_use]
pub fn throughput(found: &Throughput) -> String {
    let pps = |rate| Unit::PacketsPerSecond.show(rate);
    let above = match (found.lost_at, found.generator_max) {
        (_, Some(max)) if found.lost_at.is_none_or(|lost| lost >= max) => {
            format!("the generator reaches {}: the box may carry more", pps(max))
        }
        (Some(lost), _) => format!("{} lost packets", pps(lost)),
        (None, _) => "the greatest rate: the box may carry more".to_owned(),
    };
    format!("throughput    {} without loss in {} s; {above}", pps(found.rate), found.confirmed_s)
}

/// A latency of RFC 2544.
#[must_use]
pub fn latency(found: &LatencyFound) -> String {
    let time = |ns: u64| Unit::Nanoseconds.show(count(ns));
    format!(
        "latency       at {}: mean {} ({}); p50 {}, p99 {}, p99.9 {}, max {}; {} packets timed",
        Unit::PacketsPerSecond.show(found.rate),
        Unit::Nanoseconds.show(found.mean_ns.median),
        interval(Unit::Nanoseconds, &found.mean_ns),
        time(found.p50_ns),
        time(found.p99_ns),
        time(found.p999_ns),
        time(found.max_ns),
        Unit::Packets.show(count(found.timed)),
    )
}

/// A loss curve of RFC 2544.
#[must_use]
pub fn loss_curve(curve: &[CurvePoint]) -> String {
    let mut table = table(&["rate", "lost"]);
    for point in curve {
        let lost = point
            .loss_ratio
            .map_or("the generator did not reach it".to_owned(), |lost| Unit::Share.show(lost));
        table.add_row([Unit::PacketsPerSecond.show(point.rate), lost]);
    }
    table.trim_fmt()
}

/// Back-to-back frames of RFC 9004.
#[must_use]
pub fn back_to_back(found: &BackToBack) -> String {
    let at_least = if found.at_maximum { "at least " } else { "" };
    format!(
        "back-to-back  {at_least}{} frames ({}), a buffer of {}; {} without what left meanwhile",
        Unit::Packets.show(found.frames.median),
        interval(Unit::Packets, &found.frames),
        Unit::Nanoseconds.show(found.buffer_s * 1e9),
        Unit::Nanoseconds.show(found.corrected_buffer_s * 1e9),
    )
}

/// Connections at once.
#[must_use]
pub fn concurrent(found: &Concurrent) -> String {
    let held = Unit::Connections.show(count(found.held));
    let between = found.cut_short.is_some();
    match found.failed_at {
        Some(failed) if between => {
            let failed = Unit::Connections.show(count(failed));
            format!("concurrent    {held} held, {failed} not; CUT SHORT: the answer is between")
        }
        None if between => {
            format!("concurrent    {held} held; CUT SHORT: the box may hold more")
        }
        Some(failed) => {
            format!("concurrent    {held} held, {} not", Unit::Connections.show(count(failed)))
        }
        None => {
            format!("concurrent    {held} held, the most that were tried: the box may hold more")
        }
    }
}

fn interval(unit: Unit, summary: &Summary) -> String {
    format!(
        "{} to {}, {} sure, of {}",
        unit.show(summary.low),
        unit.show(summary.high),
        Unit::Share.show(summary.coverage),
        summary.values
    )
}

fn none() -> String {
    "-".to_owned()
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heads.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::mlr::{Goal, Settings, search};
    use super::super::rfc2544;
    use super::super::simulated::Device;
    use super::*;

    #[test]
    fn answers_state_bounds_and_confidence() {
        let goals = vec![Goal::ndr(), Goal::pdr()];
        let settings = Settings { goals, load_min: 1e3, load_max: 1e6, search_max_s: 1e5 };
        let text = found(
            &search(&settings, &mut Device::exact(4e5), &mut |_| ()).unwrap(),
            Unit::PacketsPerSecond,
        );
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines[1],
            "NDR 400 kpps 400 kpps 11 good, 0 bad 99.95 % 401.2 kpps 0 good, 11 bad 99.95 % 0.3082 %"
        );
        let goal = "PDR: a trial of 1 s is good with a loss of 0.5 % or less; good ones take 50 % of 21 s at least";
        assert!(lines.contains(&goal.to_owned()), "{text}");
        let limited = Device { generator: 1e5, ..Device::exact(4e5) };
        let text = found(
            &search(&settings, &mut limited.clone(), &mut |_| ()).unwrap(),
            Unit::PacketsPerSecond,
        );
        assert!(text.contains("NDR: all that the generator reaches is good"), "{text}");
        assert!(text.contains("the generator reaches 98 kpps here"), "{text}");
    }

    #[test]
    fn the_plain_set_is_shown() {
        let settings =
            rfc2544::Settings { burst_trials: 6, burst_max: 1_000, ..rfc2544::Settings::default() };
        let mut device = Device::exact(4e5);
        let text = throughput(&rfc2544::throughput(&settings, &mut device).unwrap());
        assert!(
            text.starts_with("throughput    39") && text.contains("without loss in 60 s; 40"),
            "{text}"
        );
        let text = loss_curve(&rfc2544::loss_curve(&settings, &mut device).unwrap());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.lines().any(|line| words(line) == "1 Mpps 60 %"), "{text}");
        let text = back_to_back(&rfc2544::back_to_back(&settings, 4e5, 4e6, &mut device).unwrap());
        assert!(text.starts_with("back-to-back  0 frames"), "{text}");
        assert_eq!(
            concurrent(&Concurrent { held: 1_000, failed_at: None, cut_short: None }),
            "concurrent    1,000 held, the most that were tried: the box may hold more"
        );
    }
}
