//! `-m ecn` (extensions/libxt_ecn.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{EcnMatch, Negatable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    TcpCwr,
    TcpEce,
    IpEct,
}

pub(super) const OPTIONS: [Row; 3] = [
    ("ecn-tcp-cwr", Value::None, ExtensionKey::Ecn(Key::TcpCwr)),
    ("ecn-tcp-ece", Value::None, ExtensionKey::Ecn(Key::TcpEce)),
    ("ecn-ip-ect", Value::Required, ExtensionKey::Ecn(Key::IpEct)),
];

pub(super) fn read<'a>(
    ecn: &mut EcnMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let Given { value: word, negated, .. } = *given;
    match key {
        Key::TcpCwr => ecn.tcp_cwr = Some(!negated),
        Key::TcpEce => ecn.tcp_ece = Some(!negated),
        Key::IpEct => {
            let argument = Argument { name: "ecn", option: "ecn-ip-ect", word };
            let value = argument.number(EcnMatch::IP_ECT_MAX)?;
            ecn.ip_ect = Some(Negatable { value, negated });
        }
    }
    Ok(())
}
