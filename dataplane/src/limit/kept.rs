//! Whose state it is: what rules keep, beyond the policies in which they stand.
//!
//! A policy is compiled anew with every change, and what its matches have counted must not begin anew with it, or every
//! change of any rule would be a gap in every limit. So state is kept here, by the thread that compiles, and policies
//! only refer to it:
//!
//! ```text
//!   Compiler ---- Kept    by rule: what its matches keep for themselves  (a bucket, a controller)
//!      |           |
//!      |         Tables   by name: what rules of one name share          (of both families, all tables)
//!      v           |
//!   Policy ----> Arc<state>  <---- workers
//! ```
//!
//! * A rule's own state goes where the rule goes: by its [`RuleId`], as its counters do. A rule that replaces one of
//!   the same words in the same chain, as all rules of a saved set do when it is restored, takes over the state as
//!   well; of several that are equal, the first that comes takes over from the first that goes. In this Weir is not
//!   the kernel, whose limits begin anew with every change of a table: there a flood gets a burst for free with each.
//! * What is shared by name lives as long as a rule refers to the name; its settings are those of the rule that made
//!   it (`htable_find_get`, net/netfilter/xt_hashlimit.c; `recent_table_lookup`, net/netfilter/xt_recent.c).
//! * Until a compiled policy is [kept](Kept::keep), nothing has changed: a set of rules that cannot be enforced, or
//!   that is only checked, leaves no trace.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_control::command::ChainName;
use weir_control::rule::{self, Family, Rule};
use weir_control::ruleset::{RuleId, Ruleset};

/// What a match keeps; each kind of match has a type of its own.
type State = Arc<dyn Any + Send + Sync>;

/// By what a shared state is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableKey {
    /// The match that it is of.
    pub of: &'static str,
    /// The family whose rules share it; `None` where those of both do.
    pub family: Option<Family>,
    /// Its name.
    pub name: String,
}

/// Whose rule it is: ids are those of a family and a table of rules.
type Owner = (Family, rule::Table);

/// A shared state, and the rules that refer to it.
#[derive(Debug)]
struct Table {
    state: State,
    users: BTreeSet<(Owner, RuleId)>,
}

/// What rules share by name. Clones are handles of the same; the compilers of both families have one. Only control
/// threads use it: it has a lock.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    known: Arc<Mutex<BTreeMap<TableKey, Table>>>,
    seed: u64,
}

impl Tables {
    /// None yet; which keys meet in them depends on the seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// All of a match that are of this type, by name.
    #[must_use]
    pub fn all_of<T: Any + Send + Sync>(&self, of: &str) -> Vec<(TableKey, Arc<T>)> {
        let known = self.lock();
        let of = known.iter().filter(|(key, _)| key.of == of);
        of.filter_map(|(key, table)| Some((key.clone(), typed(&table.state)?))).collect()
    }

    /// The one of this name.
    #[must_use]
    pub fn find<T: Any + Send + Sync>(&self, key: &TableKey) -> Option<Arc<T>> {
        typed(&self.lock().get(key)?.state)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TableKey, Table>> {
        // Whoever holds it cannot panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tables: BTreeMap<TableKey, Table>) {
        let mut known = self.lock();
        for (key, Table { state, users }) in tables {
            let table = known.entry(key);
            let table = table
                .or_insert_with(|| Table { state: Arc::clone(&state), users: BTreeSet::new() });
            // It may have been made anew.
            table.state = state;
            table.users.extend(users);
        }
    }

    fn release(&self, owner: Owner, rules: &BTreeSet<RuleId>) {
        self.lock().retain(|_, table| {
            table.users.retain(|(of, rule)| *of != owner || !rules.contains(rule));
            !table.users.is_empty()
        });
    }
}

fn typed<T: Any + Send + Sync>(state: &State) -> Option<Arc<T>> {
    Arc::downcast(Arc::clone(state)).ok()
}

/// What the rules of a family keep for themselves. See the module.
#[derive(Debug, Default)]
pub struct Kept {
    own: BTreeMap<RuleId, Vec<State>>,
    /// The rules that keep something, in order, as they were in force last.
    order: Vec<(ChainName, Arc<Rule>, RuleId)>,
    /// Whose rules they are, once there are any.
    owner: Option<Owner>,
    tables: Tables,
}

impl Kept {
    /// Nothing yet, with these tables for what is shared.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        Self { tables, ..Self::default() }
    }

    /// What is shared by name.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Begins to compile a set of rules.
    #[must_use]
    pub fn draft(&self, ruleset: &Ruleset) -> Draft<'_> {
        let mut leaving = HashMap::new();
        if !self.order.is_empty() {
            let entries = ruleset.chains().iter().flat_map(|chain| &chain.rules);
            // Few rules keep something, of many.
            let mut gone: BTreeSet<RuleId> = self.order.iter().map(|(_, _, id)| *id).collect();
            for entry in entries {
                gone.remove(&entry.id);
            }
            for (chain, rule, id) in &self.order {
                if gone.contains(id) {
                    let equal: &mut VecDeque<_> =
                        leaving.entry((chain.clone(), Arc::clone(rule))).or_default();
                    equal.push_back(*id);
                }
            }
        }
        let owner = (ruleset.family(), ruleset.table());
        let (own, order, tables) = Default::default();
        Draft { kept: self, leaving, changes: Changes { owner, own, order, tables } }
    }

    /// Takes over what a draft made.
    pub fn keep(&mut self, Changes { owner, own, order, tables }: Changes) {
        self.owner = Some(owner);
        self.own.extend(own);
        self.order = order;
        self.tables.add(tables);
    }

    /// Forgets what rules have kept that are gone.
    pub fn forget(&mut self, rules: &[RuleId]) {
        if let Some(owner) = self.owner
            && !rules.is_empty()
        {
            rules.iter().for_each(|id| drop(self.own.remove(id)));
            self.tables.release(owner, &rules.iter().copied().collect());
        }
    }

    /// All states of this type that rules keep for themselves, also those that were taken out and may come back.
    pub fn every<T: Any + Send + Sync>(&self) -> impl Iterator<Item = Arc<T>> {
        self.own.values().flatten().filter_map(typed)
    }

    /// The state of this type that a rule keeps for itself.
    #[must_use]
    pub fn of_rule<T: Any + Send + Sync>(&self, rule: RuleId) -> Option<Arc<T>> {
        self.own.get(&rule)?.iter().find_map(typed)
    }

    /// The states of this type that rules keep for themselves, with their rules, in the order in which these stand.
    pub fn all_of<T: Any + Send + Sync>(
        &self,
    ) -> impl Iterator<Item = (&ChainName, &Arc<Rule>, Arc<T>)> {
        self.order.iter().flat_map(|(chain, rule, id)| {
            let states = self.own.get(id).into_iter().flatten();
            states.filter_map(move |state| Some((chain, rule, typed(state)?)))
        })
    }
}

/// What a policy that is being compiled will keep.
#[derive(Debug)]
pub struct Draft<'a> {
    kept: &'a Kept,
    /// Rules that are not in it any more, by what they said.
    leaving: HashMap<(ChainName, Arc<Rule>), VecDeque<RuleId>>,
    changes: Changes,
}

/// What is to be kept of a draft.
#[derive(Debug)]
pub struct Changes {
    owner: Owner,
    own: BTreeMap<RuleId, Vec<State>>,
    order: Vec<(ChainName, Arc<Rule>, RuleId)>,
    tables: BTreeMap<TableKey, Table>,
}

impl<'a> Draft<'a> {
    /// Begins with the next rule.
    pub fn rule<'d>(
        &'d mut self,
        chain: &'d ChainName,
        rule: &'d Arc<Rule>,
        id: RuleId,
    ) -> Keeper<'d, 'a> {
        Keeper { draft: self, chain, rule, id, before: None, gave: false }
    }

    /// What it has made.
    #[must_use]
    pub fn finish(self) -> Changes {
        self.changes
    }
}

/// Gives the matches of one rule what they keep.
#[derive(Debug)]
pub struct Keeper<'d, 'a> {
    draft: &'d mut Draft<'a>,
    chain: &'d ChainName,
    rule: &'d Arc<Rule>,
    id: RuleId,
    /// What the rule has kept before, or the one whose place it takes; not looked for before a match asks.
    before: Option<&'a [State]>,
    gave: bool,
}

impl Keeper<'_, '_> {
    /// Whether a match of the rule keeps something.
    #[must_use]
    pub fn gave(&self) -> bool {
        self.gave
    }

    /// What the rule's next match keeps for itself; it is made if there is none yet. Matches of one rule must ask in
    /// the same order each time.
    pub fn own<T: Any + Send + Sync>(&mut self, make: impl FnOnce() -> T) -> Arc<T> {
        match self.try_own(|| Ok::<_, Infallible>(make())) {
            Ok(state) => state,
            Err(never) => match never {},
        }
    }

    /// As [`own`](Self::own), where it may be that it cannot be made.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_own<T: Any + Send + Sync, E>(
        &mut self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        self.gave = true;
        let before =
            *self.before.get_or_insert_with(|| self.draft.begin(self.chain, self.rule, self.id));
        let states = self.draft.changes.own.entry(self.id).or_default();
        let state = match before.get(states.len()).and_then(typed) {
            Some(state) => state,
            None => Arc::new(make()?),
        };
        states.push(Arc::clone(&state) as State);
        Ok(state)
    }

    /// What decides which keys meet in a table.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.draft.kept.tables.seed
    }

    /// What rules share by that name, if one has asked for it that was compiled before this one.
    #[must_use]
    pub fn drafted<T: Any + Send + Sync>(&self, key: &TableKey) -> Option<Arc<T>> {
        self.draft.changes.tables.get(key).and_then(|table| typed(&table.state))
    }

    /// What rules have shared by that name until now.
    #[must_use]
    pub fn known<T: Any + Send + Sync>(&self, key: &TableKey) -> Option<Arc<T>> {
        self.draft.kept.tables.find(key)
    }

    /// Lets the rule share this by that name.
    pub fn share<T: Any + Send + Sync>(&mut self, key: TableKey, state: Arc<T>) {
        self.gave = true;
        let changes = &mut self.draft.changes;
        let table = Table { state, users: BTreeSet::new() };
        let table = changes.tables.entry(key).or_insert(table);
        table.users.insert((changes.owner, self.id));
    }

    /// What rules share by that name; it is made if no rule has asked for it yet.
    pub fn shared<T: Any + Send + Sync>(
        &mut self,
        key: TableKey,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let state = self.drafted(&key).or_else(|| self.known(&key));
        let state = state.unwrap_or_else(|| Arc::new(make()));
        self.share(key, Arc::clone(&state));
        state
    }
}

impl<'a> Draft<'a> {
    /// Notes that the rule keeps something; what it has kept before.
    fn begin(&mut self, chain: &ChainName, rule: &Arc<Rule>, id: RuleId) -> &'a [State] {
        self.changes.order.push((chain.clone(), Arc::clone(rule), id));
        if let Some(own) = self.kept.own.get(&id) {
            return own;
        }
        let equal = self.leaving.get_mut(&(chain.clone(), Arc::clone(rule)));
        let leaving = equal.and_then(VecDeque::pop_front);
        leaving.and_then(|id| self.kept.own.get(&id)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use weir_control::command::Command;
    use weir_control::rule::{LimitMatch, Match, Target};
    use weir_control::ruleset::Outcome;

    use super::*;

    fn rule(burst: u32) -> Rule {
        let limit = LimitMatch { burst, ..LimitMatch::default() };
        Rule { matches: vec![Match::Limit(limit)], target: Some(Target::Accept), ..Rule::default() }
    }

    /// A rule set, and what its rules keep: each a number of its own.
    #[derive(Default)]
    struct World {
        ruleset: Ruleset,
        kept: Kept,
        made: u32,
    }

    impl World {
        /// What each rule keeps after the command, in order; forgotten is only what a command takes out for good.
        fn after(&mut self, command: &Command) -> (Vec<u32>, Outcome) {
            let outcome = self.ruleset.apply(command).expect("a command that is taken");
            (self.compile(), outcome)
        }

        fn compile(&mut self) -> Vec<u32> {
            let Self { ruleset, kept, made } = self;
            let mut draft = kept.draft(ruleset);
            let mut states = Vec::new();
            for chain in ruleset.chains() {
                for entry in &chain.rules {
                    let mut keeper = draft.rule(&chain.name, &entry.rule, entry.id);
                    let mut make = || {
                        *made += 1;
                        *made
                    };
                    states.push(*keeper.own::<u32>(&mut make));
                    let key = TableKey { of: "test", family: None, name: "shared".to_owned() };
                    keeper.shared::<u32>(key, make);
                }
            }
            let changes = draft.finish();
            kept.keep(changes);
            states
        }
    }

    fn append(rule: Rule) -> Command {
        Command::Append { chain: ChainName::forward(), rules: vec![rule], counters: None }
    }

    fn replace(number: u32, rule: Rule) -> Command {
        let chain = ChainName::forward();
        Command::Replace { chain, number, rule, counters: None }
    }

    #[test]
    fn it_stays_with_its_rule_and_goes_over_to_one_that_says_the_same() {
        let mut world = World::default();
        assert_eq!(world.after(&append(rule(1))).0, [1]);
        assert_eq!(world.after(&append(rule(1))).0, [1, 3], "one of its own");
        assert_eq!(world.after(&append(rule(2))).0, [1, 3, 4]);
        let (states, outcome) = world.after(&replace(2, rule(1)));
        assert_eq!(states, [1, 3, 4], "the same words");
        world.kept.forget(&outcome.removed);
        assert_eq!(world.compile(), [1, 3, 4]);
        let (states, outcome) = world.after(&replace(2, rule(7)));
        assert_eq!(states, [1, 5, 4], "other words");
        world.kept.forget(&outcome.removed);
        let flush = Command::Flush { chain: None };
        world.after(&flush);
        // What waits for a confirmation is not forgotten yet, but rules that come later are new.
        assert_eq!(world.after(&append(rule(2))).0, [6]);
    }

    #[test]
    fn a_draft_that_is_not_kept_changes_nothing() {
        let mut world = World::default();
        world.after(&append(rule(1)));
        let before = format!("{:?}", world.kept);
        let mut later = world.ruleset.clone();
        later.apply(&append(rule(2))).expect("taken");
        let chain = &later.chains()[0];
        let mut draft = world.kept.draft(&later);
        for entry in &chain.rules {
            draft.rule(&chain.name, &entry.rule, entry.id).own(|| 9_u32);
        }
        drop(draft);
        assert_eq!(format!("{:?}", world.kept), before);
    }

    #[test]
    fn what_is_shared_lives_as_long_as_a_rule_of_either_family_asks_for_it() {
        let tables = Tables::default();
        let (mut four, mut six) = (Kept::new(tables.clone()), Kept::new(tables.clone()));
        let key = || TableKey { of: "test", family: None, name: "n".to_owned() };
        let ask = |kept: &mut Kept, family, id, number: u32| {
            let mut draft = kept.draft(&Ruleset::of(family));
            let (chain, rule) = (ChainName::forward(), Arc::new(rule(1)));
            let got = *draft.rule(&chain, &rule, RuleId(id)).shared(key(), || number);
            let again = *draft.rule(&chain, &rule, RuleId(id + 1)).shared(key(), || number + 1);
            assert_eq!(got, again);
            let changes = draft.finish();
            kept.keep(changes);
            got
        };
        assert_eq!(ask(&mut four, Family::V4, 1, 10), 10);
        assert_eq!(ask(&mut six, Family::V6, 1, 20), 10, "the first that asks makes it");
        assert_eq!(tables.all_of::<u32>("test"), [(key(), Arc::new(10))]);
        four.forget(&[RuleId(1), RuleId(2)]);
        six.forget(&[RuleId(1)]);
        assert_eq!(tables.find::<u32>(&key()), Some(Arc::new(10)));
        six.forget(&[RuleId(2)]);
        assert_eq!(tables.find::<u32>(&key()), None);
        assert_eq!(ask(&mut four, Family::V4, 3, 30), 30);
    }

    #[test]
    fn rules_of_another_table_are_others_though_their_ids_are_the_same() {
        let tables = Tables::default();
        let key = || TableKey { of: "test", family: None, name: "n".to_owned() };
        let ask = |ruleset: &Ruleset| {
            let mut kept = Kept::new(tables.clone());
            let mut draft = kept.draft(ruleset);
            draft
                .rule(&ChainName::forward(), &Arc::new(rule(1)), RuleId(1))
                .shared(key(), || 7_u32);
            let changes = draft.finish();
            kept.keep(changes);
            kept
        };
        let (mut filter, mut raw) = (ask(&Ruleset::new()), ask(&Ruleset::raw(Family::V4)));
        filter.forget(&[RuleId(1)]);
        assert_eq!(tables.find::<u32>(&key()), Some(Arc::new(7)));
        raw.forget(&[RuleId(1)]);
        assert_eq!(tables.find::<u32>(&key()), None);
    }
}
