//! The classifier: which rules of a chain a packet may match, without looking at every rule.
//!
//! It knows of every rule the part that is the same for all packets of a flow ([`RuleKey`]) and yields, for a packet
//! ([`PacketKey`]), the rules whose part holds: candidates, in the order of the chain. Whoever asks evaluates the rest
//! of a candidate in place (state, limits, whatever was negated) and, unless that was the end, asks for the
//! [next](Classifier::next) one after it. Whatever can be said in a [`RuleKey`] is tested exactly; a part that cannot
//! be said is left open in the key, and then the rule is a candidate too often, never too seldom. The naive twin
//! ([`naive`]) says the same, one rule after the other.
//!
//! ```text
//!   up to 2,048 rules   bit vectors: for each field a trie leads to the rules that allow the value; the rules that
//!                       all fields allow are the candidates                                            vectors, trie
//!   more                tables, each of the rules that care about all bits of its mask:                table, choose
//!                         key & mask ──hash──► slot ──► up to 8 records, looked at one after the other
//!                                                   └─► tables again, if more rules want the same bits here
//!                       and bit vectors for the 2,048 or fewer that are left when the tables have theirs
//! ```
//!
//! No rule stands in two places, so that memory is in proportion to the rules (bit vectors apart, which are bounded)
//! whatever the rules are. A slot knows the first rule below it, so that a search ends where nothing better is to be
//! found. Most of the time of a lookup goes into mispredicted branches and into waiting for memory, not into
//! instructions: the trie and the vectors have next to no branches that depend on the packet, and a batch goes
//! through the tables a step at a time for all its packets.
//!
//! # How it was chosen
//!
//! Nanoseconds a packet without any cache, on ClassBench's own acl1, fw1, ipc1 sets of 1 k and 10 k rules and on
//! generated ones of 100 k (`benches/`), one Zen 4 core, best of many runs, a batch of 64 or one by one, whichever is
//! faster; `rte_acl` (AVX2) beside it, at its best, too. The machine was shared: medians lay up to a
//! third above the best on quiet runs, and at 100 k at about twice. Known of `rte_acl` at 100 k: 447 / 1240 / 615, and
//! 13 s and 1.5 GB to build, or never.
//!
//! | | 1 k | 10 k | 100 k |
//! |---|---|---|---|
//! | tuple space with merging (TupleMerge): tables side by side | 40 / 61 / 61 | 53 / 32 / 91 | 124 / 71 / 382 |
//! | ... with tables in tables where a slot has more than 8 rules | 50 / 73 / 63 | 54 / 31 / 85 | 123 / 104 / 113 |
//! | aggregated bit vectors, in parts of 1,024 rules | 20 / 35 / 33 | 47 / 85 / 124 | - |
//! | tables, and bit vectors for what is left: this | 20 / 35 / 33 | 45 / 30 / 78 | 62 / 49 / 80 |
//! | `rte_acl` | 27 / 60 / 32 | 68 / 258 / 151 | not run |
//!
//! A table that few rules share costs every packet as much as one that many share; the many tables of a small set, and
//! the last ones of a large set, are what bit vectors replace. A decision tree was not tried: it duplicates rules that
//! are open on the side it cuts, two thirds of a firewall's; a table's slot is such a cut that duplicates none.
//!
//! # Limits
//!
//! * At most [`RULES_MAX`] rules. Built in 0.3 to 0.9 ms for 1 k rules, 2 to 5 ms for 10 k, 35 to 90 ms for 100 k; the
//!   work is bounded, and sets made to be bad (100 k rules of random masks, or of ranges that all overlap) take 0.3 s.
//!   A changed rule means a new classifier: nothing is patched.
//! * Memory: about 50 bytes a rule for 100 k, at most 512 a rule and 16 MiB of bit vectors.
//! * Time of a lookup is not bounded by much when the rules are bad: address masks with holes are only divided by bits
//!   that many have in common, and thousands of overlapping port ranges are looked at 1,024 at a time (1 to 4 us for
//!   100 k of them). At worst it is the kernel's time, rule by rule.
//! * A key has 32 bits for an address. Of IPv6 the rules of a chain show a window of theirs (`super::address`); what
//!   they differ in beyond it is tested rule by rule.

mod batch;
mod build;
mod choose;
mod key;
mod lookup;
pub mod naive;
mod table;
#[cfg(test)]
mod tests;
mod trie;
mod vectors;

pub use batch::Scratch;
pub use key::{AddressKey, PacketKey, RuleKey};

use table::{Child, Interfaces, Record, Slot, Table};
use vectors::Vectors;

/// Most rules of one classifier.
pub const RULES_MAX: usize = 1 << 17;

/// Why there is no classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// More rules than [`RULES_MAX`].
    #[error(
        "{rules} rules in one chain; {RULES_MAX} are the most: move some to a chain of their own"
    )]
    TooManyRules {
        /// How many there are.
        rules: usize,
    },
}

/// The rules of one chain, ready to be looked up. See the module.
#[derive(Debug, Clone)]
pub struct Classifier {
    root: Child,
    tables: Box<[Table]>,
    slots: Box<[Slot]>,
    records: Box<[Record]>,
    vectors: Box<[Vectors]>,
    interfaces: Box<[Interfaces]>,
}

impl Classifier {
    /// Memory that it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self)
            + size_of_val(&*self.tables)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.records)
            + size_of_val(&*self.interfaces)
            + self.vectors.iter().map(Vectors::bytes).sum::<usize>()
    }
}
