//! Looking up a batch of packets at once.
//!
//! What costs time in a lookup is not arithmetic: it is branches that nobody can predict (does this slot hold
//! anything? does this record match? is there another one?) and memory that is far. So a batch goes through one step
//! at a time, for all of its packets: the step's results are appended to a queue always, and the queue's end is moved
//! only if the result is worth something. Nothing depends on a prediction, and the memory of the next step is asked
//! for long before it is read.

use super::Classifier;
use super::key::PacketKey;
use super::table::{Child, Kind, NONE, Table};
use super::vectors::Located;
use crate::batch::BATCH_MAX;
use crate::frame::prefetch;

/// Tables of the root that a batch goes through at a time.
const STRIDE: usize = 8;

/// Items that a queue has room for. More are looked at one after the other, which takes longer: tests have room for
/// little more than a batch, so that it happens.
const ITEMS: usize = if cfg!(test) { BATCH_MAX + 4 } else { 16 * BATCH_MAX };

/// Records of a leaf that is looked at a record a step; longer ones at once.
const STEPS_MAX: usize = 16;

/// Something to be looked at for a packet of the batch.
#[derive(Debug, Clone, Copy)]
struct Item {
    child: Child,
    packet: u32,
}

/// A queue whose end moves only if what was appended is wanted.
#[derive(Debug, Clone)]
struct Queue {
    /// The place after the last is for what is not wanted.
    items: Box<[Item; ITEMS + 1]>,
    length: usize,
}

impl Queue {
    fn new() -> Self {
        let none = Item { child: Child::NOTHING, packet: 0 };
        Self { items: Box::new([none; ITEMS + 1]), length: 0 }
    }

    /// Appends an item if it is wanted; then there must be room for it.
    #[inline(always)]
    fn append(&mut self, item: Item, wanted: bool) {
        self.items[self.length] = item;
        self.length += usize::from(wanted);
    }
}

/// Memory that lookups of batches need: made once a worker.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Places of slots that have been asked for.
    places: Box<[u32; STRIDE * BATCH_MAX]>,
    group_places: Box<[u32; ITEMS]>,
    leaves: Queue,
    groups: Queue,
    /// Bit vectors.
    sets: Queue,
    /// What the last step found.
    hits: Queue,
    located: Box<[Located; BATCH_MAX]>,
    best: [u32; BATCH_MAX],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            places: Box::new([0; STRIDE * BATCH_MAX]),
            group_places: Box::new([0; ITEMS]),
            leaves: Queue::new(),
            groups: Queue::new(),
            sets: Queue::new(),
            hits: Queue::new(),
            located: Box::new([Located::default(); BATCH_MAX]),
            best: [NONE; BATCH_MAX],
        }
    }
}

impl Classifier {
    /// The first candidate for each of a batch of packets, as [`Classifier::next`] from 0.
    ///
    /// # Panics
    /// When there are more than [`BATCH_MAX`] keys, or fewer places in `found`.
    pub fn first_of_batch(
        &self,
        scratch: &mut Scratch,
        keys: &[PacketKey],
        found: &mut [Option<u32>],
    ) {
        assert!(keys.len() <= BATCH_MAX && keys.len() <= found.len(), "a batch, and room for it");
        scratch.best.fill(NONE);
        match self.root.kind() {
            Kind::Tables(place, length) => {
                for tables in self.tables[place..place + length].chunks(STRIDE) {
                    self.locate(scratch, tables, keys);
                    for i in 0..tables.len() {
                        self.root_step(scratch, i, keys);
                        self.drain(scratch, keys);
                    }
                }
            }
            Kind::Vectors(place) => {
                let vectors = &self.vectors[place];
                for (key, best) in keys.iter().zip(&mut scratch.best) {
                    *best = vectors.first(&vectors.locate(*key), *key, &self.interfaces, NONE);
                }
            }
            Kind::Leaf(..) => {
                for (key, best) in keys.iter().zip(&mut scratch.best) {
                    self.visit(self.root, *key, 0, best);
                }
            }
        }
        for (found, best) in found.iter_mut().zip(scratch.best).take(keys.len()) {
            *found = (best != NONE).then_some(best);
        }
    }

    /// Asks for the slots of some tables for every packet.
    fn locate(&self, scratch: &mut Scratch, tables: &[Table], keys: &[PacketKey]) {
        for (table, places) in tables.iter().zip(scratch.places.chunks_exact_mut(BATCH_MAX)) {
            for (key, place) in keys.iter().zip(places) {
                *place = table.place(*key);
                prefetch(&self.slots[*place as usize]);
            }
        }
    }

    /// Looks at the slots of one of those tables.
    fn root_step(&self, scratch: &mut Scratch, table: usize, keys: &[PacketKey]) {
        let places = &scratch.places[table * BATCH_MAX..][..keys.len()];
        scratch.hits.length = 0;
        for ((packet, place), best) in (0_u32..).zip(places).zip(&scratch.best) {
            let slot = self.slots[*place as usize];
            scratch.hits.append(Item { child: slot.child, packet }, slot.first < *best);
        }
        self.sort_hits(scratch);
    }

    /// Appends what slots led to each to the queue of its kind.
    fn sort_hits(&self, scratch: &mut Scratch) {
        for &item in &scratch.hits.items[..scratch.hits.length] {
            let tables = item.child.is_tables();
            let leaf = item.child.is_leaf() & (item.child.length() <= STEPS_MAX);
            if leaf {
                prefetch(&self.records[item.child.place()]);
            }
            scratch.leaves.append(item, leaf);
            scratch.groups.append(item, tables);
            scratch.sets.append(item, !leaf & !tables);
        }
    }

    /// Goes on until nothing is left to be looked at.
    fn drain(&self, scratch: &mut Scratch, keys: &[PacketKey]) {
        while scratch.leaves.length + scratch.groups.length + scratch.sets.length > 0 {
            self.leaf_step(scratch, keys);
            self.set_step(scratch, keys);
            self.group_step(scratch, keys);
        }
    }

    /// Looks at one record for each leaf of the queue.
    fn leaf_step(&self, scratch: &mut Scratch, keys: &[PacketKey]) {
        let Scratch { leaves, best, .. } = scratch;
        let length = std::mem::take(&mut leaves.length);
        for i in 0..length {
            let item = leaves.items[i];
            let packet = item.packet as usize;
            let record = &self.records[item.child.place()];
            let holds = record.matches(keys[packet], &self.interfaces);
            let before = best[packet];
            let better = record.index < before;
            best[packet] = if holds & better { record.index } else { before };
            let more = better & !holds & (item.child.length() > 1);
            leaves.append(Item { child: item.child.rest(), ..item }, more);
        }
    }

    /// Looks at the bit vectors of the queue, and at its long leaves.
    fn set_step(&self, scratch: &mut Scratch, keys: &[PacketKey]) {
        let length = std::mem::take(&mut scratch.sets.length);
        for items in scratch.sets.items[..length].chunks(BATCH_MAX) {
            for (item, located) in items.iter().zip(scratch.located.iter_mut()) {
                if let Kind::Vectors(place) = item.child.kind() {
                    *located = self.vectors[place].locate(keys[item.packet as usize]);
                    self.vectors[place].prefetch(located);
                }
            }
            for (item, located) in items.iter().zip(scratch.located.iter()) {
                let key = keys[item.packet as usize];
                let best = &mut scratch.best[item.packet as usize];
                if let Kind::Vectors(place) = item.child.kind() {
                    *best = self.vectors[place].first(located, key, &self.interfaces, *best);
                } else {
                    self.visit(item.child, key, 0, best);
                }
            }
        }
    }

    /// Looks at one table for each group of the queue.
    fn group_step(&self, scratch: &mut Scratch, keys: &[PacketKey]) {
        let Scratch { leaves, groups, sets, hits, best, group_places: places, .. } = scratch;
        let room = (ITEMS - groups.length).min(ITEMS - leaves.length).min(ITEMS - sets.length);
        let length = groups.length;
        let from = length.saturating_sub(room);
        for (item, place) in groups.items[from..length].iter().zip(places.iter_mut()) {
            *place = self.tables[item.child.place()].place(keys[item.packet as usize]);
            prefetch(&self.slots[*place as usize]);
        }
        groups.length = from;
        hits.length = 0;
        for i in from..length {
            let item = groups.items[i];
            groups.append(Item { child: item.child.rest(), ..item }, item.child.length() > 1);
            let slot = self.slots[places[i - from] as usize];
            let wanted = slot.first < best[item.packet as usize];
            hits.append(Item { child: slot.child, ..item }, wanted);
        }
        self.sort_hits(scratch);
        if room == 0 {
            self.visit_last(scratch, keys);
        }
    }

    /// Looks at everything below the last group of the queue.
    #[cold]
    fn visit_last(&self, scratch: &mut Scratch, keys: &[PacketKey]) {
        let Some(last) = scratch.groups.length.checked_sub(1) else { return };
        let item = scratch.groups.items[last];
        let packet = item.packet as usize;
        scratch.groups.length = last;
        self.visit(item.child, keys[packet], 0, &mut scratch.best[packet]);
    }
}
