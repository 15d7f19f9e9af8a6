//! Looking up: one packet.

use super::Classifier;
use super::key::PacketKey;
use super::table::{Child, Kind, NONE, Record};

impl Classifier {
    /// The first rule from `from` on that is a candidate for a packet.
    #[must_use]
    pub fn next(&self, key: &PacketKey, from: u32) -> Option<u32> {
        let mut best = NONE;
        self.visit(self.root, *key, from, &mut best);
        (best != NONE).then_some(best)
    }

    pub(super) fn visit(&self, child: Child, key: PacketKey, from: u32, best: &mut u32) {
        match child.kind() {
            Kind::Leaf(place, length) => {
                self.scan(&self.records[place..place + length], key, from, best);
            }
            Kind::Vectors(place) => {
                let vectors = &self.vectors[place];
                let located = vectors.locate(key);
                *best = if from == 0 {
                    vectors.first(&located, key, &self.interfaces, *best)
                } else {
                    vectors.next(&located, key, &self.interfaces, from, *best)
                };
            }
            Kind::Tables(place, length) => {
                for table in &self.tables[place..place + length] {
                    if table.first >= *best {
                        break;
                    }
                    let slot = self.slots[table.place(key) as usize];
                    if slot.first < *best {
                        self.visit(slot.child, key, from, best);
                    }
                }
            }
        }
    }

    #[inline]
    fn scan(&self, records: &[Record], key: PacketKey, from: u32, best: &mut u32) {
        for record in records {
            if record.index >= *best {
                return;
            }
            if record.matches(key, &self.interfaces) && record.index >= from {
                *best = record.index;
                return;
            }
        }
    }
}
