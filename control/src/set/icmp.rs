//! Types and codes of ICMP, which stand where other protocols have their ports.

use super::error::SetLineErrorKind;
use super::number::byte;
use crate::rule::Family;

/// As [`NAMES`], of ICMPv6 (RFC 4443, RFC 4861).
const NAMES6: [(&str, u8, u8); 19] = [
    ("no-route", 1, 0),
    ("communication-prohibited", 1, 1),
    ("address-unreachable", 1, 3),
    ("port-unreachable", 1, 4),
    ("packet-too-big", 2, 0),
    ("ttl-zero-during-transit", 3, 0),
    ("ttl-zero-during-reassembly", 3, 1),
    ("bad-header", 4, 0),
    ("unknown-header-type", 4, 1),
    ("unknown-option", 4, 2),
    ("echo-request", 128, 0),
    ("ping", 128, 0),
    ("echo-reply", 129, 0),
    ("pong", 129, 0),
    ("router-solicitation", 133, 0),
    ("router-advertisement", 134, 0),
    ("neighbour-solicitation", 135, 0),
    ("neighbour-advertisement", 136, 0),
    ("redirect", 137, 0),
];

fn names(family: Family) -> &'static [(&'static str, u8, u8)] {
    match family {
        Family::V4 => &NAMES,
        Family::V6 => &NAMES6,
    }
}

/// Names in the order of their numbers; of two for one, the first is printed. ipset's names are
/// those of iptables, but each means one code (RFC 792, RFC 1812 5.2.7).
const NAMES: [(&str, u8, u8); 34] = [
    ("echo-reply", 0, 0),
    ("pong", 0, 0),
    ("network-unreachable", 3, 0),
    ("host-unreachable", 3, 1),
    ("protocol-unreachable", 3, 2),
    ("port-unreachable", 3, 3),
    ("fragmentation-needed", 3, 4),
    ("source-route-failed", 3, 5),
    ("network-unknown", 3, 6),
    ("host-unknown", 3, 7),
    ("network-prohibited", 3, 9),
    ("host-prohibited", 3, 10),
    ("TOS-network-unreachable", 3, 11),
    ("TOS-host-unreachable", 3, 12),
    ("communication-prohibited", 3, 13),
    ("host-precedence-violation", 3, 14),
    ("precedence-cutoff", 3, 15),
    ("source-quench", 4, 0),
    ("network-redirect", 5, 0),
    ("host-redirect", 5, 1),
    ("TOS-network-redirect", 5, 2),
    ("TOS-host-redirect", 5, 3),
    ("echo-request", 8, 0),
    ("ping", 8, 0),
    ("router-advertisement", 9, 0),
    ("router-solicitation", 10, 0),
    ("ttl-zero-during-transit", 11, 0),
    ("ttl-zero-during-reassembly", 11, 1),
    ("ip-header-bad", 12, 0),
    ("required-option-missing", 12, 1),
    ("timestamp-request", 13, 0),
    ("timestamp-reply", 14, 0),
    ("address-mask-request", 17, 0),
    ("address-mask-reply", 18, 0),
];

/// What stands in the place of the port: the type in the upper byte, the code in the lower.
pub(super) fn parse(text: &str, family: Family) -> Result<u16, SetLineErrorKind> {
    if let Some((_, kind, code)) = names(family).iter().find(|(name, ..)| *name == text) {
        return Ok(u16::from_be_bytes([*kind, *code]));
    }
    let Some((kind, code)) = text.split_once('/') else {
        return Err(SetLineErrorKind::IcmpType { text: text.to_owned(), family });
    };
    Ok(u16::from_be_bytes([byte(kind, 0, u8::MAX)?, byte(code, 0, u8::MAX)?]))
}

/// The name, or the numbers.
pub(super) fn print(port: u16, family: Family) -> String {
    let [kind, code] = port.to_be_bytes();
    let known = names(family).iter().find(|(_, k, c)| (*k, *c) == (kind, code));
    known.map_or_else(|| format!("{kind}/{code}"), |(name, ..)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_and_printed() {
        for (family, text, port, printed) in [
            (Family::V4, "ping", 0x0800, "echo-request"),
            (Family::V4, "8/0", 0x0800, "echo-request"),
            (Family::V4, "3/4", 0x0304, "fragmentation-needed"),
            (Family::V4, "200/7", 0xc807, "200/7"),
            (Family::V4, "3/8", 0x0308, "3/8"),
            (Family::V6, "ping", 0x8000, "echo-request"),
            (Family::V6, "2/0", 0x0200, "packet-too-big"),
            (Family::V6, "8/0", 0x0800, "8/0"),
        ] {
            assert_eq!(parse(text, family), Ok(port));
            assert_eq!(print(port, family), printed);
        }
        for family in Family::ALL {
            for text in ["3", "8/300", "any"] {
                assert!(parse(text, family).is_err());
            }
        }
    }
}
