//! `Connections`: those that a rule with `-m connlimit` counts (net/netfilter/nf_conncount.c).
//!
//! The kernel keeps a list of connections for each address, and with every packet looks for each of them in its
//! connection tracking, to throw out those that are no more. Here nobody looks: a connection is counted when its first
//! packet meets the rule, and its worker takes it off when it ends.
//!
//! ```text
//!   groups     address ──► how many connections       one for all workers
//!                 ▲  (a number)
//!   places     flow ──► its groups                    one for each worker, by the flow's place in the worker's table;
//!                                                     nobody else touches it
//! ```
//!
//! A packet of a connection that is counted already finds the count by the flow's place: two words, no turn, no hash.
//! To take off a connection that ends is to look at its place, for each rule that counts; hence [`RULES_MAX`].
//!
//! # Bounds
//!
//! There is a place for each flow that connection tracking has room for, and room for as many groups: some 45 bytes for
//! each flow and rule, allocated with the rule. A group more than that can only come by flows that are counted in both
//! directions. It is not remembered, and its connection passes as what it is, one of a group of its own: nobody is shut
//! out.
//!
//! # What counts
//!
//! As in the kernel of today (6.18): a connection counts from the first packet on about which the rule is asked, if it
//! is not assured by then, and of those that are, one where there is no other of its group; for as long as it lives,
//! but no longer than until it is in state TIME_WAIT or CLOSE. What a packet begins that is not accepted in the end
//! counts for that packet alone. So does a packet that belongs to nothing. Where rules are asked about packets of both
//! directions, a connection counts for both ends.
//!
//! On purpose otherwise:
//!
//! * Of a connection that does not count, in a group of none, the kernel drops each packet, whatever the rule says: the
//!   last ones of a connection that ends, for one (`connlimit_mt`, where a count of 0 stands for memory that could not
//!   be had). Here they pass for one.
//! * The kernel looks for connections that have ended no more than once a tick, and takes those of another core for
//!   living for two more; until then it counts some that are no more, such as a flood's that it dropped itself. Here
//!   none is.
//! * A connection that an ICMP error is about does not begin to count for who reports it.
//! * With a change of the rules the kernel forgets what was counted; here a rule that the change does not touch goes
//!   on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::NoMemory;
use super::groups::{Group, Groups, array};
use super::verified::Verified;
use crate::conntrack::Direction;

/// Rules of one family that may count connections.
pub const RULES_MAX: usize = 64;

/// Who knows which rules count: the policies in force.
pub trait Counting: std::fmt::Debug + Send + Sync {
    /// What rules of a family count, 0 for IPv4 and 1 for IPv6; also of rules that were taken out and may come back.
    fn connections(&self, family: usize) -> &[Arc<Connections>];

    /// Who is told of verified sources of a family, if a rule asks.
    fn verified(&self, family: usize) -> Option<&Verified>;
}

/// No rule counts.
impl Counting for () {
    fn connections(&self, _family: usize) -> &[Arc<Connections>] {
        &[]
    }

    fn verified(&self, _family: usize) -> Option<&Verified> {
        None
    }
}

/// See the module.
#[derive(Debug)]
pub struct Connections {
    groups: Groups,
    /// Of each worker, by place: the numbers of the groups that a flow counts in, by direction; 0 for none.
    places: Box<[Box<[AtomicU64]>]>,
}

/// A connection that a packet begins, counted until it is known what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(Group);

/// One worker's flow, in a place of its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) worker: usize,
    pub(crate) flow: u32,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Not assured yet.
    Young,
    /// Assured.
    Assured,
    /// In state TIME_WAIT or CLOSE.
    Over {
        /// Whether it was assured before.
        assured: bool,
    },
}

/// The numbers of the groups of both directions of a flow, 0 for none.
#[derive(Debug, Clone, Copy, Default)]
struct Halves(u64);

/// In a half: the connection counts in that group already, for its other direction.
const SHARED: u32 = 1 << 31;

impl Halves {
    fn half(self, direction: Direction) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "one half")]
        let half = (self.0 >> (32 * direction as u32)) as u32;
        half
    }

    /// The group that packets of that direction are counted by.
    fn group(self, direction: Direction) -> Option<Group> {
        Group::of(self.half(direction) & !SHARED)
    }

    /// The same, if it is that direction by which the connection counts there.
    fn own(self, direction: Direction) -> Option<Group> {
        Group::of(self.half(direction)).filter(|_| self.half(direction) & SHARED == 0)
    }

    /// With that half, where there was none.
    fn with(self, direction: Direction, half: u32) -> Self {
        Self(self.0 | u64::from(half) << (32 * direction as u32))
    }
}

impl Connections {
    /// None, for so many workers and so many flows of each.
    ///
    /// # Errors
    /// [`NoMemory`]
    pub fn new(workers: usize, flows_max: u32) -> Result<Self, NoMemory> {
        let places = |_| array(flows_max as usize, |_| AtomicU64::new(0));
        let places = (0..workers).map(places).collect::<Result<_, _>>()?;
        Ok(Self { groups: Groups::new(workers * flows_max as usize)?, places })
    }

    /// A connection of this address begins: how many there are with it.
    pub(crate) fn begin(&self, address: u128) -> (Option<Begun>, u32) {
        let (group, count) = self.groups.enter(address);
        (group.map(Begun), count)
    }

    /// What has begun is in a table.
    pub(crate) fn keep(&self, Begun(group): Begun, place: Place) {
        let Some(word) = self.word(place) else { return self.groups.leave(group) };
        let halves = Halves::default().with(Direction::Original, group.number());
        self.leave(Halves(word.swap(halves.0, Ordering::Relaxed)));
    }

    /// It came to nothing.
    pub(crate) fn give_up(&self, Begun(group): Begun) {
        self.groups.leave(group);
    }

    /// How many connections of this address there are for a packet of that direction, which belongs to one. That one
    /// counts from now on if it is in its beginnings, or if there is no other.
    pub(crate) fn of_known(
        &self,
        address: u128,
        (place, direction): (Place, Direction),
        age: Age,
    ) -> u32 {
        let Some(word) = self.word(place) else { return self.of_other(address) };
        let halves = Halves(word.load(Ordering::Relaxed));
        if let Some(group) = halves.group(direction) {
            return self.groups.count_in(group);
        }
        let other = halves.group(direction.opposite());
        if let Some(group) = other.filter(|group| self.groups.is_of(*group, address)) {
            // Both ends are in one group, where the connection counts once.
            word.store(halves.with(direction, group.number() | SHARED).0, Ordering::Relaxed);
            return self.groups.count_in(group);
        }
        let (group, count) = match age {
            Age::Over { assured: true } => return self.of_other(address),
            Age::Over { assured: false } => return self.with_one_more(address),
            Age::Young => self.groups.enter(address),
            Age::Assured => self.groups.enter_first(address),
        };
        if let Some(group) = group {
            word.store(halves.with(direction, group.number()).0, Ordering::Relaxed);
        }
        count
    }

    /// How many connections of this address there are for a packet that belongs to one, of which nothing is remembered.
    pub(crate) fn of_other(&self, address: u128) -> u32 {
        self.groups.count(address).max(1)
    }

    /// How many connections there are with one that has begun and its address.
    pub(crate) fn of_begun(&self, Begun(group): Begun) -> u32 {
        self.groups.count_in(group)
    }

    /// How many connections of this address there are, and one for a packet that belongs to none.
    pub(crate) fn with_one_more(&self, address: u128) -> u32 {
        self.groups.count(address).saturating_add(1)
    }

    /// The flow in that place counts no longer.
    pub(crate) fn end(&self, place: Place) {
        let Some(word) = self.word(place) else { return };
        if word.load(Ordering::Relaxed) != 0 {
            self.leave(Halves(word.swap(0, Ordering::Relaxed)));
        }
    }

    fn word(&self, Place { worker, flow }: Place) -> Option<&AtomicU64> {
        self.places.get(worker)?.get(flow as usize)
    }

    fn leave(&self, halves: Halves) {
        let own = [Direction::Original, Direction::Reply].map(|direction| halves.own(direction));
        own.into_iter().flatten().for_each(|group| self.groups.leave(group));
    }
}
