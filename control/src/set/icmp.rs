//! Types and codes of ICMP, which stand where other protocols have their ports.

use super::error::SetLineErrorKind;
use super::number::byte;

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
pub(super) fn parse(text: &str) -> Result<u16, SetLineErrorKind> {
    if let Some((_, kind, code)) = NAMES.iter().find(|(name, ..)| *name == text) {
        return Ok(u16::from_be_bytes([*kind, *code]));
    }
    let Some((kind, code)) = text.split_once('/') else {
        return Err(SetLineErrorKind::IcmpType { text: text.to_owned() });
    };
    Ok(u16::from_be_bytes([byte(kind, 0, u8::MAX)?, byte(code, 0, u8::MAX)?]))
}

/// The name, or the numbers.
pub(super) fn print(port: u16) -> String {
    let [kind, code] = port.to_be_bytes();
    let known = NAMES.iter().find(|(_, k, c)| (*k, *c) == (kind, code));
    known.map_or_else(|| format!("{kind}/{code}"), |(name, ..)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_and_printed() {
        for (text, port, printed) in [
            ("ping", 0x0800, "echo-request"),
            ("8/0", 0x0800, "echo-request"),
            ("3/4", 0x0304, "fragmentation-needed"),
            ("200/7", 0xc807, "200/7"),
            ("3/8", 0x0308, "3/8"),
        ] {
            assert_eq!(parse(text), Ok(port));
            assert_eq!(print(port), printed);
        }
        assert!(parse("3").is_err() && parse("8/300").is_err() && parse("any").is_err());
    }
}
