//! Entries on their way into the maps and out of them.

use weir_control::address_list::AddressList;
use weir_control::rule::Family;

use super::maps::{FOR_EVER, Held, MapChange, Maps};
use super::net::Net;
use super::slots::{Owed, Slot};
use super::{Blocked, By, EarlyDrop, EarlyDropError};
use crate::program::PacketCount;

/// Which map an entry of the blocklist stands in.
pub(super) fn map_of(source: Net) -> usize {
    let prefix = if source.is_host() { 0 } else { 2 };
    prefix + usize::from(source.family() == Family::V6)
}

/// Which map an entry of the allowlist stands in.
pub(super) fn allowed_map_of(source: Net) -> usize {
    4 + usize::from(source.family() == Family::V6)
}

impl<M: Maps> EarlyDrop<M> {
    /// Tells the maps what has changed. What they refuse stays to be told: the lists say what is meant.
    pub(crate) fn commit(&mut self) -> Result<(), EarlyDropError<M::Error>> {
        let held = Held((0..6).map(|map| u32::from(self.filled[map] > 0) << map).sum());
        if held != self.held && self.changes.last() != Some(&MapChange::Hold(held)) {
            self.changes.push(MapChange::Hold(held));
        }
        if self.changes.is_empty() {
            return Ok(());
        }
        self.maps.apply(&self.changes).map_err(EarlyDropError::Maps)?;
        self.held = held;
        self.changes.clear();
        Ok(())
    }

    /// Says that maps hold something before the first entry gets in.
    pub(super) fn hold(&mut self) {
        let filled: u32 = (0..6).map(|map| u32::from(self.filled[map] > 0) << map).sum();
        let held = Held(self.held.0 | filled);
        if held != self.held {
            self.changes.push(MapChange::Hold(held));
            self.held = held;
        }
    }

    pub(super) fn note_end(&mut self, until_ns: u64, list: AddressList, source: Net) {
        if until_ns != FOR_EVER {
            self.ends.insert((until_ns, list, source));
        }
    }

    pub(super) fn new_slot(&mut self) -> Result<Slot, EarlyDropError<M::Error>> {
        let (number, is_new) = self.slots.take();
        let base = if is_new { Ok(PacketCount::default()) } else { self.maps.count(number) };
        let base = base.map_err(|error| {
            self.slots.retire(number, None, 0);
            EarlyDropError::Maps(error)
        })?;
        Ok(Slot { number, base, read: base })
    }

    /// Finds room for the operator's entry, or makes it.
    pub(super) fn make_room(
        &mut self,
        source: Net,
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        let map = map_of(source);
        let max = if source.is_host() { self.sizes.sources_max } else { self.sizes.prefixes_max };
        if self.filled[map] < max {
            return Ok(());
        }
        let alike = self.pushed.iter().filter(|pushed| map_of(**pushed) == map);
        let end = |pushed: &&Net| self.blocked.get(*pushed).map(|blocked| blocked.until_ns);
        let Some(victim) = alike.min_by_key(end).copied() else {
            return Err(EarlyDropError::Full { list: AddressList::Blocklist, net: source, max });
        };
        self.displace(victim, now_ns);
        Ok(())
    }

    /// Puts an entry into the list, in place of one of the same hand.
    pub(super) fn insert(&mut self, source: Net, mut blocked: Blocked) {
        let list = AddressList::Blocklist;
        blocked.placed_until_ns = self.placed_until_ns(source, blocked.until_ns);
        self.note_end(blocked.until_ns, list, source);
        let placed = blocked.placed();
        let is_operator_s = blocked.is_operator_s();
        match self.blocked.insert(source, blocked) {
            Some(old) => {
                let end = self.blocked.get(&source).map(|blocked| blocked.until_ns);
                if end != Some(old.until_ns) {
                    self.ends.remove(&(old.until_ns, list, source));
                }
            }
            None => {
                self.filled[map_of(source)] += 1;
                match is_operator_s {
                    true => {
                        self.lengths[usize::from(source.prefix_len())] +=
                            u32::from(!source.is_host())
                    }
                    false => _ = self.pushed.insert(source),
                }
            }
        }
        self.hold();
        self.changes.push(MapChange::Block(source, placed));
    }

    /// Takes an entry out of the list, whosever it is.
    pub(super) fn remove(&mut self, source: Net, now_ns: u64) {
        let Some(old) = self.blocked.remove(&source) else { return };
        self.ends.remove(&(old.until_ns, AddressList::Blocklist, source));
        self.filled[map_of(source)] -= 1;
        let owed = match old.by {
            By::Operator(_) => None,
            By::Limiter { condition, .. } => Some(Owed { source, condition, read: old.slot.read }),
        };
        self.slots.retire(old.slot.number, owed, now_ns);
        self.changes.push(MapChange::Unblock(source));
        if owed.is_some() {
            self.pushed.remove(&source);
        } else if !source.is_host() {
            self.lengths[usize::from(source.prefix_len())] -= 1;
            self.place_within(source);
        }
    }

    /// Takes out a pushed entry that the limiter has not asked to take back.
    pub(super) fn displace(&mut self, source: Net, now_ns: u64) {
        self.remove(source, now_ns);
        self.gone.push(source);
    }

    pub(super) fn remove_allowed(&mut self, source: Net) -> bool {
        let Some(old) = self.allowed.remove(&source) else { return false };
        self.ends.remove(&(old.until_ns, AddressList::Allowlist, source));
        self.filled[allowed_map_of(source)] -= 1;
        self.changes.push(MapChange::Unallow(source));
        self.place_allowed_within(source);
        true
    }

    /// Takes out what was pushed inside a source or around it.
    pub(super) fn displace_overlapping(&mut self, source: Net, now_ns: u64) {
        let around = (0..source.prefix_len()).map(|len| source.shortened(len));
        let around = around.filter(|outer| self.pushed.contains(outer));
        let within = self.pushed.range(source.around()).copied();
        let within = within.filter(|inner| source.covers(*inner));
        let overlapping: Vec<Net> = around.chain(within).collect();
        overlapping.into_iter().for_each(|pushed| self.displace(pushed, now_ns));
    }

    /// The operator's prefixes that a source is inside of.
    pub(super) fn operator_covers(&self, source: Net) -> impl Iterator<Item = &Blocked> {
        let lens = (0..source.prefix_len()).filter(|len| self.lengths[usize::from(*len)] > 0);
        let covers = lens.filter_map(move |len| self.blocked.get(&source.shortened(len)));
        covers.filter(|blocked| blocked.is_operator_s())
    }

    /// Until when the map is to say that an entry lasts.
    pub(super) fn placed_until_ns(&self, source: Net, until_ns: u64) -> u64 {
        if source.is_host() {
            return until_ns;
        }
        self.operator_covers(source).map(|cover| cover.until_ns).fold(until_ns, u64::max)
    }

    /// The same of the allowlist.
    pub(super) fn allowed_placed_until_ns(&self, source: Net, until_ns: u64) -> u64 {
        let covers = (0..source.prefix_len()).map(|len| source.shortened(len));
        let covers = covers.filter_map(|cover| self.allowed.get(&cover));
        covers.map(|cover| cover.until_ns).fold(until_ns, u64::max)
    }

    /// The same as [`place_within`](Self::place_within), of the allowlist.
    pub(super) fn place_allowed_within(&mut self, prefix: Net) {
        let within = self.allowed.range(prefix.around());
        let within = within.filter(|(inner, _)| prefix.covers(**inner) && **inner != prefix);
        let ends: Vec<(Net, u64, u64)> = within
            .map(|(inner, allowed)| {
                let end_ns = self.allowed_placed_until_ns(*inner, allowed.until_ns);
                (*inner, allowed.placed_until_ns, end_ns)
            })
            .filter(|(_, before_ns, after_ns)| before_ns != after_ns)
            .collect();
        for (inner, _, placed_until_ns) in ends {
            let Some(allowed) = self.allowed.get_mut(&inner) else { continue };
            allowed.placed_until_ns = placed_until_ns;
            self.changes.push(MapChange::Allow(inner, placed_until_ns));
        }
    }

    /// Writes anew what stands inside a prefix that has come or gone, where that changes its end.
    pub(super) fn place_within(&mut self, prefix: Net) {
        let within = self.blocked.range(prefix.around());
        let within = within.filter(|(inner, blocked)| {
            prefix.covers(**inner)
                && **inner != prefix
                && !inner.is_host()
                && blocked.is_operator_s()
        });
        let ends: Vec<(Net, u64)> = within
            .map(|(inner, blocked)| {
                (*inner, blocked.placed_until_ns, self.placed_until_ns(*inner, blocked.until_ns))
            })
            .filter(|(_, before, after)| before != after)
            .map(|(inner, _, after)| (inner, after))
            .collect();
        for (inner, placed_until_ns) in ends {
            let Some(blocked) = self.blocked.get_mut(&inner) else { continue };
            blocked.placed_until_ns = placed_until_ns;
            self.changes.push(MapChange::Block(inner, blocked.placed()));
        }
    }
}
