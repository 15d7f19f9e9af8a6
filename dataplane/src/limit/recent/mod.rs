//! The tables of `-m recent` (net/netfilter/xt_recent.c): which addresses sent packets lately, and when.
//!
//! A table has room for a fixed number of addresses (`ip_list_tot` of the kernel's module; 100 unless the configuration
//! says otherwise). When all room is taken, a new address takes the place of the one that was noted longest ago: nobody
//! is shut out, and an attacker with many addresses can make the table forget others. Of each address the last times
//! are kept, as many as the largest `--hitcount` of the table's rules, at least [`STAMPS_MIN`], rounded up to a power
//! of two.
//!
//! All workers ask one table, in turns (`spin.rs`): what it says is as exact as if there were one worker.
//!
//! # Differences from the kernel, all on purpose
//!
//! * **A larger `--hitcount`** in a new rule makes a table's rings longer, with what they hold. The kernel empties the
//!   table: addresses that are held off would be let in.
//! * **`--reap`** may take out the address that is asked for, with a rule of which the opposite holds (`! --update`).
//!   The kernel goes on to note a packet in what it has freed; here the address is gone.
//! * **`--seconds`** above 17,179,869 (199 days, at 250 ticks a second) means what it says; the kernel counts the ticks
//!   in 32 bits.
//! * **65,535** hits: the kernel's ring of that length loses a time with every turn, since its index has 16 bits.
//! * **The mask** is for addresses of the family of the rule that made the table. If a rule of the other family shares
//!   it, it notes whole addresses; the kernel takes the mask's first bits for those as well.

mod entries;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;
use weir_control::rule::{HITCOUNT_MAX, RecentAction, RecentMatch};

use super::spin::Spin;
use super::{HZ, jiffies};
use entries::{Entries, Key, ring};

/// The match that these tables are of.
pub const RECENT: &str = "recent";

/// Times of an address that are kept at least.
pub const STAMPS_MIN: u32 = 32;

/// Addresses that are forgotten in one turn.
const FLUSHED_PER_TURN: u32 = 256;

/// What a rule wants to know, or to have noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    action: RecentAction,
    negated: bool,
    /// How many ticks packets count.
    jiffies: Option<u64>,
    hitcount: u32,
    rttl: bool,
    reap: bool,
}

impl Ask {
    /// What a match asks for; `None` if it says nothing.
    #[must_use]
    pub fn new(asked: &RecentMatch) -> Option<Self> {
        let action = asked.action?;
        Some(Self {
            action: action.value,
            negated: action.negated,
            jiffies: asked.seconds.map(|seconds| u64::from(seconds) * HZ),
            hitcount: asked.hitcount,
            rttl: asked.rttl,
            reap: asked.reap,
        })
    }
}

/// Times of an address that a table keeps for a rule (`recent_mt_check`).
#[must_use]
pub fn stamps_for(hitcount: u32) -> u32 {
    hitcount.clamp(STAMPS_MIN, HITCOUNT_MAX).next_power_of_two()
}

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    key: Key,
    ttl: u8,
    /// Times, the oldest first.
    jiffies: Vec<u64>,
}

/// An address of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentEntry {
    /// The address, under the table's mask.
    pub address: IpAddr,
    /// The time to live of the last packet that was noted; 0 if it was noted by hand.
    pub ttl: u8,
    /// When packets were noted, in ticks, the oldest first; at least one.
    pub jiffies: Vec<u64>,
}

/// A table. See the module.
#[derive(Debug)]
pub struct RecentTable {
    entries: Spin<Entries>,
    /// Times of an address that there is room for.
    stamps: AtomicU32,
    /// Bits by which addresses of IPv4 and of IPv6 are told apart.
    masks: [u128; 2],
}

impl RecentTable {
    /// For so many addresses, at least one, and so many times of each, which are rounded up to a power of two; made by
    /// a rule with this mask. All of its memory is allocated, and touched, here.
    #[must_use]
    pub fn new(addresses: u32, stamps: u32, mask: IpAddr) -> Self {
        // Who may fill it must not know what makes addresses meet.
        let hash = RandomState::new();
        let entries = Entries::new(addresses.max(1), stamps.next_power_of_two(), hash);
        let masks = match mask {
            IpAddr::V4(mask) => [u128::from(mask.to_bits()), u128::MAX],
            IpAddr::V6(mask) => [u32::MAX.into(), mask.to_bits()],
        };
        let stamps = stamps.next_power_of_two().into();
        Self { entries: Spin::new(entries), stamps, masks }
    }

    /// What a packet makes of a question: from or to this address, with that time to live when it came in.
    #[inline]
    pub fn ask(&self, ask: &Ask, address: IpAddr, ttl: u8, now_ns: u64) -> bool {
        let mut key = key(address);
        key.bits &= self.masks[usize::from(key.ipv6)];
        self.entries.with(|entries| entries.ask(ask, key, ttl, jiffies(now_ns)))
    }

    /// Addresses in it.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.entries.with(|entries| entries.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how many there is room.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.entries.with(|entries| entries.capacity())
    }

    /// Times of an address that there is room for.
    #[must_use]
    pub fn stamps(&self) -> u32 {
        self.stamps.load(Ordering::Relaxed)
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.capacity(), self.stamps())
    }

    /// The size of one for so many addresses, and so many times of each.
    #[must_use]
    pub fn bytes_of(addresses: u32, stamps: u32) -> usize {
        let times = stamps.next_power_of_two() as usize * size_of::<u64>();
        addresses as usize * (times + Entries::BYTES)
    }

    /// The masks by which addresses of IPv4 and of IPv6 are told apart.
    #[must_use]
    pub fn masks(&self) -> [IpAddr; 2] {
        let [mask, mask6] = self.masks;
        #[expect(clippy::cast_possible_truncation, reason = "one of IPv4 has 32 bits")]
        let mask = Ipv4Addr::from_bits(mask as u32);
        [mask.into(), Ipv6Addr::from_bits(mask6).into()]
    }

    /// The address in one of as many places as there is room for, if there is one.
    #[must_use]
    pub fn entry(&self, place: u32) -> Option<RecentEntry> {
        // Not in the turn: it is no place to allocate.
        let jiffies = Vec::with_capacity(self.stamps() as usize);
        self.entries.with(|entries| entries.known(place, jiffies)).map(RecentEntry::from)
    }

    /// All addresses, in no order. Workers go on meanwhile: what changes may be missed, or be seen as it was.
    #[must_use]
    pub fn list(&self) -> Vec<RecentEntry> {
        (0..self.capacity()).filter_map(|place| self.entry(place)).collect()
    }

    /// Notes that a packet came, of an address as it is, without the mask (`+ADDRESS` of the kernel's file).
    pub fn note(&self, address: IpAddr, now_ns: u64) {
        self.entries.with(|entries| entries.note_by_hand(key(address), jiffies(now_ns)));
    }

    /// Forgets an address; false if it is not there (`-ADDRESS`).
    pub fn forget(&self, address: IpAddr) -> bool {
        self.entries.with(|entries| entries.forget(key(address)))
    }

    /// Forgets as many addresses as there are (`/`). Those that come in a large table meanwhile may stay.
    pub fn flush(&self) {
        let mut left = self.len();
        while left > 0 {
            self.entries.with(|entries| entries.forget_oldest(left.min(FLUSHED_PER_TURN)));
            left = left.saturating_sub(FLUSHED_PER_TURN);
        }
    }

    /// Makes room for so many times of each address, if there is less. Those that are kept stay.
    pub fn widen(&self, stamps: u32) {
        let stamps = stamps.next_power_of_two();
        if stamps <= self.stamps.fetch_max(stamps, Ordering::Relaxed) {
            return;
        }
        for number in 0..self.capacity() {
            let longer = ring(stamps);
            // What is not needed is given back out of turn.
            drop(self.entries.with(|entries| entries.widen(number, longer)));
        }
    }
}

fn key(address: IpAddr) -> Key {
    match address {
        IpAddr::V4(address) => Key { bits: address.to_bits().into(), ipv6: false },
        IpAddr::V6(address) => Key { bits: address.to_bits(), ipv6: true },
    }
}

impl From<Known> for RecentEntry {
    fn from(Known { key: Key { bits, ipv6 }, ttl, jiffies }: Known) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "one of IPv4 has 32 bits")]
        let address = match ipv6 {
            false => Ipv4Addr::from_bits(bits as u32).into(),
            true => Ipv6Addr::from_bits(bits).into(),
        };
        Self { address, ttl, jiffies }
    }
}
