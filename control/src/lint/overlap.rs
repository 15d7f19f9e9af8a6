//! Rules of a chain that have packets in common.

use super::region::Region;
use super::{Found, Kind, Linter, Looked};
use crate::rule::Target;
use crate::ruleset::Policy;

/// More pieces than this are not kept of what is left of a rule.
const PIECES_MAX: usize = 512;

impl Linter<'_> {
    /// Whether earlier rules decide about all packets of a rule.
    pub(super) fn hidden(&self, looked: &Looked<'_>, place: usize) -> Option<Found> {
        let Looked { chain, spaces, parts } = looked;
        let space = spaces.at(place);
        let mut left = parts[place].clone();
        let mut blame = Vec::new();
        for earlier in spaces.near(place, 0..place) {
            let decides = chain.rules[earlier].rule.target.as_ref().is_some_and(decides);
            if !decides || !spaces.at(earlier).is_cut_no_more_than(space) {
                continue;
            }
            let hider = &spaces.at(earlier).region;
            let untouched = left.len();
            let cut: Vec<Region> = left.extract_if(.., |piece| piece.meets(hider)).collect();
            if left.len() == untouched {
                continue;
            }
            left.extend(cut.iter().flat_map(|piece| piece.without(hider)));
            blame.push(earlier);
            if left.len() > PIECES_MAX {
                return None;
            }
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            return None;
        }
        let own = chain.rules[place].rule.target.as_ref();
        // What other rules ask for may be remembered although a later condition does not hold.
        let same = !space.manner.shares
            && blame.iter().all(|earlier| chain.rules[*earlier].rule.target.as_ref() == own);
        let kind = if same { Kind::Redundant } else { Kind::Shadowed };
        let because_of: Vec<usize> = blame.iter().map(|earlier| earlier + 1).collect();
        let what = format!(
            "{} before it decide{} about all of its packets{}",
            numbered(&because_of),
            if because_of.len() == 1 { "s" } else { "" },
            if same { ", and as it would" } else { "" }
        );
        // Whether it fulfils conditions that are no sets is not known.
        let certain = parts[place].first().filter(|_| space.opaque.is_empty());
        let witness = certain.and_then(|part| part.example(&self.packets));
        Some(Found { because_of, witness, ..Found::new(kind, what) })
    }

    /// Whether a later rule, or the chain's policy, would treat all packets of a rule as it does.
    pub(super) fn repeated_below(&self, looked: &Looked<'_>, place: usize) -> Option<Found> {
        let Looked { chain, spaces, parts } = looked;
        let (space, parts) = (spaces.at(place), &parts[place]);
        let own = chain.rules[place].rule.target.as_ref().filter(|target| decides(target))?;
        if space.manner.shares {
            return None;
        }
        for later in spaces.near(place, place + 1..chain.rules.len()) {
            let target = chain.rules[later].rule.target.as_ref();
            let other = spaces.at(later);
            if target == Some(own)
                && other.is_cut_no_more_than(space)
                && parts.iter().all(|part| part.is_within(&other.region))
            {
                let because_of = vec![later + 1];
                let what = format!("rule {} would do the same with all of its packets", later + 1);
                return Some(Found { because_of, ..Found::new(Kind::Redundant, what) });
            }
            // What stands between must not touch them, or do nothing that can be told: not even to the packets
            // that come after them.
            let decided = target.is_some() && target != Some(own);
            let dropping_tells = *own != Target::Drop;
            if parts.iter().any(|part| {
                decided && other.region.meets(part) || other.disturbs(part, dropping_tells)
            }) {
                return None;
            }
        }
        let what = match (own, chain.policy) {
            (Target::Accept, Some(Policy::Accept)) | (Target::Drop, Some(Policy::Drop)) => {
                let name = &chain.name;
                format!("the policy of chain {name} would do the same with all of its packets")
            }
            (Target::Return, _) => "the chain ends for all of its packets anyway".to_owned(),
            _ => return None,
        };
        Some(Found::new(Kind::Redundant, what))
    }
}

/// Whether packets for which a rule holds meet no later rule of its chain.
fn decides(target: &Target) -> bool {
    !matches!(target, Target::Jump(_)) && !target.continues()
}

/// `rule 3`, `rules 3, 5 and 7`.
fn numbered(rules: &[usize]) -> String {
    match rules {
        [] => "nothing".to_owned(),
        [one] => format!("rule {one}"),
        [some @ .., last] => {
            let some: Vec<String> = some.iter().map(ToString::to_string).collect();
            format!("rules {} and {last}", some.join(", "))
        }
    }
}
