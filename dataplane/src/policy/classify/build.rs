//! Building: tables are made of rules, and of what stands in one slot, if it is much, tables again.

use ahash::AHashMap;

use super::choose::Chooser;
use super::key::{Mask, RuleKey, Ternary};
use super::table::{Child, Interfaces, LENGTH_MAX, Record, Slot, Table, hash};
use super::vectors::{VECTOR_RULES_MAX, Vectors};
use super::{BuildError, Classifier, RULES_MAX};

/// Rules that are looked at one after the other rather than divided.
const LEAF_RULES: usize = 8;

/// How often rules are looked at to choose masks, at most: so often for every rule, and this often besides. The rule
/// sets that were measured need 3 to 50.
const WORK_PER_RULE: usize = 250;
const WORK: usize = 1 << 18;

/// Most rules of a leaf that is a list.
const LISTED_RULES: usize = 32;

/// A table for fewer rules than this costs more than looking at them.
const TABLE_RULES: u32 = 4;

/// Most tables side by side, by depth.
const TABLES_MAX: [usize; 6] = [24, 8, 6, 4, 4, 4];

/// Where one way of dividing gives way to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most rules of one set of bit vectors. As few as this are not divided by tables first.
    pub(super) vector_rules: usize,
    /// Rules of each of several sets of bit vectors: their size, and the time to make them, grows with its square.
    pub(super) part_rules: usize,
    /// Most memory of all bit vectors. What they would be for beyond that is looked at rule by rule.
    pub(super) vector_bytes: usize,
}

impl Limits {
    /// What was fastest. Vectors of 1024 rules make room for one more table, which costs as much; those of 4096 no
    /// longer stay near.
    pub(super) const USUAL: Self =
        Self { vector_rules: 2048, part_rules: 1024, vector_bytes: 16 << 20 };
}

const _: () = assert!(Limits::USUAL.vector_rules <= VECTOR_RULES_MAX);

/// All interfaces.
const ANY: Interfaces = (u32::MAX, u32::MAX);

struct Builder<'a> {
    limits: Limits,
    rules: &'a [RuleKey],
    ternaries: Vec<Ternary>,
    interfaces: Vec<Interfaces>,
    interface_places: AHashMap<Interfaces, u32>,
    chooser: Chooser,
    records: Vec<Record>,
    slots: Vec<Slot>,
    tables: Vec<Table>,
    vectors: Vec<Vectors>,
    vector_bytes: usize,
}

impl Classifier {
    /// Makes a classifier of a chain's rules, in the order of the chain.
    ///
    /// # Errors
    /// When there are more than [`RULES_MAX`] rules.
    pub fn build(rules: &[RuleKey]) -> Result<Self, BuildError> {
        Self::build_within(rules, Limits::USUAL)
    }

    pub(super) fn build_within(rules: &[RuleKey], limits: Limits) -> Result<Self, BuildError> {
        if rules.len() > RULES_MAX {
            return Err(BuildError::TooManyRules { rules: rules.len() });
        }
        let mut builder = Builder {
            limits,
            rules,
            ternaries: rules.iter().map(Ternary::of).collect(),
            interfaces: vec![ANY],
            interface_places: AHashMap::new(),
            chooser: Chooser::default(),
            records: Vec::with_capacity(rules.len()),
            slots: Vec::new(),
            tables: Vec::new(),
            vectors: Vec::new(),
            vector_bytes: 0,
        };
        let all = (0_u32..).zip(rules).filter(|(_, rule)| !rule.is_void()).map(|(index, _)| index);
        let root = builder.child(all.collect(), 0);
        let Builder { interfaces, records, slots, tables, vectors, .. } = builder;
        Ok(Self {
            root,
            tables: tables.into_boxed_slice(),
            slots: slots.into_boxed_slice(),
            records: records.into_boxed_slice(),
            interfaces: interfaces.into_boxed_slice(),
            vectors: vectors.into_boxed_slice(),
        })
    }
}

impl Builder<'_> {
    /// Divides rules, in rising order, among tables.
    fn child(&mut self, rules: Vec<u32>, depth: usize) -> Child {
        if rules.len() <= LEAF_RULES
            || depth >= TABLES_MAX.len()
            || depth == 0 && rules.len() <= self.limits.vector_rules
        {
            return self.leaf(&rules);
        }
        let mut tables = Vec::new();
        let mut left = rules;
        let enough = if depth == 0 { self.limits.vector_rules } else { LEAF_RULES };
        while left.len() > enough && tables.len() < TABLES_MAX[depth] {
            if self.chooser.work() > WORK_PER_RULE * self.rules.len() + WORK {
                break;
            }
            let choice = self.chooser.choose(&left, &self.ternaries);
            let Some(choice) = choice.filter(|choice| choice.score >= TABLE_RULES) else { break };
            let covers = |rule: &u32| self.ternaries[*rule as usize].care.covers(choice.mask);
            let (covered, others) = left.into_iter().partition(covers);
            left = others;
            let table = self.table(choice.mask, covered, depth);
            tables.push(table);
        }
        if tables.is_empty() {
            return self.leaf(&left);
        }
        if let Some(&first) = left.first() {
            let child = self.leaf(&left);
            let table = self.only(first, child);
            tables.push(table);
        }
        self.group(tables)
    }

    /// Puts finished tables side by side.
    fn group(&mut self, mut tables: Vec<Table>) -> Child {
        tables.sort_by_key(|table| table.first);
        let place = self.tables.len();
        let length = tables.len();
        self.tables.append(&mut tables);
        Child::tables(place, length).expect("fewer tables than rules")
    }

    /// A table of the rules that `mask` covers.
    fn table(&mut self, mask: Mask, covered: Vec<u32>, depth: usize) -> Table {
        let hash_of = |rule: u32| hash(self.ternaries[rule as usize].value.masked(&mask));
        let mut hashed: Vec<(u64, u32)> =
            covered.iter().map(|&rule| (hash_of(rule), rule)).collect();
        hashed.sort_unstable();
        let distinct = hashed.chunk_by(|a, b| a.0 == b.0).count();
        let bits = (distinct * 2).next_power_of_two().trailing_zeros().max(1);
        let shift = 64 - bits;
        let base = self.slots.len();
        self.slots.resize(base + (1 << bits), Slot::EMPTY);
        for same in hashed.chunk_by(|a, b| a.0 >> shift == b.0 >> shift) {
            let mut rules: Vec<u32> = same.iter().map(|&(_, rule)| rule).collect();
            rules.sort_unstable();
            let place = base + usize::try_from(same[0].0 >> shift).expect("few slots");
            let first = rules[0];
            self.slots[place] = Slot { first, child: self.child(rules, depth + 1) };
        }
        let base = u32::try_from(base).expect("few slots a rule");
        Table { mask, base, shift, first: covered[0] }
    }

    /// A child as a table of one slot.
    fn only(&mut self, first: u32, child: Child) -> Table {
        let base = u32::try_from(self.slots.len()).expect("few slots a rule");
        self.slots.push(Slot { first, child });
        Table { mask: Mask::default(), base, shift: 63, first }
    }

    /// Rules that tables do not divide: bit vectors if there are many, as long as there is room for them.
    fn leaf(&mut self, rules: &[u32]) -> Child {
        if rules.len() <= LISTED_RULES {
            return self.list(rules);
        }
        if rules.len() <= self.limits.vector_rules {
            let vectors = self.vectors(rules);
            return vectors.unwrap_or_else(|| self.lists(rules, LENGTH_MAX, Self::list));
        }
        self.lists(rules, self.limits.part_rules, Self::leaf)
    }

    /// Rules in parts, one after the other.
    fn lists(
        &mut self,
        rules: &[u32],
        length: usize,
        child: fn(&mut Self, &[u32]) -> Child,
    ) -> Child {
        let mut tables = Vec::new();
        for part in rules.chunks(length) {
            let child = child(self, part);
            tables.push(self.only(part[0], child));
        }
        self.group(tables)
    }

    /// Records to be looked at one after the other; at most [`LENGTH_MAX`].
    fn list(&mut self, rules: &[u32]) -> Child {
        let place = self.records.len();
        for &index in rules {
            let record = self.record(index);
            self.records.push(record);
        }
        Child::leaf(place, rules.len()).expect("fewer records than places")
    }

    /// Bit vectors, unless they are too large.
    fn vectors(&mut self, rules: &[u32]) -> Option<Child> {
        let keys: Vec<&RuleKey> = rules.iter().map(|&index| &self.rules[index as usize]).collect();
        if keys.iter().filter(|rule| !Vectors::say_all_of(rule)).count() > keys.len() / 4 {
            return None;
        }
        let records = rules.iter().map(|&index| self.record(index)).collect();
        let room = self.limits.vector_bytes.saturating_sub(self.vector_bytes);
        let vectors = Vectors::new(&keys, records).filter(|vectors| vectors.bytes() <= room)?;
        self.vector_bytes += vectors.bytes();
        self.vectors.push(vectors);
        Child::vectors(self.vectors.len() - 1)
    }

    fn record(&mut self, index: u32) -> Record {
        let rule = &self.rules[index as usize];
        let interfaces = self.interfaces_of(rule);
        Record::new(rule, &self.ternaries[index as usize], interfaces, index)
    }

    /// The place of a rule's interfaces.
    fn interfaces_of(&mut self, rule: &RuleKey) -> u32 {
        let pair = (rule.ingress, rule.egress);
        if pair == ANY {
            return 0;
        }
        let next = u32::try_from(self.interfaces.len()).expect("fewer than rules");
        *self.interface_places.entry(pair).or_insert_with(|| {
            self.interfaces.push(pair);
            next
        })
    }
}
