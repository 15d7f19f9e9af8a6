//! What the lists mean, as a linear search, and random changes of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_control::address_list::AddressList;
use weir_dataplane::early_drop::{
    ConditionNumber, EarlyDrop, EarlyDropError, FOR_EVER, Maps, Net, PushRefusal, Pushed, Sizes,
};

use crate::chance::Chance;

/// Small, so that lists are full often.
pub(crate) const SIZES: Sizes = Sizes { sources_max: 6, prefixes_max: 5 };

const HOUR_NS: u64 = 3_600_000_000_000;

/// The lists, one entry after the other.
#[derive(Default)]
pub(crate) struct Spec {
    /// Source, end, and the condition of pushed ones.
    blocked: Vec<(Net, u64, Option<ConditionNumber>)>,
    allowed: Vec<(Net, u64)>,
}

/// A change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Block(Net, u64),
    Unblock(Net),
    Allow(Net, u64),
    Unallow(Net),
    Flush(AddressList),
    Push(Net, u64, ConditionNumber),
    TakeBack(Net),
    /// Time passes for the lists alone: what ends before is taken out.
    Tick(u64),
}

/// An address of few, so that entries meet.
pub(crate) fn address(chance: &mut Chance) -> IpAddr {
    let last = chance.one_of(&[0, 1, 2, 127, 128, 255]);
    let third = chance.one_of(&[0, 1, 128]);
    match chance.percent(60) {
        true => Ipv4Addr::new(10, 0, third, last).into(),
        false => Ipv6Addr::new(0xfd00, 0, 0, third.into(), 0, 0, 0, last.into()).into(),
    }
}

fn net(chance: &mut Chance) -> Net {
    let address = address(chance);
    let lens: &[u8] = match address {
        IpAddr::V4(_) => &[0, 8, 16, 24, 25, 31, 32, 32, 32, 32],
        IpAddr::V6(_) => &[0, 8, 48, 64, 120, 127, 128, 128, 128],
    };
    Net::new(address, chance.one_of(lens)).expect("a length of the family")
}

/// The condition of a family, which every packet that the tests send meets.
pub(crate) fn condition(source: Net) -> ConditionNumber {
    let place = usize::from(source.address().is_ipv6());
    ConditionNumber::all().nth(place).expect("there are two")
}

impl Change {
    /// One of those that may follow at `now_ns`; ends are far from now, so that it does not matter when exactly that
    /// is.
    pub(crate) fn draw(chance: &mut Chance, now_ns: u64) -> Self {
        let ends =
            [FOR_EVER, FOR_EVER, now_ns + HOUR_NS, now_ns + 2 * HOUR_NS, now_ns - HOUR_NS / 3600];
        let (net, end) = (net(chance), chance.one_of(&ends));
        match chance.below(20) {
            0..=5 => Self::Block(net, end),
            6..=7 => Self::Unblock(net),
            8..=9 => Self::Allow(net, end),
            10..=11 => Self::Unallow(net),
            12..=16 => Self::Push(
                net,
                if end == FOR_EVER { now_ns + HOUR_NS } else { end },
                condition(net),
            ),
            17 => Self::TakeBack(net),
            18 if chance.percent(15) => {
                Self::Flush(chance.one_of(&[AddressList::Blocklist, AddressList::Allowlist]))
            }
            _ => Self::Tick(chance.one_of(&[now_ns, now_ns, now_ns, now_ns + HOUR_NS])),
        }
    }

    /// Makes it in the lists; whether it was taken.
    pub(crate) fn make<M: Maps>(self, lists: &mut EarlyDrop<M>, now_ns: u64) -> bool {
        let taken = |outcome: Result<(), EarlyDropError<M::Error>>| match outcome {
            Ok(()) => true,
            Err(EarlyDropError::Maps(error)) => panic!("{error}"),
            Err(_) => false,
        };
        match self {
            Self::Block(net, end) => taken(lists.block(net, end, None, now_ns)),
            Self::Unblock(net) => taken(lists.unblock(net, now_ns)),
            Self::Allow(net, end) => taken(lists.allow(net, end, None, now_ns)),
            Self::Unallow(net) => taken(lists.unallow(net)),
            Self::Flush(list) => taken(lists.flush(list, now_ns).map(|_| ())),
            Self::Push(source, until_ns, condition) => {
                let pushed = Pushed { source, acceptance: 0, until_ns, condition };
                let outcomes: Vec<Result<(), PushRefusal>> =
                    lists.push(&[pushed], now_ns).expect("maps");
                outcomes == [Ok(())]
            }
            Self::TakeBack(net) => taken(lists.take_back(&[net], now_ns)),
            Self::Tick(at_ns) => taken(lists.tick(at_ns).map(|_| ())),
        }
    }
}

impl Spec {
    /// Makes a change; whether it is one that is to be taken.
    pub(crate) fn make(&mut self, change: Change, now_ns: u64) -> bool {
        match change {
            Change::Block(net, end) => return self.block(net, end),
            Change::Unblock(net) => {
                let there = self.blocked.iter().position(|entry| (entry.0, entry.2) == (net, None));
                return there.map(|place| self.blocked.remove(place)).is_some();
            }
            Change::Allow(net, end) => {
                let there = self.allowed.iter().any(|entry| entry.0 == net);
                let alike = |entry: &&(Net, u64)| entry.0.family() == net.family();
                if !there
                    && self.allowed.iter().filter(alike).count() == SIZES.prefixes_max as usize
                {
                    return false;
                }
                self.allowed.retain(|entry| entry.0 != net);
                self.allowed.push((net, end));
                let overlaps = |other: Net| other.covers(net) || net.covers(other);
                self.blocked.retain(|entry| entry.2.is_none() || !overlaps(entry.0));
            }
            Change::Unallow(net) => {
                let there = self.allowed.iter().position(|entry| entry.0 == net);
                return there.map(|place| self.allowed.remove(place)).is_some();
            }
            Change::Flush(AddressList::Blocklist) => self.blocked.retain(|entry| entry.2.is_some()),
            Change::Flush(AddressList::Allowlist) => self.allowed.clear(),
            Change::Push(net, end, condition) => return self.push(net, end, condition, now_ns),
            Change::TakeBack(net) => {
                self.blocked.retain(|entry| entry.0 != net || entry.2.is_none())
            }
            Change::Tick(at_ns) => {
                self.blocked.retain(|entry| entry.1 > at_ns);
                self.allowed.retain(|entry| entry.1 > at_ns);
            }
        }
        true
    }

    fn alike(&self, net: Net) -> usize {
        let alike = |entry: &&(Net, u64, Option<ConditionNumber>)| {
            entry.0.family() == net.family() && entry.0.is_host() == net.is_host()
        };
        self.blocked.iter().filter(alike).count()
    }

    fn max(net: Net) -> usize {
        if net.is_host() { SIZES.sources_max as usize } else { SIZES.prefixes_max as usize }
    }

    fn block(&mut self, net: Net, end: u64) -> bool {
        let there = self.blocked.iter().any(|entry| entry.0 == net);
        if !there && self.alike(net) == Self::max(net) {
            let alike =
                |other: Net| other.family() == net.family() && other.is_host() == net.is_host();
            let pushed = self.blocked.iter().filter(|entry| entry.2.is_some() && alike(entry.0));
            // Of those that end together the first by address gives way.
            let Some(victim) = pushed.min_by_key(|entry| (entry.1, entry.0)).map(|entry| entry.0)
            else {
                return false;
            };
            self.blocked.retain(|entry| entry.0 != victim);
        }
        self.blocked.retain(|entry| entry.0 != net);
        let overlaps = |other: Net| !net.is_host() && (net.covers(other) || other.covers(net));
        self.blocked.retain(|entry| entry.2.is_none() || !overlaps(entry.0));
        self.blocked.push((net, end, None));
        true
    }

    fn push(&mut self, net: Net, end: u64, condition: ConditionNumber, now_ns: u64) -> bool {
        let overlaps = |other: Net| other.covers(net) || net.covers(other);
        let operator_s = self.blocked.iter().any(|entry| {
            entry.2.is_none() && (entry.0.covers(net) || !entry.0.is_host() && net.covers(entry.0))
        });
        let pushed = self
            .blocked
            .iter()
            .any(|entry| entry.2.is_some() && entry.0 != net && overlaps(entry.0));
        let allowed = self.allowed.iter().any(|entry| overlaps(entry.0));
        let there = self.blocked.iter().any(|entry| entry.0 == net);
        let full = !there && self.alike(net) == Self::max(net);
        if end <= now_ns || operator_s || pushed || allowed || full {
            return false;
        }
        self.blocked.retain(|entry| entry.0 != net);
        self.blocked.push((net, end, Some(condition)));
        true
    }

    /// Whether a packet from a source, which meets every condition, is dropped.
    pub(crate) fn drops(&self, source: IpAddr, now_ns: u64) -> bool {
        let host = Net::host(source);
        let holds = |net: Net, end: u64| net.covers(host) && end > now_ns;
        let allowed = self.allowed.iter().any(|entry| holds(entry.0, entry.1));
        !allowed && self.blocked.iter().any(|entry| holds(entry.0, entry.1))
    }
}
