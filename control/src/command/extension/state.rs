//! `-m state` (extensions/libxt_conntrack.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::{UnknownItem, listed};
use super::{ExtensionKey, Given, Row};
use crate::rule::{CtStates, Negatable, StateMatch};

pub(super) const OPTIONS: [Row; 1] = [("state", Value::Required, ExtensionKey::State)];

pub(super) fn read<'a>(state: &mut StateMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let nat = CtStates::SNAT | CtStates::DNAT;
    let known = CtStates::NAMES.into_iter().filter(|(_, state)| !state.intersects(nat));
    let value = listed(given.value, known).map_err(|UnknownItem { word, list }| {
        let kind = match list.as_str() {
            "" => ParseErrorKind::StateListEnds,
            _ => ParseErrorKind::CtName { option: "state", list },
        };
        Refusal::at(word, kind)
    })?;
    state.states = Negatable { value, negated: given.negated };
    Ok(())
}
