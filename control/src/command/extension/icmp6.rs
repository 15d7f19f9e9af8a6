//! `-m icmp6` (extensions/libip6t_icmp6.c, libxt_icmp.h).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::icmp::{named, numbered};
use super::{ExtensionKey, Given, Row};
use crate::rule::{Family, Icmp6Match, Icmp6Type, Negatable};

pub(super) const OPTIONS: [Row; 1] = [("icmpv6-type", Value::Required, ExtensionKey::Icmp6)];

pub(super) fn read<'a>(icmp6: &mut Icmp6Match, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let value = match named(Family::V6, &Icmp6Type::NAMES, given.value)? {
        Some(named) => named,
        None => {
            let (number, first_code, last_code) = numbered(Family::V6, given.value)?;
            Icmp6Type { number, first_code, last_code }
        }
    };
    icmp6.icmp6_type = Negatable { value, negated: given.negated };
    Ok(())
}
