//! `-j SYNPROXY` (extensions/libxt_SYNPROXY.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::Given;
use super::guided::Argument;
use super::target::{TargetKey, TargetRow};
use crate::rule::SynproxyTarget;

/// An option of SYNPROXY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    SackPerm,
    Timestamp,
    Wscale,
    Mss,
    Ecn,
}

const fn row(name: &'static str, value: Value, key: Key) -> TargetRow {
    (name, value, TargetKey::Synproxy(key))
}

pub(super) const OPTIONS: [TargetRow; 5] = [
    row("sack-perm", Value::None, Key::SackPerm),
    row("timestamp", Value::None, Key::Timestamp),
    row("wscale", Value::Required, Key::Wscale),
    row("mss", Value::Required, Key::Mss),
    row("ecn", Value::None, Key::Ecn),
];

/// Largest window scale (RFC 7323 2.3). iptables takes any number, and cuts it to a byte.
const SCALE_MAX: u8 = 14;

pub(super) fn read<'a>(
    synproxy: &mut SynproxyTarget,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let argument = Argument { name: "SYNPROXY", option: given.name, word: given.value };
    match key {
        Key::SackPerm => synproxy.sack_perm = true,
        Key::Timestamp => synproxy.timestamp = true,
        Key::Wscale => synproxy.wscale = Some(argument.number(SCALE_MAX)?),
        Key::Mss => {
            let mss = argument.in_range(0, u16::MAX.into())?;
            synproxy.mss = Some(u16::try_from(mss).unwrap_or(u16::MAX));
        }
        Key::Ecn => synproxy.ecn = true,
    }
    Ok(())
}
