//! Early drop: sources whose packets end in the XDP program, before a worker sees them.
//!
//! Two hands write one blocklist. The operator's entries (`weirctl blocklist`) drop all IP packets of a source,
//! also those for the machine itself. The limiter's entries ([`Pushed`]) drop what a rule of its own would
//! have dropped: packets that meet a [`Condition`], each with the probability of the rule at its limit. An allowlist
//! wins over both.
//! Which rules may is said in `eligible`; the daemon has a turn for them twenty times a second.
//!
//! ```text
//!   weirctl block/allowlist --> EarlyDrop::block, allow ...    -+
//!                                                               +--> Vec<MapChange> --> Maps (of all ports)
//!   limiter                 --> EarlyDrop::push, take_back     -+                        |
//!           <-- Feedback (counts since the last, what has ended) <-- counts by slot <----+
//! ```
//!
//! This module decides what stands in the maps, with time as an argument; [`Maps`] writes them
//! (`program/early_maps.rs`, or a model in tests). What is true of them at all times:
//!
//! * **At most so many.** Single addresses and prefixes have a maximum for each family; the allowlist has that of
//!   prefixes. Where there is no room for the operator's entry, that of the limiter's which ends first gives way; where
//!   there is none of those, it is refused. The limiter's is refused where there is no room: then a worker drops the
//!   packets, as it would without early drop.
//! * **Entries end.** The program looks at the clock itself. [`EarlyDrop::tick`] takes out what is over, a bounded
//!   number at a time.
//! * **A trie finds the longest prefix only.** So an operator's prefix inside another that stays longer is written
//!   with the other's end, that no gap is there until it is taken out; and a prefix of the limiter's never
//!   overlaps one of the operator's, nor anything else of the limiter's.
//! * **The operator is before the limiter.** What he blocks or allows displaces what the limiter pushed there, and the
//!   limiter is told.
//! * **Counts are not lost.** What an entry has dropped is handed on once ([`Feedback`]), also what it drops in
//!   the moment in which it is taken out. [`EarlyDrop::dropped`] is the sum of everything, whatever became of
//!   the entries and ports.

mod condition;
mod eligible;
mod error;
mod listed;
mod maps;
mod net;
mod placed;
mod protected;
mod push_down;
mod pushed;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

pub use condition::{ANY_PORT, Condition, Hook};
pub use eligible::{Eligible, Ineligible, eligible};
pub use error::EarlyDropError;
pub use listed::Listed;
pub use maps::{CONDITIONS_MAX, ConditionNumber, FOR_EVER, Held, MapChange, MapEntry, Maps};
pub use net::Net;
use placed::allowed_map_of;
pub use protected::{Guarded, GuardedBy};
pub use push_down::{
    CALM_TURNS, Floored, HOLD_NS, HOT_TURNS, MARGIN_NS, PushDown, SOURCES_A_TURN_MAX, Step,
};
pub use pushed::{Counted, Feedback, PushRefusal, Pushed};
use slots::{Slot, Slots};
use weir_control::address_list::AddressList;

/// Entries that one [`EarlyDrop::tick`] takes out.
pub const EXPIRED_A_TICK_MAX: usize = 1_024;

/// How many entries there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Single addresses that are blocked, of each family.
    pub sources_max: u32,
    /// Prefixes that are blocked, of each family; and entries of the allowlist, of each family.
    pub prefixes_max: u32,
}

impl Sizes {
    /// How many slots that takes: two for each entry that may be blocked, so that as many can rest.
    #[must_use]
    pub fn slots(self) -> u32 {
        self.sources_max.saturating_add(self.prefixes_max).saturating_mul(4)
    }
}

/// Whose an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The operator's, with his comment.
    Operator(Option<String>),
    /// The limiter's.
    Limiter {
        /// Which packets it is about.
        condition: ConditionNumber,
        /// Of 2^32 packets so many are let through.
        acceptance: u32,
    },
}

/// A source that is blocked.
#[derive(Debug)]
struct Blocked {
    by: By,
    until_ns: u64,
    /// What the map says instead, if it stands inside another entry that ends later.
    placed_until_ns: u64,
    slot: Slot,
}

impl Blocked {
    fn is_operator_s(&self) -> bool {
        matches!(self.by, By::Operator(_))
    }

    fn placed(&self) -> MapEntry {
        let (condition, acceptance) = match self.by {
            By::Operator(_) => (None, 0),
            By::Limiter { condition, acceptance } => (Some(condition), acceptance),
        };
        MapEntry { until_ns: self.placed_until_ns, acceptance, slot: self.slot.number, condition }
    }
}

/// A source that nothing blocks.
#[derive(Debug)]
struct Allowed {
    until_ns: u64,
    /// As that of [`Blocked`].
    placed_until_ns: u64,
    comment: Option<String>,
}

/// The lists, and the maps they stand in.
#[derive(Debug)]
pub struct EarlyDrop<M> {
    maps: M,
    sizes: Sizes,
    blocked: BTreeMap<Net, Blocked>,
    allowed: BTreeMap<Net, Allowed>,
    ends: BTreeSet<(u64, AddressList, Net)>,
    slots: Slots,
    conditions: [Option<Condition>; CONDITIONS_MAX],
    /// Entries in each map, in the order of the bits of [`Held`].
    filled: [u32; 6],
    held: Held,
    /// How many prefixes of each length the operator has blocked.
    lengths: [u32; 129],
    /// Changes that the maps have yet to take.
    changes: Vec<MapChange>,
    /// Pushed entries that have ended by themselves since the last feedback.
    gone: Vec<Net>,
    pushed: BTreeSet<Net>,
}

impl<M: Maps> EarlyDrop<M> {
    /// Empty lists over empty maps of these sizes.
    pub fn new(maps: M, sizes: Sizes) -> Self {
        Self {
            maps,
            sizes,
            blocked: BTreeMap::new(),
            allowed: BTreeMap::new(),
            ends: BTreeSet::new(),
            slots: Slots::new(sizes.slots()),
            conditions: [None; CONDITIONS_MAX],
            filled: [0; 6],
            held: Held::default(),
            lengths: [0; 129],
            changes: Vec::new(),
            gone: Vec::new(),
            pushed: BTreeSet::new(),
        }
    }

    /// The maps.
    pub fn maps(&self) -> &M {
        &self.maps
    }

    /// How many entries a list has.
    pub fn len(&self, list: AddressList) -> usize {
        match list {
            AddressList::Blocklist => self.blocked.len(),
            AddressList::Allowlist => self.allowed.len(),
        }
    }

    /// Whether a list has none.
    pub fn is_empty(&self, list: AddressList) -> bool {
        self.len(list) == 0
    }

    /// How many entries of the blocklist are the limiter's.
    pub fn pushed_len(&self) -> usize {
        self.pushed.len()
    }

    /// Blocks all packets of a source until `until_ns`. One that the operator has blocked already gets the new end and
    /// comment, and counts on.
    ///
    /// # Errors
    /// [`EarlyDropError::Full`], and nothing has changed; [`EarlyDropError::Maps`], and it is tried again.
    pub fn block(
        &mut self,
        source: Net,
        until_ns: u64,
        comment: Option<String>,
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        self.stage_block(source, until_ns, comment, now_ns)?;
        self.commit()
    }

    /// [`block`](Self::block) without telling the maps.
    pub(crate) fn stage_block(
        &mut self,
        source: Net,
        until_ns: u64,
        comment: Option<String>,
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        let by = By::Operator(comment);
        let slot = match self.blocked.get(&source) {
            Some(old) if old.is_operator_s() => old.slot,
            Some(_) => {
                self.displace(source, now_ns);
                self.new_slot()?
            }
            None => {
                self.make_room(source, now_ns)?;
                self.new_slot()?
            }
        };
        self.insert(source, Blocked { by, until_ns, placed_until_ns: until_ns, slot });
        if !source.is_host() {
            self.displace_overlapping(source, now_ns);
            self.place_within(source);
        }
        Ok(())
    }

    /// Takes a source out of the operator's blocklist.
    ///
    /// # Errors
    /// [`EarlyDropError::NotThere`] or [`EarlyDropError::IsPushed`], and nothing has changed;
    /// [`EarlyDropError::Maps`], and it is tried again.
    pub fn unblock(&mut self, source: Net, now_ns: u64) -> Result<(), EarlyDropError<M::Error>> {
        let list = AddressList::Blocklist;
        let old =
            self.blocked.get(&source).ok_or(EarlyDropError::NotThere { list, net: source })?;
        if !old.is_operator_s() {
            return Err(EarlyDropError::IsPushed { net: source });
        }
        self.remove(source, now_ns);
        self.commit()
    }

    /// Lets all packets of a source pass until `until_ns`, whatever blocks them. One that is there already gets the new
    /// end and comment. What the limiter has pushed of that source is taken back.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    pub fn allow(
        &mut self,
        source: Net,
        until_ns: u64,
        comment: Option<String>,
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        self.stage_allow(source, until_ns, comment, now_ns)?;
        self.commit()
    }

    /// [`allow`](Self::allow) without telling the maps.
    pub(crate) fn stage_allow(
        &mut self,
        source: Net,
        until_ns: u64,
        comment: Option<String>,
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        let list = AddressList::Allowlist;
        let map = allowed_map_of(source);
        match self.allowed.get(&source) {
            Some(old) => _ = self.ends.remove(&(old.until_ns, list, source)),
            None if self.filled[map] >= self.sizes.prefixes_max => {
                let max = self.sizes.prefixes_max;
                return Err(EarlyDropError::Full { list, net: source, max });
            }
            None => self.filled[map] += 1,
        }
        self.hold();
        self.note_end(until_ns, list, source);
        let placed_until_ns = self.allowed_placed_until_ns(source, until_ns);
        self.allowed.insert(source, Allowed { until_ns, placed_until_ns, comment });
        self.changes.push(MapChange::Allow(source, placed_until_ns));
        self.place_allowed_within(source);
        self.displace_overlapping(source, now_ns);
        Ok(())
    }

    /// Takes a source out of the allowlist.
    ///
    /// # Errors
    /// As [`unblock`](Self::unblock).
    pub fn unallow(&mut self, source: Net) -> Result<(), EarlyDropError<M::Error>> {
        let list = AddressList::Allowlist;
        if !self.remove_allowed(source) {
            return Err(EarlyDropError::NotThere { list, net: source });
        }
        self.commit()
    }

    /// Takes out all that the operator has put into a list. Returns how many entries that was.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`], and it is tried again.
    pub fn flush(
        &mut self,
        list: AddressList,
        now_ns: u64,
    ) -> Result<usize, EarlyDropError<M::Error>> {
        let all: Vec<Net> = match list {
            AddressList::Blocklist => {
                let own = self.blocked.iter().filter(|(_, blocked)| blocked.is_operator_s());
                own.map(|(source, _)| *source).collect()
            }
            AddressList::Allowlist => self.allowed.keys().copied().collect(),
        };
        // Prefixes inside others come after them: the longest first, no end has to be written anew.
        for source in all.iter().rev() {
            match list {
                AddressList::Blocklist => self.remove(*source, now_ns),
                AddressList::Allowlist => _ = self.remove_allowed(*source),
            }
        }
        self.commit().map(|()| all.len())
    }

    /// Takes out entries that are over, at most [`EXPIRED_A_TICK_MAX`] of them, and tries again what the maps did not
    /// take. True if some are left for the next time.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`], and it is tried again.
    pub fn tick(&mut self, now_ns: u64) -> Result<bool, EarlyDropError<M::Error>> {
        let over = self.ends.iter().take_while(|(until_ns, _, _)| *until_ns <= now_ns);
        let over: Vec<_> = over.take(EXPIRED_A_TICK_MAX).copied().collect();
        for &(_, list, source) in &over {
            match list {
                AddressList::Blocklist if self.pushed.contains(&source) => {
                    self.displace(source, now_ns)
                }
                AddressList::Blocklist => self.remove(source, now_ns),
                AddressList::Allowlist => _ = self.remove_allowed(source),
            }
        }
        self.slots.release(now_ns);
        self.commit().map(|()| over.len() == EXPIRED_A_TICK_MAX)
    }
}
