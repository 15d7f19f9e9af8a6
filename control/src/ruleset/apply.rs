//! How commands change a rule set: each wholly, or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    CHAINS_MAX, Chain, Counters, Entry, Outcome, Policy, RULES_MAX, RuleError, RuleId, Ruleset,
};
use crate::command::{Command, Transaction};
use crate::rule::{ChainName, Rule};

impl Ruleset {
    /// Carries out `command`: wholly, or not at all. Listings are only checked for an existing
    /// chain.
    ///
    /// # Errors
    /// See [`RuleError`]; the rule set is then as before, though ids may have been used up.
    pub fn apply(&mut self, command: &Command) -> Result<Outcome, RuleError> {
        let (changed, outcome) = self.after(command)?;
        *self = changed;
        Ok(outcome)
    }

    /// What the rule set is after `command`, and what that did.
    ///
    /// # Errors
    /// See [`RuleError`].
    pub fn after(&self, command: &Command) -> Result<(Self, Outcome), RuleError> {
        let (mut changed, mut outcome) = (self.clone(), Outcome::default());
        changed.step(command, &mut outcome)?;
        changed.check(&outcome)?;
        Ok((changed, outcome))
    }

    /// Carries out all commands of a transaction, or none of them.
    ///
    /// # Errors
    /// Which command failed (counted from 0; their number if it is what they come to together) and
    /// why. The rule set is then as before, though ids may have been used up.
    pub fn apply_all(&mut self, transaction: &Transaction) -> Result<Outcome, (usize, RuleError)> {
        let (changed, outcome) = self.after_all(transaction)?;
        *self = changed;
        Ok(outcome)
    }

    /// What the rule set is after all commands of a transaction, and what they did.
    ///
    /// # Errors
    /// As [`apply_all`](Self::apply_all).
    pub fn after_all(
        &self,
        transaction: &Transaction,
    ) -> Result<(Self, Outcome), (usize, RuleError)> {
        let (mut changed, mut outcome) = (self.clone(), Outcome::default());
        if transaction.flush {
            changed.empty(&mut outcome);
        }
        for (index, command) in transaction.commands.iter().enumerate() {
            changed.step(command, &mut outcome).map_err(|error| (index, error))?;
        }
        changed.check(&outcome).map_err(|error| (transaction.commands.len(), error))?;
        outcome.forget_short_lived();
        Ok((changed, outcome))
    }

    /// The rules of `earlier`, a rule set that this one came from, and what going back to it does: rules
    /// that both have stay as they are, and ids that were given since are not given again.
    pub fn back_to(&self, earlier: &Self) -> (Self, Outcome) {
        let ids = |set: &Self| -> BTreeSet<RuleId> {
            set.chains.iter().flat_map(|chain| &chain.rules).map(|entry| entry.id).collect()
        };
        let (now, then) = (ids(self), ids(earlier));
        let outcome = Outcome {
            added: then.difference(&now).copied().collect(),
            removed: now.difference(&then).copied().collect(),
            changed: true,
            ..Outcome::default()
        };
        (Self { next_id: self.next_id, ..earlier.clone() }, outcome)
    }

    fn check(&self, outcome: &Outcome) -> Result<(), RuleError> {
        if outcome.changed { self.check_jumps().and_then(|()| self.check_hooks()) } else { Ok(()) }
    }

    fn step(&mut self, command: &Command, outcome: &mut Outcome) -> Result<(), RuleError> {
        match command {
            Command::Append { chain, rules, counters } => {
                let position = self.chain_mut(chain)?.rules.len();
                let place = |position, offset| position + offset;
                self.insert(chain, position, (rules, *counters), place, outcome)
            }
            Command::Insert { chain, number, rules, counters } => {
                let count = self.chain_mut(chain)?.rules.len();
                let position = index(*number).filter(|position| *position <= count);
                let position = position.ok_or(RuleError::InsertIndex)?;
                self.insert(chain, position, (rules, *counters), |position, _| position, outcome)
            }
            Command::Delete { chain, rules } => self.delete(chain, rules, outcome),
            Command::DeleteNumber { chain, number } => {
                let rules = &mut self.chain_mut(chain)?.rules;
                let position = existing(*number, rules.len()).ok_or(RuleError::DeleteIndex)?;
                outcome.removed.push(rules.remove(position).id);
                outcome.changed = true;
                Ok(())
            }
            Command::Replace { chain, number, rule, counters } => {
                self.replace(chain, *number, (rule, *counters), outcome)
            }
            Command::Check { chain, rules } => {
                self.check_targets(rules)?;
                let entries = &self.chain_mut(chain)?.rules;
                match rules.iter().all(|rule| entries.iter().any(|entry| *entry.rule == *rule)) {
                    true => Ok(()),
                    false => Err(RuleError::NoSuchRule),
                }
            }
            Command::Flush { chain } => {
                for chain in self.selected_mut(chain.as_ref())? {
                    outcome.removed.extend(chain.rules.drain(..).map(|entry| entry.id));
                }
                outcome.changed = true;
                Ok(())
            }
            Command::Policy { chain, policy, counters } => {
                self.set_policy(chain, *policy, *counters, outcome)
            }
            Command::Zero { chain, number } => self.zero(chain.as_ref(), *number, outcome),
            Command::NewChain { chain } => self.new_chain(chain),
            Command::DeclareChain { chain } => {
                outcome.changed = true;
                match self.chain_mut(chain) {
                    Ok(known) if known.policy.is_some() => {}
                    Ok(known) => {
                        outcome.removed.extend(known.rules.drain(..).map(|entry| entry.id));
                    }
                    Err(_) => self.new_chain(chain)?,
                }
                Ok(())
            }
            Command::DeleteChain { chain } => self.delete_chains(chain.as_ref()),
            Command::RenameChain { chain, to } => self.rename_chain(chain, to),
            Command::List { selection, .. } | Command::ListRules { selection, .. } => {
                self.selected_mut(selection.chain.as_ref()).map(|_| ())
            }
        }
    }

    pub(super) fn chain_mut(&mut self, name: &ChainName) -> Result<&mut Chain, RuleError> {
        match self.place_of(name) {
            Some(place) => Ok(&mut self.chains[place]),
            None => Err(RuleError::NoSuchChain { chain: name.to_string() }),
        }
    }

    /// One chain, or all of them.
    fn selected_mut(&mut self, name: Option<&ChainName>) -> Result<&mut [Chain], RuleError> {
        match name {
            None => Ok(&mut self.chains),
            Some(name) => self.chain_mut(name).map(std::slice::from_mut),
        }
    }

    /// Inserts each rule at `place(position, offset)`, where `offset` counts the rules before it.
    fn insert(
        &mut self,
        chain: &ChainName,
        position: usize,
        (rules, counters): (&[Rule], Option<Counters>),
        place: impl Fn(usize, usize) -> usize,
        outcome: &mut Outcome,
    ) -> Result<(), RuleError> {
        let wanted = self.rule_count() + rules.len();
        for rule in rules {
            rule.validate(self.family, self.table)?;
        }
        self.check_targets(rules)?;
        if wanted > RULES_MAX {
            return Err(RuleError::TooManyRules { wanted });
        }
        let mut next_id = self.next_id;
        let entries = &mut self.chain_mut(chain)?.rules;
        for (offset, rule) in rules.iter().enumerate() {
            let id = RuleId(next_id);
            next_id += 1;
            let rule = Arc::new(rule.clone());
            entries.insert(place(position, offset), Entry { id, rule });
            outcome.added.push(id);
            outcome.counted_rules.extend(counters.map(|counters| (id, counters)));
            outcome.changed = true;
        }
        self.next_id = next_id;
        Ok(())
    }

    fn delete(
        &mut self,
        chain: &ChainName,
        rules: &[Rule],
        outcome: &mut Outcome,
    ) -> Result<(), RuleError> {
        self.check_targets(rules)?;
        let entries = &mut self.chain_mut(chain).map_err(|_| RuleError::NoSuchRule)?.rules;
        for rule in rules {
            let position = entries.iter().position(|entry| *entry.rule == *rule);
            outcome.removed.push(entries.remove(position.ok_or(RuleError::NoSuchRule)?).id);
            outcome.changed = true;
        }
        Ok(())
    }

    fn replace(
        &mut self,
        chain: &ChainName,
        number: u32,
        (rule, counters): (&Rule, Option<Counters>),
        outcome: &mut Outcome,
    ) -> Result<(), RuleError> {
        rule.validate(self.family, self.table)?;
        self.check_targets(std::slice::from_ref(rule))?;
        let id = RuleId(self.next_id);
        let entries = &mut self.chain_mut(chain)?.rules;
        let position = existing(number, entries.len()).ok_or(RuleError::ReplaceIndex)?;
        let entry = Entry { id, rule: Arc::new(rule.clone()) };
        let old = std::mem::replace(&mut entries[position], entry);
        self.next_id += 1;
        outcome.added.push(id);
        outcome.removed.push(old.id);
        outcome.counted_rules.extend(counters.map(|counters| (id, counters)));
        outcome.changed = true;
        Ok(())
    }

    fn set_policy(
        &mut self,
        name: &ChainName,
        policy: Policy,
        counters: Option<Counters>,
        outcome: &mut Outcome,
    ) -> Result<(), RuleError> {
        match self.chain_mut(name) {
            Ok(chain) if chain.policy.is_some() => chain.policy = Some(policy),
            _ => return Err(RuleError::NoPolicy { chain: name.clone() }),
        }
        // libiptc gives a policy fresh counters whenever it is set.
        outcome.counted_policies.retain(|(counted, _)| counted != name);
        outcome.zeroed_policies.push(name.clone());
        outcome.counted_policies.extend(counters.map(|counters| (name.clone(), counters)));
        outcome.changed = true;
        Ok(())
    }

    fn zero(
        &mut self,
        chain: Option<&ChainName>,
        number: Option<u32>,
        outcome: &mut Outcome,
    ) -> Result<(), RuleError> {
        for chain in self.selected_mut(chain)? {
            match number {
                None => {
                    let ids: BTreeSet<RuleId> = chain.rules.iter().map(|entry| entry.id).collect();
                    outcome.counted_rules.retain(|(id, _)| !ids.contains(id));
                    outcome.counted_policies.retain(|(name, _)| *name != chain.name);
                    outcome.zeroed_rules.extend(chain.rules.iter().map(|entry| entry.id));
                    outcome.zeroed_policies.push(chain.name.clone());
                }
                Some(number) => {
                    let position =
                        existing(number, chain.rules.len()).ok_or(RuleError::ZeroIndex)?;
                    let id = chain.rules[position].id;
                    outcome.counted_rules.retain(|(counted, _)| *counted != id);
                    outcome.zeroed_rules.push(id);
                }
            }
        }
        Ok(())
    }

    fn new_chain(&mut self, name: &ChainName) -> Result<(), RuleError> {
        if self.chain(name).is_some() || name.is_reserved(self.table) {
            return Err(RuleError::ChainExists { chain: name.clone(), renaming: false });
        }
        if self.chains.len() >= CHAINS_MAX {
            return Err(RuleError::TooManyChains);
        }
        self.place(Chain { name: name.clone(), policy: None, rules: Vec::new() });
        Ok(())
    }

    /// One chain, or all that users defined: one after the other, so that one that a later one
    /// leads to is still in use.
    fn delete_chains(&mut self, name: Option<&ChainName>) -> Result<(), RuleError> {
        let names: Vec<ChainName> = match name {
            Some(name) => vec![name.clone()],
            None => {
                let user_defined = self.chains.iter().filter(|chain| chain.policy.is_none());
                user_defined.map(|chain| chain.name.clone()).collect()
            }
        };
        for name in names {
            let references = self.references(&name);
            let chain = self.chain_mut(&name)?;
            if chain.policy.is_some() {
                return Err(RuleError::BuiltInChain { chain: name });
            }
            if references > 0 {
                return Err(RuleError::ChainInUse { chain: name, references });
            }
            if !chain.rules.is_empty() {
                return Err(RuleError::ChainNotEmpty { chain: name, rules: chain.rules.len() });
            }
            self.chains.retain(|chain| chain.name != name);
        }
        Ok(())
    }

    fn rename_chain(&mut self, name: &ChainName, to: &ChainName) -> Result<(), RuleError> {
        if self.chain(to).is_some() || to.is_reserved(self.table) {
            return Err(RuleError::ChainExists { chain: to.clone(), renaming: true });
        }
        let position =
            self.place_of(name).filter(|position| self.chains[*position].policy.is_none());
        let position =
            position.ok_or_else(|| RuleError::NoSuchChain { chain: name.to_string() })?;
        let chain = self.chains.remove(position);
        self.place(Chain { name: to.clone(), ..chain });
        self.redirect(name, to);
        Ok(())
    }

    /// All user-defined chains and all rules go; policies stay.
    fn empty(&mut self, outcome: &mut Outcome) {
        let rules = self.chains.iter_mut().flat_map(|chain| chain.rules.drain(..));
        outcome.removed.extend(rules.map(|entry| entry.id));
        self.chains.retain(|chain| chain.policy.is_some());
        outcome.changed = true;
    }
}

impl Outcome {
    /// Rules that a transaction both made and removed have never been.
    fn forget_short_lived(&mut self) {
        if self.added.is_empty() || self.removed.is_empty() {
            return;
        }
        let removed: BTreeSet<RuleId> = self.removed.iter().copied().collect();
        let added: BTreeSet<RuleId> = self.added.iter().copied().collect();
        self.added.retain(|id| !removed.contains(id));
        self.removed.retain(|id| !added.contains(id));
    }
}

/// Where rule `number` is, counting from 0; 0 is no rule number.
fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

/// As [`index`], of a rule that exists.
fn existing(number: u32, count: usize) -> Option<usize> {
    index(number).filter(|position| *position < count)
}
