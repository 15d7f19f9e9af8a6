//! Which addresses and ports the packets bear, and in which order.
//!
//! Each of the four fields walks over a range. They turn like the wheels of an odometer, the
//! source address fastest, then source port, destination port, destination address: every
//! combination comes once before any comes again, and packets in a row differ in their source
//! where there is more than one.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An inclusive range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<T> {
    first: T,
    last: T,
}

/// A text that is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub(crate) struct NotASpan {
    text: String,
    wanted: &'static str,
}

impl<T: Copy + Into<u64>> Span<T> {
    /// How many numbers are in it: 1 at least.
    fn len(self) -> u64 {
        self.last.into() - self.first.into() + 1
    }
}

impl<T: PartialOrd + FromStr + Copy> Span<T> {
    /// Reads `A` or `A-B` with A not above B.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(Self { first, last })
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Span<u16> {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let wanted = "a port or a range of ports like 1024-65535";
        Self::parse(text).ok_or_else(|| NotASpan { text: text.to_owned(), wanted })
    }
}

/// A range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(Span<u32>);

impl FromStr for Addresses {
    type Err = NotASpan;

    /// Reads an address, `A-B`, or `A/length`.
    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let wanted = "an IPv4 address, a range like 10.0.0.1-10.0.0.9, or a prefix like 10.0.0.0/8";
        let not = || NotASpan { text: text.to_owned(), wanted };
        if let Some((network, len)) = text.split_once('/') {
            let network = u32::from(network.parse::<Ipv4Addr>().map_err(|_| not())?);
            let len = len.parse::<u32>().ok().filter(|&len| len <= 32).ok_or_else(not)?;
            let host_bits = u32::MAX.checked_shr(len).unwrap_or(0);
            let (first, last) = (network & !host_bits, network | host_bits);
            return Ok(Self(Span { first, last }));
        }
        let span = Span::<Ipv4Addr>::parse(text).ok_or_else(not)?;
        Ok(Self(Span { first: span.first.into(), last: span.last.into() }))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |number| Ipv4Addr::from_bits(number);
        Span { first: address(self.0.first), last: address(self.0.last) }.fmt(f)
    }
}

/// What one packet bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fields {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

/// The four ranges, and where they stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flows {
    source: Addresses,
    source_port: Span<u16>,
    destination_port: Span<u16>,
    destination: Addresses,
    now: Fields,
}

impl Flows {
    /// All ranges at their first number.
    pub(crate) fn new(
        source: Addresses,
        destination: Addresses,
        source_port: Span<u16>,
        destination_port: Span<u16>,
    ) -> Self {
        let now = Fields {
            source: Ipv4Addr::from_bits(source.0.first),
            destination: Ipv4Addr::from_bits(destination.0.first),
            source_port: source_port.first,
            destination_port: destination_port.first,
        };
        Self { source, source_port, destination_port, destination, now }
    }

    /// What the next packet bears; the ranges move on.
    pub(crate) fn next(&mut self) -> Fields {
        let fields = self.now;
        if turn_address(&mut self.now.source, self.source)
            && turn_port(&mut self.now.source_port, self.source_port)
            && turn_port(&mut self.now.destination_port, self.destination_port)
        {
            turn_address(&mut self.now.destination, self.destination);
        }
        fields
    }

    /// How many combinations there are.
    pub(crate) fn count(&self) -> u128 {
        let addresses = u128::from(self.source.0.len()) * u128::from(self.destination.0.len());
        let ports = u128::from(self.source_port.len()) * u128::from(self.destination_port.len());
        addresses * ports
    }
}

/// Moves one wheel on; true when it is back at its first number.
fn turn_port(now: &mut u16, span: Span<u16>) -> bool {
    let wrapped = *now == span.last;
    *now = if wrapped { span.first } else { *now + 1 };
    wrapped
}

/// As [`turn_port`].
fn turn_address(now: &mut Ipv4Addr, Addresses(span): Addresses) -> bool {
    let wrapped = now.to_bits() == span.last;
    *now = Ipv4Addr::from_bits(if wrapped { span.first } else { now.to_bits() + 1 });
    wrapped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn flows(source: &str, destination: &str, source_port: &str, destination_port: &str) -> Flows {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Flows::new(
            source,
            destination,
            source_port.parse().unwrap(),
            destination_port.parse().unwrap(),
        )
    }

    #[test]
    fn every_combination_comes_once_before_any_comes_again() {
        let mut flows = flows("10.0.0.254-10.0.1.1", "10.9.0.0/31", "65534-65535", "7-9");
        assert_eq!(flows.count(), 4 * 2 * 2 * 3);
        let first: Vec<Fields> = (0..48).map(|_| flows.next()).collect();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 48);
        let again: Vec<Fields> = (0..48).map(|_| flows.next()).collect();
        assert_eq!(first, again);
        let sources: Vec<String> = first[..5].iter().map(|f| f.source.to_string()).collect();
        assert_eq!(sources, ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1", "10.0.0.254"]);
    }

    #[test]
    fn the_whole_address_space_is_a_range() {
        let flows = flows("0.0.0.0/0", "1.2.3.4", "0-65535", "0-65535");
        assert_eq!(flows.count(), 1 << 64);
    }

    #[test]
    fn ranges_print_as_they_are_written() {
        for text in ["10.0.0.1", "10.0.0.1-10.0.0.9"] {
            assert_eq!(text.parse::<Addresses>().unwrap().to_string(), text);
        }
        assert_eq!(
            "10.1.2.3/16".parse::<Addresses>().unwrap().to_string(),
            "10.1.0.0-10.1.255.255"
        );
        assert_eq!("80".parse::<Span<u16>>().unwrap().to_string(), "80");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "a", "65536", "9-7", "-", "1-", "1-2-3", "-1"] {
            assert!(text.parse::<Span<u16>>().is_err(), "{text}");
        }
        for text in ["", "10.0.0", "10.0.0.9-10.0.0.1", "10.0.0.0/33", "10.0.0.0/", "/8", "::1"] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
        let message = "9-7".parse::<Span<u16>>().unwrap_err().to_string();
        assert_eq!(message, "`9-7` is not a port or a range of ports like 1024-65535");
    }
}
