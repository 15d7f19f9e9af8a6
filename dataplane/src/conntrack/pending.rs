//! Flows that the packets of a batch begin, until the rules have decided about those packets.
//!
//! The kernel finishes with one packet before it looks at the next; a batch goes through the stages together. So a
//! packet whose flow was begun by an earlier one of the same batch has to wait until it is known whether that flow
//! will be there. To find out costs one look into 256 bytes, however many flows a flood begins.

use std::cell::Cell;

use super::count::Counts;
use super::flow::{Aside, Flow};
use super::proxy::Proxied;
use super::view::FlowId;
use crate::batch::BATCH_MAX;
use crate::conntrack::clock::Ticks;

const HEADS: usize = 256;
const NONE: u8 = u8::MAX;

/// A flow that is not in the table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) flow: Flow,
    pub(super) aside: Aside,
    /// Source and destination of an IPv6 flow.
    pub(super) addresses6: Option<[u128; 2]>,
    pub(super) mark: Cell<u32>,
    pub(super) proxied: Cell<Proxied>,
    pub(super) counts: Counts,
    pub(super) hash: u64,
    /// How long it will live if it is confirmed.
    pub(super) timeout: Ticks,
    pub(super) fate: Fate,
    next: u8,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Begun by a packet of this batch.
    New,
    /// Begun, and in the table now.
    Confirmed(FlowId),
    /// Ended by a packet of this batch, which the rules still have to see.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    heads: [u8; HEADS],
    entries: Vec<Entry>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { heads: [NONE; HEADS], entries: Vec::with_capacity(BATCH_MAX) }
    }

    /// Forgets everything.
    #[inline]
    pub(super) fn clear(&mut self) {
        if !self.entries.is_empty() {
            self.heads = [NONE; HEADS];
            self.entries.clear();
        }
    }

    #[inline]
    fn head(hash: u64) -> usize {
        usize::try_from(hash >> 48).unwrap_or(0) % HEADS
    }

    /// Whether a new flow with this hash is among them that `is_it` says yes to.
    #[inline]
    pub(super) fn has(&self, hash: u64, is_it: impl Fn(&Entry) -> bool) -> bool {
        let mut at = self.heads[Self::head(hash)];
        while let Some(entry) = self.entries.get(usize::from(at)) {
            if entry.hash == hash && entry.fate == Fate::New && is_it(entry) {
                return true;
            }
            at = entry.next;
        }
        false
    }

    /// Adds a flow, and says where; `None` if a whole batch has begun one each already.
    pub(super) fn push(&mut self, entry: Entry) -> Option<(u8, &mut Entry)> {
        if self.entries.len() == BATCH_MAX {
            return None;
        }
        let at = u8::try_from(self.entries.len()).ok()?;
        let head = &mut self.heads[Self::head(entry.hash)];
        self.entries.push(Entry { next: *head, ..entry });
        *head = at;
        self.entries.last_mut().map(|entry| (at, entry))
    }

    /// Takes back what was added last.
    pub(super) fn pop(&mut self) {
        if let Some(entry) = self.entries.pop() {
            self.heads[Self::head(entry.hash)] = entry.next;
        }
    }

    pub(super) fn get(&self, at: u8) -> Option<&Entry> {
        self.entries.get(usize::from(at))
    }

    pub(super) fn get_mut(&mut self, at: u8) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(at))
    }
}

impl Entry {
    pub(super) fn new(flow: Flow, hash: u64, fate: Fate) -> Self {
        Self {
            flow,
            aside: Aside::default(),
            addresses6: None,
            mark: Cell::new(0),
            proxied: Cell::default(),
            counts: Counts::default(),
            hash,
            timeout: Ticks(0),
            fate,
            next: NONE,
        }
    }
}
