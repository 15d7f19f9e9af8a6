//! `-m pkttype` (extensions/libxt_pkttype.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, PacketType, PkttypeMatch};

pub(super) const OPTIONS: [Row; 1] = [("pkt-type", Value::Required, ExtensionKey::Pkttype)];

pub(super) fn read<'a>(
    pkttype: &mut PkttypeMatch,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let word = given.value;
    let named = |(name, _): &&(&str, _)| name.eq_ignore_ascii_case(word.text);
    let Some((_, value)) = PacketType::NAMES.iter().find(named) else {
        let text = word.text.to_owned();
        return Err(Refusal::at(word, ValueError::PacketType { text }));
    };
    pkttype.packet_type = Negatable { value: *value, negated: given.negated };
    Ok(())
}
