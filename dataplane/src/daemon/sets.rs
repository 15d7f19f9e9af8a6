//! Changes of sets, and questions about them.
//!
//! A change is a policy with the same rules and other sets, so it is published, adopted and answered as a change of
//! rules is, and what rules have counted stays. It needs no confirmation and waits for none: while a change of rules
//! waits for its own, sets that the rules of before ask for count as in use.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use weir_control::command::Command;
use weir_control::protocol::{Failure, Reply, SetCursor};
use weir_control::rule::{Family, Match, Names, Rule};
use weir_control::ruleset::{RuleError, Ruleset};
use weir_control::set::{Entry, SET_ENTRIES_MAX, SetChange, SetError, SetKind, SetName, restore};

use super::Rules;
use crate::policy::Policies;
use crate::set::{Refused, Sets};

/// The longest file of sets: every entry that there may be on a line of its own.
const FILE_BYTES_MAX: u64 = SET_ENTRIES_MAX as u64 * 128;

/// The sets of a file that `ipset save` has written.
///
/// # Errors
/// Why it cannot be loaded: the line and the word.
pub fn load_sets(path: &Path) -> Result<Vec<SetChange>, String> {
    let refused = |reason: &dyn std::fmt::Display| format!("sets {}: {reason}", path.display());
    let length = std::fs::metadata(path).map_err(|error| refused(&error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(refused(&format!("{length} bytes, and at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read(path).map_err(|error| refused(&error))?;
    let plan = restore::read(&text, false, &Names::system(), &|_| None);
    let plan = plan.map_err(|error| refused(&error))?;
    Sets::new(0).after(&plan.changes, 0, &|_| 0).map_err(|Refused { change, entry, error }| {
        refused(&restore::refused(&plan, change, entry, error))
    })?;
    Ok(plan.changes)
}

/// The sets that a rule asks for.
fn sets_of(rule: &Rule) -> impl Iterator<Item = &SetName> {
    rule.matches.iter().filter_map(|test| match test {
        Match::Set(asked) => asked.set.as_ref().map(|set| &set.value),
        _ => None,
    })
}

/// How many rules' matches ask for each set.
fn references<'a>(rulesets: impl Iterator<Item = &'a Ruleset>) -> BTreeMap<&'a SetName, usize> {
    let mut counts = BTreeMap::new();
    for entry in rulesets.flat_map(Ruleset::chains).flat_map(|chain| &chain.rules) {
        sets_of(&entry.rule).for_each(|name| *counts.entry(name).or_default() += 1);
    }
    counts
}

impl Rules {
    /// Milliseconds of the clock that timeouts of entries go by.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Carries out all of the changes or none of them; they are in force on every worker when this returns.
    ///
    /// # Errors
    /// [`Failure::Set`] names the change that cannot be carried out, and nothing has changed; or as
    /// [`Rules::carry_out`].
    pub fn change_sets(&mut self, changes: &[SetChange]) -> Result<Reply, Failure> {
        let changed = {
            let counts = self.set_references();
            self.sets.after(changes, self.now_ms(), &counts)
        };
        let changed = changed.map_err(|Refused { change, entry, error }| Failure::Set {
            change,
            entry,
            error,
        })?;
        self.put_sets_in_force(changed)
    }

    /// Whether an entry is in a set.
    ///
    /// # Errors
    /// [`Failure::Set`].
    pub fn test_set(&mut self, name: &SetName, entry: &str) -> Result<Reply, Failure> {
        self.expire_sets()?;
        let test = || {
            let missing = || SetError::NoSuchSet { name: name.to_string() };
            let form = self.sets.form_of(name).ok_or_else(missing)?;
            let entry = Entry::from_wire(form, entry)
                .map_err(|error| SetError::Malformed { reason: error.to_string() })?;
            self.sets.test(name, &entry)
        };
        test().map(Reply::SetTest).map_err(refused)
    }

    /// All sets, without their entries.
    ///
    /// # Errors
    /// As [`Rules::carry_out`], of taking out what is over.
    pub fn list_sets(&mut self) -> Result<Reply, Failure> {
        self.expire_sets()?;
        let counts = self.set_references();
        Ok(Reply::Sets(self.sets.headers(&counts)))
    }

    /// Entries of a set.
    ///
    /// # Errors
    /// [`Failure::Set`].
    pub fn list_set(
        &mut self,
        name: &SetName,
        cursor: Option<SetCursor>,
    ) -> Result<Reply, Failure> {
        self.expire_sets()?;
        self.sets.page(name, cursor, self.now_ms()).map(Reply::SetPage).map_err(refused)
    }

    /// Takes out the entries whose time is over.
    ///
    /// # Errors
    /// As [`Rules::carry_out`].
    pub fn expire_sets(&mut self) -> Result<(), Failure> {
        let now_ms = self.now_ms();
        if !self.sets.is_due(now_ms) {
            return Ok(());
        }
        let mut changed = Sets::clone(&self.sets);
        if changed.expire(now_ms) { self.put_sets_in_force(changed).map(|_| ()) } else { Ok(()) }
    }

    fn put_sets_in_force(&mut self, sets: Sets) -> Result<Reply, Failure> {
        self.check_retired()?;
        let sets = Arc::new(sets);
        for side in &mut self.sides {
            side.compiler.set_sets(Arc::clone(&sets));
        }
        let policies = Policies::clone(&self.policies.current()).with_sets(&sets);
        self.sets = sets;
        let (policy_epoch, in_force) = self.publish(policies);
        in_force.map(|()| Reply::Done { policy_epoch })
    }

    /// How many rules refer to a set, those included that may come back.
    fn set_references(&self) -> impl Fn(&SetName) -> usize {
        let counts = OnceCell::new();
        move |name| {
            let (now, before) = counts.get_or_init(|| {
                let changed = self.unconfirmed.iter().flat_map(|change| &change.tables);
                let now = self.sides.iter().map(|side| &side.ruleset);
                (references(now), references(changed.map(|table| &table.before)))
            });
            let count = |counts: &BTreeMap<&SetName, usize>| counts.get(name).copied();
            count(now).or_else(|| count(before)).unwrap_or(0)
        }
    }

    /// Finds a rule of a command that asks for a set which is not there, or is of the other family
    /// (`get_set_byname`, extensions/libxt_set.h of iptables).
    pub(super) fn check_sets(&self, family: Family, command: &Command) -> Result<(), RuleError> {
        let rules = match command {
            Command::Append { rules, .. }
            | Command::Insert { rules, .. }
            | Command::Delete { rules, .. }
            | Command::Check { rules, .. } => &rules[..],
            Command::Replace { rule, .. } => std::slice::from_ref(rule),
            _ => &[],
        };
        rules.iter().flat_map(sets_of).try_for_each(|name| match self.sets.form_of(name) {
            None => Err(RuleError::NoSuchSet { name: name.clone() }),
            Some(form) if form.kind != SetKind::ListSet && form.family != family => {
                Err(RuleError::SetFamily { name: name.clone(), family: form.family })
            }
            Some(_) => Ok(()),
        })
    }
}

fn refused(error: SetError) -> Failure {
    Failure::Set { change: 0, entry: 0, error }
}
