//! ClassBench's file format: one rule a line.
//!
//! ```text
//!   @230.73.73.251/32  19.68.163.0/24  0 : 65535  443 : 443  0x06/0xFF  0x1000/0x1000
//!    source            destination     source and destination ports, protocol and its mask, flags (left out here)
//! ```
//!
//! Taylor and Turner, ClassBench: A Packet Classification Benchmark, IEEE/ACM Transactions on Networking 15 (2007).

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;

use weir_dataplane::policy::classify::{AddressKey, RuleKey};

/// Reads the rules of a file's text.
///
/// # Errors
/// What is wrong with which line.
pub fn parse(text: &str) -> Result<Vec<RuleKey>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            rule(line).ok_or_else(|| format!("line {}: not a rule of ClassBench: {line}", at + 1))
        })
        .collect()
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it.
pub fn read(path: &Path) -> Result<Vec<RuleKey>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn rule(line: &str) -> Option<RuleKey> {
    let line = line.strip_prefix('@')?.replace(" : ", ":");
    let mut words = line.split_whitespace();
    let (source, destination) = (prefix(words.next()?)?, prefix(words.next()?)?);
    let (source_ports, destination_ports) = (range(words.next()?)?, range(words.next()?)?);
    let protocol = match words.next()?.split_once('/')? {
        (_, "0x00") => None,
        (number, "0xFF") => Some(u8::from_str_radix(number.strip_prefix("0x")?, 16).ok()?),
        _ => return None,
    };
    Some(RuleKey { source, destination, source_ports, destination_ports, protocol, ..RuleKey::ANY })
}

fn prefix(word: &str) -> Option<AddressKey> {
    let (address, length) = word.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let length = length.parse().ok().filter(|length| *length <= 32)?;
    Some(AddressKey::prefix(address.to_bits(), length))
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once(':')?;
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

/// Writes a rule as ClassBench does, with flags that hold for all packets.
#[must_use]
pub fn line(rule: &RuleKey) -> String {
    let prefix =
        |key: AddressKey| format!("{}/{}", Ipv4Addr::from_bits(key.network), key.mask.count_ones());
    let range = |range: &RangeInclusive<u16>| format!("{} : {}", range.start(), range.end());
    let protocol =
        rule.protocol.map_or("0x00/0x00".to_owned(), |number| format!("{number:#04x}/0xFF"));
    format!(
        "@{}\t{}\t{}\t{}\t{protocol}\t0x0000/0x0000",
        prefix(rule.source),
        prefix(rule.destination),
        range(&rule.source_ports),
        range(&rule.destination_ports),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_the_file() {
        let text =
            "@230.73.72.0/23\t19.68.163.253/32\t0 : 65535\t443 : 450\t0x2f/0xFF\t0x0000/0x0000";
        let rules = parse(text).unwrap();
        let expected = RuleKey {
            source: AddressKey { network: 0xe649_4800, mask: 0xffff_fe00 },
            destination: AddressKey { network: 0x1344_a3fd, mask: u32::MAX },
            protocol: Some(47),
            destination_ports: 443..=450,
            ..RuleKey::ANY
        };
        assert_eq!(rules, [expected]);
        assert_eq!(line(&rules[0]), text);
        let any = line(&RuleKey::ANY);
        assert_eq!(parse(&any).unwrap(), [RuleKey::ANY]);
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_line() {
        let good = line(&RuleKey::ANY);
        for bad in [
            "1.2.3.4/5",
            &good[1..],
            &good.replace("/0\t", "/33\t"),
            &good.replace("0 :", "70000 :"),
        ] {
            let error = parse(&format!("{good}\n{bad}")).unwrap_err();
            assert_eq!(error, format!("line 2: not a rule of ClassBench: {bad}"));
        }
    }
}
