//! IPv4 addresses with masks, contiguous or not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Family, IpNetError, ipv6};

/// An address and a mask: a packet matches if its address has the same bits under the mask.
/// The mask need not be contiguous (`10.0.0.0/255.0.255.0`). The address is always stored
/// masked, as iptables does before it hands a rule to the kernel.
///
/// Prints as `iptables -S` does: `10.0.0.0/8`, `1.2.3.4/32`, `10.0.0.0/255.0.255.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Net {
    address: u32,
    mask: u32,
}

impl Ipv4Net {
    /// Every address.
    pub const ALL: Self = Self { address: 0, mask: 0 };

    /// `address` under `mask`; bits outside the mask are cleared.
    pub fn new(address: Ipv4Addr, mask: Ipv4Addr) -> Self {
        let mask = mask.to_bits();
        Self { address: address.to_bits() & mask, mask }
    }

    /// One address.
    pub fn host(address: Ipv4Addr) -> Self {
        Self::new(address, Ipv4Addr::BROADCAST)
    }

    /// The address, already masked.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address)
    }

    /// The mask.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.mask)
    }

    /// The prefix length, if the mask is contiguous.
    pub fn prefix_len(self) -> Option<u32> {
        let ones = self.mask.leading_ones();
        (self.mask.count_ones() == ones).then_some(ones)
    }

    /// Whether `address` is inside.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.address
    }

    /// The form of `iptables -L -n`: as [`fmt::Display`], but a single address has no `/32`.
    pub fn to_listing(self) -> String {
        if self.mask == u32::MAX { self.address().to_string() } else { self.to_string() }
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_len() {
            Some(length) => write!(f, "{}/{length}", self.address()),
            None => write!(f, "{}/{}", self.address(), self.mask()),
        }
    }
}

impl FromStr for Ipv4Net {
    type Err = IpNetError;

    /// Reads `ADDRESS[/MASK]` with iptables' freedoms: missing parts of the address are zero
    /// (`10.1` is 10.1.0.0), each part may be hexadecimal or octal, and without a mask the
    /// result is one address (/32), even where the shortened address looks like a network. What is not
    /// an address so (`167772161`, `0x0a000001`, `10.256`) is asked of the resolver by iptables, which reads it
    /// as `inet_aton` does: the last part fills the rest.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The mask follows the last `/`, so that of `a/24/24` the address is what is wrong.
        let (address, mask) = match text.rsplit_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let mask = match mask {
            None => Ipv4Addr::BROADCAST,
            Some(mask) => parse_mask(mask).ok_or_else(|| IpNetError::Mask(mask.to_owned()))?,
        };
        let address = parse_dotted(address)
            .or_else(|| parse_inet(address))
            .ok_or_else(|| IpNetError::Address(address.to_owned()))?;
        Ok(Self::new(address, mask))
    }
}

/// A prefix length up to 32, or a whole dotted mask; no shortened ones.
fn parse_mask(text: &str) -> Option<Ipv4Addr> {
    if text.contains('.') {
        if text.split('.').count() != 4 {
            return None;
        }
        return parse_dotted(text);
    }
    let length = parse_number(text, 32)?;
    // A shift by 32 is no shift in Rust: 0 is handled apart.
    let bits = if length == 0 { 0 } else { u32::MAX << (32 - length) };
    Some(Ipv4Addr::from_bits(bits))
}

/// An address of up to four parts; missing ones are zero.
pub(crate) fn parse_dotted(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    for (index, part) in text.split('.').enumerate() {
        *octets.get_mut(index)? = u8::try_from(parse_number(part, 255)?).ok()?;
    }
    Some(Ipv4Addr::from(octets))
}

/// A number as C's `strtoul(…, 0)` reads it (leading blanks, `+`, `0x…`, `0…` octal), not above
/// `max`. iptables reads every number of a rule this way.
pub(crate) fn parse_number(text: &str, max: u32) -> Option<u32> {
    let (number, "") = number_prefix(text)? else { return None };
    number.filter(|number| *number <= max)
}

/// The number that `text` begins with, read in the same way, and what follows it. The number is
/// `None` above 4294967295.
pub(crate) fn number_prefix(text: &str) -> Option<(Option<u32>, &str)> {
    let (number, rest) = number_prefix64(text)?;
    Some((number.and_then(|number| u32::try_from(number).ok()), rest))
}

/// The same of 64 bits.
pub(crate) fn number_prefix64(text: &str) -> Option<(Option<u64>, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => (digits, 16),
        // The 0 itself is an octal digit, so that it is read where nothing follows.
        _ if text.starts_with('0') => (text, 8),
        _ => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // Only too large a number fails here.
    (!digits.is_empty()).then(|| (u64::from_str_radix(digits, radix).ok(), rest))
}

/// An address and a mask as libxtables' table-driven options read them; each is `None` if it is
/// wrong. Of IPv4 the address is read as by `inet_aton`: the last of fewer than four parts fills the rest
/// (`10.1` is 10.0.0.1, other than in `-s`).
///
/// The mask is a prefix length or four parts. Of other numbers, such as 33, iptables makes
/// non-contiguous masks (0.0.0.33; before 1.8.11, /32); here they are wrong.
pub(crate) fn parse_host_and_mask(
    host: &str,
    mask: Option<&str>,
    family: Family,
) -> (Option<IpAddr>, Option<IpAddr>) {
    match family {
        Family::V4 => {
            let mask = mask.map_or(Some(Ipv4Addr::BROADCAST), parse_mask);
            (parse_inet(host).map(IpAddr::V4), mask.map(IpAddr::V4))
        }
        Family::V6 => {
            let mask = mask.map_or(Some(Ipv6Addr::from_bits(u128::MAX)), ipv6::parse_mask);
            (host.parse().ok().map(IpAddr::V6), mask.map(IpAddr::V6))
        }
    }
}

fn parse_inet(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.splitn(5, '.').collect();
    let (last, octets) = parts.split_last().filter(|(_, octets)| octets.len() < 4)?;
    let number = |part: &str, max| {
        parse_number(part, max).filter(|_| part.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut address = 0;
    let mut free = u32::BITS;
    for octet in octets {
        free -= 8;
        address |= number(octet, 255)? << free;
    }
    // At most three octets were taken, so at least one is free.
    Some(Ipv4Addr::from_bits(address | number(last, u32::MAX >> (u32::BITS - free))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_like_iptables() {
        // Each pair was taken from `iptables -A … ; iptables -S` of 1.8.9.
        for (text, printed) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("1.2.3.4", "1.2.3.4/32"),
            ("10.1", "10.1.0.0/32"),
            ("10", "10.0.0.0/32"),
            ("0/0", "0.0.0.0/0"),
            ("10.0.0.0/255.0.255.0", "10.0.0.0/255.0.255.0"),
            ("1.2.3.4/0.0.0.255", "0.0.0.4/0.0.0.255"),
            ("1.2.3.4/255.255.255.0", "1.2.3.0/24"),
            ("0x0a.1.2.3", "10.1.2.3/32"),
            ("010.1.2.3", "8.1.2.3/32"),
            ("+1.2.3.4", "1.2.3.4/32"),
            (" 1.2.3.4", "1.2.3.4/32"),
            ("1.2.3.4/0x10", "1.2.0.0/16"),
            ("1.2.3.4/+5", "0.0.0.0/5"),
            ("0x0a000001", "10.0.0.1/32"),
            ("167772161/8", "10.0.0.0/8"),
            ("10.256", "10.0.1.0/32"),
            ("10.1.65535", "10.1.255.255/32"),
            ("256", "0.0.1.0/32"),
        ] {
            assert_eq!(text.parse::<Ipv4Net>().map(|net| net.to_string()), Ok(printed.into()));
        }
    }

    #[test]
    fn reads_hosts_like_inet_aton() {
        // From `iptables -A … -m conntrack --ctorigsrc …`.
        for (text, printed) in [
            ("1.2.3.4", "1.2.3.4"),
            ("10", "0.0.0.10"),
            ("1.2", "1.0.0.2"),
            ("10.1.65535", "10.1.255.255"),
            ("0x0a.010.0.1", "10.8.0.1"),
            ("4294967295", "255.255.255.255"),
        ] {
            assert_eq!(parse_inet(text).map(|address| address.to_string()), Some(printed.into()));
        }
    }

    #[test]
    fn finds_where_a_number_ends() {
        for (text, expected) in [
            ("5 :6", Some((Some(5), " :6"))),
            ("0x1fg", Some((Some(31), "g"))),
            ("0x", Some((Some(0), "x"))),
            ("08", Some((Some(0), "8"))),
            ("4294967296:", Some((None, ":"))),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(number_prefix(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_iptables_refuses() {
        for text in ["256.1.1.1", "1.2.3.4.5", "1.2.3.", "1..3", ".1", "::1", "1.2.3.4 ", "", "a"] {
            assert_eq!(text.parse::<Ipv4Net>(), Err(IpNetError::Address(text.into())));
        }
        for mask in ["33", "255.0.0", "", "08", "0xff", "-1", "255.255.255.0.1", "255", "+-5"] {
            let text = format!("1.2.3.4/{mask}");
            assert_eq!(text.parse::<Ipv4Net>(), Err(IpNetError::Mask(mask.into())));
        }
        for text in
            ["1.2.3.4.5", "1.2.3.", "", "+1", " 1", "0x", "256.1", "1.16777216", "1.-1", "a"]
        {
            assert_eq!(parse_inet(text), None, "{text}");
        }
        let twice = "1.2.3.4/24/24".parse::<Ipv4Net>();
        assert_eq!(twice, Err(IpNetError::Address("1.2.3.4/24".into())));
    }
}
