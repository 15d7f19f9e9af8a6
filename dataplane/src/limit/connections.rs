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
//! A packet of a connection that is counted already finds the count by the flow's place: two words, no turn, no hash. To
//! take off a connection that ends is to look at its place, for each rule that counts; hence [`RULES_MAX`].
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
//! As in the kernel of today: the connection that a packet begins, as soon as the rule is asked about it, and for as long
//! as it lives if the packet is accepted; but no longer than until it is in state TIME_WAIT or CLOSE. A connection that
//! began before the rule was there counts only if nobody else of its group does. On purpose otherwise: in the kernel a
//! packet of a connection that does not count, in a group that has no other, is dropped whatever the rule says (the last
//! ones of a connection that ends, for one). Here it passes for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::NoMemory;
use super::groups::{Group, Groups, array};
use crate::conntrack::Direction;

/// Rules of one family that may count connections.
pub const RULES_MAX: usize = 64;

/// Who knows which rules count: the policies in force.
pub trait Counting: std::fmt::Debug + Send + Sync {
    /// What rules of a family count, 0 for IPv4 and 1 for IPv6; also of rules that were taken out and may come back.
    fn connections(&self, family: usize) -> &[Arc<Connections>];
}

/// No rule counts.
impl Counting for () {
    fn connections(&self, _family: usize) -> &[Arc<Connections>] {
        &[]
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

fn shift(direction: Direction) -> u32 {
    32 * direction as u32
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
        let before = word.swap(u64::from(group.number()), Ordering::Relaxed);
        self.leave(before);
    }

    /// It came to nothing.
    pub(crate) fn give_up(&self, Begun(group): Begun) {
        self.groups.leave(group);
    }

    /// How many connections of this address there are for a packet of that direction, which belongs to one: at least
    /// that one. If there is none, it counts from now on, unless it is over.
    pub(crate) fn of_known(
        &self,
        address: u128,
        (place, direction): (Place, Direction),
        is_over: bool,
    ) -> u32 {
        let Some(word) = self.word(place) else { return self.of_other(address) };
        let groups = word.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "one half")]
        let known = Group::of((groups >> shift(direction)) as u32);
        if let Some(group) = known {
            return self.groups.count_in(group);
        }
        if is_over {
            return self.of_other(address);
        }
        let (group, count) = self.groups.enter_first(address);
        if let Some(group) = group {
            word.store(groups | u64::from(group.number()) << shift(direction), Ordering::Relaxed);
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
            self.leave(word.swap(0, Ordering::Relaxed));
        }
    }

    /// Connections, and addresses that have some, as far as they hold still.
    #[must_use]
    pub fn sum(&self) -> (u64, u64) {
        self.groups.sum()
    }

    fn word(&self, Place { worker, flow }: Place) -> Option<&AtomicU64> {
        self.places.get(worker)?.get(flow as usize)
    }

    fn leave(&self, groups: u64) {
        for direction in [Direction::Original, Direction::Reply] {
            #[expect(clippy::cast_possible_truncation, reason = "one half")]
            let group = Group::of((groups >> shift(direction)) as u32);
            group.into_iter().for_each(|group| self.groups.leave(group));
        }
    }
}
