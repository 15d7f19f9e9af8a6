//! What changes from packet to packet: addresses, ports, and the numbers that only have to be different.

use fastrand::Rng;

use super::pick::{Order, Pick, Space};
use crate::address::Address;

/// The fields of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Source address.
    pub source: Address,
    /// Destination address, of the same family.
    pub destination: Address,
    /// Source port, or the identifier of an ICMP echo.
    pub source_port: u16,
    /// Destination port, or the number of an ICMP echo.
    pub destination_port: u16,
    /// Identification of the IPv4 header.
    pub identification: u16,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// TCP's sequence number.
    pub sequence: u32,
    /// TCP's acknowledgment number; only with the flag ACK is it sent.
    pub acknowledgment: u32,
}

/// Where the fields come from.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// Source addresses.
    pub source: Pick,
    /// Source ports.
    pub source_port: Pick,
    /// Destination ports.
    pub destination_port: Pick,
    /// Destination addresses.
    pub destination: Pick,
    /// TTLs.
    pub ttl: Pick,
    /// If set: so many combinations of the four above, the first ones when they turn like the wheels of an odometer,
    /// the source fastest. Else each is drawn for itself.
    pub flows: Option<(u64, Order)>,
    /// TCP's sequence number; `None` draws one for each packet.
    pub sequence: Option<u32>,
    /// TCP's acknowledgment number likewise.
    pub acknowledgment: Option<u32>,
    /// The IP header's identification; `None` counts.
    pub identification: Option<u16>,
    /// Source and destination are the same.
    pub is_land: bool,
}

impl Ranges {
    /// How many combinations there are.
    #[must_use]
    pub fn combinations(&self) -> u128 {
        let picks = [&self.source, &self.source_port, &self.destination_port, &self.destination];
        picks.iter().map(|pick| pick.count()).fold(1, u128::saturating_mul)
    }

    /// Whether a packet of these addresses and ports may be one of these. Ports are `None` where they cannot be read.
    #[must_use]
    pub fn may_be(&self, source: Address, destination: Address, ports: Option<(u16, u16)>) -> bool {
        let fits = |pick: &Pick, value: u128| pick.space().contains(value);
        let from = if self.is_land { &self.destination } else { &self.source };
        fits(from, source.bits())
            && fits(&self.destination, destination.bits())
            && ports.is_none_or(|(source_port, destination_port)| {
                let from = if self.is_land { &self.destination_port } else { &self.source_port };
                fits(from, source_port.into())
                    && fits(&self.destination_port, destination_port.into())
            })
    }
}

/// Draws the fields of one packet after the other.
#[derive(Clone, Debug)]
pub struct Generator {
    ranges: Ranges,
    /// Over the numbers of flows, if they are counted.
    flows: Option<Pick>,
    rng: Rng,
    count: u64,
    lane: u64,
    lanes: u64,
}

impl Generator {
    /// For one of `lanes` threads.
    #[must_use]
    pub fn new(ranges: Ranges, lane: u64, lanes: u64, seed: u64) -> Self {
        let flows = ranges.flows.map(|(count, order)| {
            Pick::new(Space::Range { first: 0, len: count.into() }, order).lane(lane, lanes)
        });
        // Fields that walk are out of step with each other between threads in the same way as within one: each thread
        // takes every n-th value.
        let each = |pick: Pick| pick.lane(lane, lanes);
        let ranges = Ranges {
            source: each(ranges.source),
            source_port: each(ranges.source_port),
            destination_port: each(ranges.destination_port),
            destination: each(ranges.destination),
            ttl: each(ranges.ttl),
            ..ranges
        };
        Self { ranges, flows, rng: Rng::with_seed(seed), count: 0, lane, lanes }
    }

    /// The fields of the next packet.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "ports, TTLs and identifications wrap")]
    pub fn draw(&mut self) -> Fields {
        let (ranges, rng) = (&mut self.ranges, &mut self.rng);
        let mut fields = match &mut self.flows {
            Some(flows) => flow(ranges, flows.next_place(rng)),
            None => Fields {
                source: Address::from_bits(ranges.source.next(rng)),
                source_port: ranges.source_port.next(rng) as u16,
                destination_port: ranges.destination_port.next(rng) as u16,
                destination: Address::from_bits(ranges.destination.next(rng)),
                ..Fields::default()
            },
        };
        if ranges.is_land {
            (fields.source, fields.source_port) = (fields.destination, fields.destination_port);
        }
        fields.ttl = ranges.ttl.next(rng) as u8;
        let number = self.count * self.lanes + self.lane;
        self.count += 1;
        fields.identification = ranges.identification.unwrap_or(number as u16);
        fields.sequence = ranges.sequence.unwrap_or_else(|| rng.u32(..));
        fields.acknowledgment = ranges.acknowledgment.unwrap_or_else(|| rng.u32(..));
        fields
    }
}

/// The combination with this number.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "ports have 16 bits, numbers of flows 32")]
fn flow(ranges: &Ranges, number: u128) -> Fields {
    let mut rest = number as u64;
    let mut wheel = |pick: &Pick| {
        // A division is not free, and most wheels have one value.
        let place = match u64::try_from(pick.count()) {
            Ok(1) => 0,
            Ok(count) => {
                let place = rest % count;
                rest /= count;
                place
            }
            // Such a wheel never comes round.
            Err(_) => std::mem::take(&mut rest),
        };
        pick.value(place.into())
    };
    Fields {
        source: Address::from_bits(wheel(&ranges.source)),
        source_port: wheel(&ranges.source_port) as u16,
        destination_port: wheel(&ranges.destination_port) as u16,
        destination: Address::from_bits(wheel(&ranges.destination)),
        ..Fields::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ranges(flows: Option<(u64, Order)>) -> Ranges {
        let walk = |first: u32, last: u32| Pick::new(Space::between(first, last), Order::Walk);
        Ranges {
            source: walk(1000, 1999),
            source_port: walk(1, 60_000),
            destination_port: walk(80, 80),
            destination: walk(5, 5),
            ttl: walk(64, 64),
            flows,
            sequence: None,
            acknowledgment: Some(0),
            identification: None,
            is_land: false,
        }
    }

    fn tuple(fields: Fields) -> (u128, u16, u16, u128) {
        let Fields { source, source_port, destination_port, destination, .. } = fields;
        (source.bits(), source_port, destination_port, destination.bits())
    }

    fn address(bits: u128) -> Address {
        Address::from_bits(bits)
    }

    #[test]
    fn flows_are_as_many_as_asked_for_and_each_comes_in_turn() {
        let count = 4_000_000;
        let mut generator = Generator::new(ranges(Some((count, Order::Walk))), 0, 1, 1);
        let mut seen = vec![false; 1000 * 60_000];
        for _ in 0..count {
            let fields = generator.draw();
            let place = u32::from(fields.source_port - 1) * 1000 + fields.source.low_bits() - 1000;
            assert!(!std::mem::replace(&mut seen[place as usize], true), "twice: {fields:?}");
        }
        assert_eq!(tuple(generator.draw()), (1000, 1, 80, 5), "and begins again");
        let mut generator = Generator::new(ranges(Some((10, Order::Random))), 0, 1, 1);
        let seen: BTreeSet<_> = (0..500).map(|_| tuple(generator.draw())).collect();
        assert_eq!(seen.len(), 10);
    }

    #[test]
    fn threads_divide_the_flows() {
        let mut seen = BTreeSet::new();
        for lane in 0..2 {
            let mut generator = Generator::new(ranges(Some((1000, Order::Walk))), lane, 2, 1);
            seen.extend((0..500).map(|_| tuple(generator.draw())));
        }
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn what_need_not_differ_is_as_it_is_said() {
        let mut generator = Generator::new(ranges(None), 0, 1, 1);
        let (first, second) = (generator.draw(), generator.draw());
        assert_eq!((tuple(first), tuple(second)), ((1000, 1, 80, 5), (1001, 2, 80, 5)));
        assert_eq!((first.identification, second.identification), (0, 1));
        assert_ne!(first.sequence, second.sequence);
        assert_eq!((first.acknowledgment, first.ttl), (0, 64));
        let land = Ranges { is_land: true, ..ranges(None) };
        assert_eq!(tuple(Generator::new(land, 0, 1, 1).draw()), (5, 80, 80, 5));
        let (five, first) = (address(5), address(1000));
        assert!(land.may_be(five, five, Some((80, 80))));
        assert!(!land.may_be(first, five, Some((80, 80))));
        assert!(ranges(None).may_be(first, five, None));
        assert!(!ranges(None).may_be(first, five, Some((0, 80))));
    }
}
