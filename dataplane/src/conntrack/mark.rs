//! `Marks`: a number for each flow, which rules give it (`ct->mark`, `net/netfilter/xt_connmark.c`).
//!
//! A flow's line is full, so marks stand in an array of their own: 4 bytes for each place, whether rules ask for them
//! or not. As long as no flow of a table was ever given one, all are 0 and nobody looks there.

use std::cell::Cell;

use super::Tracked;
use super::event::EventKind;
use super::query::Place;
use super::tracker::Conntrack;

/// The marks of a table's flows, by place. Rules change them while they look at the flows; a table has one thread.
#[derive(Debug)]
pub(super) struct Marks {
    each: Box<[Cell<u32>]>,
    /// Whether any was ever other than 0.
    given: Cell<bool>,
}

impl Marks {
    /// For so many places.
    pub(super) fn new(count: usize) -> Self {
        // Written to, so that no page is first touched by a packet; and not as zeros, which need not be written.
        let each = vec![Cell::new(u32::MAX); count];
        std::hint::black_box(&each).iter().for_each(|mark| mark.set(0));
        Self { each: each.into(), given: Cell::new(false) }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.each)
    }

    #[inline]
    pub(super) fn get(&self, flow: u32) -> u32 {
        if self.given.get() { self.each[flow as usize].get() } else { 0 }
    }

    #[inline]
    pub(super) fn set(&self, flow: u32, mark: u32) {
        if mark != 0 {
            self.given.set(true);
        }
        if self.given.get() {
            self.each[flow as usize].set(mark);
        }
    }
}

impl Conntrack {
    /// The mark of the packet's flow, which must be the packet that was tracked last; `None` if it has no flow. That of
    /// an ICMP error is the flow that it is about.
    #[must_use]
    pub fn mark(&self, tracked: &Tracked) -> Option<u32> {
        Some(match self.place_of(tracked)? {
            Place::Table(family, flow) => self.families[family].table.marks.get(flow),
            Place::Entry(entry) => entry.mark.get(),
        })
    }

    /// Gives the packet's flow a mark. A flow that the packet begins keeps it when it is put into the table. Without a
    /// flow nothing happens.
    pub fn set_mark(&self, tracked: &Tracked, mark: u32) {
        match self.place_of(tracked) {
            None => {}
            Some(Place::Entry(entry)) => entry.mark.set(mark),
            Some(Place::Table(family, flow)) => {
                let marks = &self.families[family].table.marks;
                if marks.get(flow) != mark {
                    marks.set(flow, mark);
                    self.note(EventKind::Update, family, flow);
                }
            }
        }
    }
}
