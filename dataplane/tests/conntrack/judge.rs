//! Finds differences, makes them small, and tells them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::play::Pair;
use crate::script;
use crate::shot::{Event, Sequence};

/// Differences that are made small, and told whole.
const TOLD: usize = 12;

/// Rounds of shortening at most; a pause in a sequence makes each take seconds.
const ROUNDS: usize = 60;
const ROUNDS_PAUSED: usize = 6;

/// Plays all of them; what there is to tell, if anything differs.
pub(crate) fn differences(pair: &mut Pair, sequences: &[Sequence]) -> Option<String> {
    let differing = again(pair, sequences);
    let courses = pair.play(&differing);
    let mut kinds: BTreeMap<String, Vec<&Sequence>> = BTreeMap::new();
    for (sequence, course) in differing.iter().zip(&courses).filter(|(_, course)| course.differs) {
        let (kernel, weir) = course.seen.last().expect("where it differs");
        let last = sequence.shots().nth(course.seen.len() - 1).expect("it was played");
        let kind = script::kind(last, kernel, weir);
        kinds.entry(kind).or_default().push(sequence);
    }
    if kinds.is_empty() {
        return None;
    }
    let count: usize = kinds.values().map(Vec::len).sum();
    let mut text = format!("{count} of {} sequences differ:\n", sequences.len());
    for (kind, found) in &kinds {
        let _ = writeln!(text, "{:>6} x {kind}", found.len());
    }
    eprintln!("{text}They are being shortened...");
    text += "\nThe shortest of each kind, kernel's answers behind \"=\":\n\n";
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by_key(|found| std::cmp::Reverse(found.len()));
    for mut found in kinds.into_iter().take(TOLD) {
        found.sort_by_key(|sequence| sequence.events.len());
        text += &told(pair, found[0]);
    }
    Some(text)
}

/// The sequences that differ, and differ again. Both ends answer alike every time; only remaining lifetimes may lie
/// apart when the machine makes one of the two wait for seconds.
fn again(pair: &mut Pair, sequences: &[Sequence]) -> Vec<Sequence> {
    let mut differing = sequences.to_vec();
    for _ in 0..2 {
        let courses = pair.play(&differing);
        let played = differing.into_iter().zip(courses);
        differing =
            played.filter(|(_, course)| course.differs).map(|(sequence, _)| sequence).collect();
        if differing.is_empty() {
            break;
        }
        eprintln!("{} sequences differ; again:", differing.len());
    }
    differing
}

/// A difference, shortened.
fn told(pair: &mut Pair, sequence: &Sequence) -> String {
    let sequence = shortened(pair, sequence.clone());
    let course = pair.play(std::slice::from_ref(&sequence)).remove(0);
    script::report(&sequence, &course)
}

/// Leaves out packets as long as the rest differs.
fn shortened(pair: &mut Pair, mut sequence: Sequence) -> Sequence {
    let mut unpaused = sequence.clone();
    unpaused.events.retain(|event| *event != Event::Pause);
    if pair.play(std::slice::from_ref(&unpaused))[0].differs {
        sequence = unpaused;
    }
    let rounds = if sequence.events.contains(&Event::Pause) { ROUNDS_PAUSED } else { ROUNDS };
    for _ in 0..rounds {
        let without = |at: usize| {
            let mut shorter = sequence.clone();
            shorter.events.remove(at);
            shorter
        };
        // The last packets first.
        let candidates: Vec<Sequence> = (0..sequence.events.len()).rev().map(without).collect();
        let courses = pair.play(&candidates);
        let found = candidates.into_iter().zip(courses).find(|(_, course)| course.differs);
        let Some((shorter, _)) = found else { break };
        sequence = shorter;
    }
    sequence
}
