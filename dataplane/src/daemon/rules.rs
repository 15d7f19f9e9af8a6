//! Rule changes: from a command to a policy in force on every worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use weir_control::command::{ChainName, Command, Transaction};
use weir_control::protocol::{CONFIRM_S_MAX, Failure, Listing, Reply};
use weir_control::rule::{Family, Table};
use weir_control::ruleset::{self, Outcome, RuleId, Ruleset};

use super::push_down::PushDowns;
use crate::limit::kept::Tables;
use crate::policy::{CompileError, Compiler, LimitSettings, Policies, Policy, Zeros};
use crate::publish::{Published, Retired};
use crate::set::Sets;

/// How long a change may take until the last worker enforces it.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(2);

/// After how long it is tried again to undo a change, where that fails.
const UNDO_INTERVAL: Duration = Duration::from_secs(1);

/// Replaced policies that wait for a worker to let go; more only pile up if a worker hangs.
const RETIRED_MAX: usize = 16;

/// A change that is undone unless it is confirmed.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    /// When it is undone.
    until: Instant,
    /// What it did to each table.
    pub(super) tables: Vec<Changed>,
}

/// A table that a change has changed.
#[derive(Debug)]
pub(super) struct Changed {
    /// Its rules of before.
    pub(super) before: Ruleset,
    /// Rules that it took out, whose counters are kept until it is confirmed.
    removed: Vec<RuleId>,
    /// Where the counters stood that it set.
    zeros: Zeros,
}

/// The rules of a table of a family, and who compiles them.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) ruleset: Ruleset,
    pub(super) compiler: Compiler,
}

impl Side {
    /// The same with this policy of chain FORWARD.
    fn with_policy(mut self, policy: ruleset::Policy) -> Self {
        let command = Command::Policy { chain: ChainName::forward(), policy, counters: None };
        self.ruleset.apply(&command).expect("chain FORWARD exists");
        self
    }

    fn compile(&mut self, ruleset: &Ruleset) -> Result<Policy, Failure> {
        self.compiler.compile(ruleset).map_err(not_compiled)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_compiled(error: CompileError) -> Failure {
    Failure::Other { reason: error.to_string() }
}

/// The rules in force, and how to change them.
#[derive(Debug)]
pub struct Rules {
    /// Table filter of IPv4 and IPv6, then table raw.
    pub(super) sides: [Side; 4],
    /// Whether IPv6 is forwarded. Where it is not its rules would decide about nothing: there are none but the policy,
    /// which can be listed and not be changed.
    forwards_ipv6: bool,
    pub(super) policies: Arc<Published<Policies>>,
    retired: Retired<Policies>,
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// The sets in force.
    pub(super) sets: Arc<Sets>,
    /// When the clock began that timeouts of their entries go by, and that of the workers.
    pub(super) started: Instant,
    /// Whether any policy so far asked for connection tracking: workers track from then on.
    tracked: bool,
    /// Rules whose sources are dropped early, where that is done.
    pub(super) push_downs: Option<PushDowns>,
}

impl Rules {
    /// No rules, only chain FORWARD's policy, for this many workers and the ports of these names.
    ///
    /// # Panics
    /// Never: an empty rule set can be compiled.
    #[must_use]
    pub fn new(workers: usize, port_names: Vec<String>, policy: ruleset::Policy) -> Self {
        Self::begin([Ruleset::of, Ruleset::raw], workers, port_names, policy)
    }

    /// The same where the machine's own traffic passes through Weir: with chains INPUT and OUTPUT, which accept.
    /// Its own port is the last, and has no name.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn with_host_chains(
        workers: usize,
        port_names: Vec<String>,
        policy: ruleset::Policy,
    ) -> Self {
        let tables = [Ruleset::with_host_chains_of, Ruleset::raw_with_host_chains];
        Self::begin(tables, workers, port_names, policy)
    }

    /// The same where IPv6 is forwarded, or not.
    #[must_use]
    pub fn forwarding_ipv6(self, forwards_ipv6: bool) -> Self {
        Self { forwards_ipv6, ..self }
    }

    fn begin(
        [filter, raw]: [fn(Family) -> Ruleset; 2],
        workers: usize,
        port_names: Vec<String>,
        policy: ruleset::Policy,
    ) -> Self {
        // Some of what matches share, rules of all tables and families do.
        let tables = Tables::seeded(RandomState::new().hash_one(0));
        let compiler = || Compiler::new(workers, port_names.clone()).sharing(tables.clone());
        // Who may fill a set must not know what makes its entries meet.
        let sets = Arc::new(Sets::new(RandomState::new().hash_one(0)));
        let side = |ruleset| {
            let mut compiler = compiler();
            compiler.set_sets(Arc::clone(&sets));
            Side { ruleset, compiler }
        };
        let mut v4 = side(filter(Family::V4)).with_policy(policy);
        let mut v6 = side(filter(Family::V6)).with_policy(policy);
        let (raw, raw6) = (side(raw(Family::V4)), side(raw(Family::V6)));
        let compiled = |side: &mut Side| {
            side.compiler.compile(&side.ruleset).expect("an empty rule set can be compiled")
        };
        let policies = Policies::new(compiled(&mut v4), compiled(&mut v6));
        let policies = Arc::new(Published::new(policies));
        Self {
            sides: [v4, v6, raw, raw6],
            forwards_ipv6: false,
            policies,
            retired: Retired::default(),
            unconfirmed: None,
            sets,
            started: Instant::now(),
            tracked: false,
            push_downs: None,
        }
    }

    /// The same where the packets and bytes of flows are counted, or are not: then rules that ask for them are refused.
    #[must_use]
    pub fn counting_flows(self, counts_flows: bool) -> Self {
        let counting =
            |side: Side| Side { compiler: side.compiler.counting_flows(counts_flows), ..side };
        Self { sides: self.sides.map(counting), ..self }
    }

    /// The same where connections may be proxied, or not: then rules that would do that are refused.
    #[must_use]
    pub fn proxying(self, proxies: bool) -> Self {
        let proxying = |side: Side| Side { compiler: side.compiler.proxying(proxies), ..side };
        Self { sides: self.sides.map(proxying), ..self }
    }

    /// The same where what rules keep is as large as this.
    #[must_use]
    pub fn limiting(self, limits: LimitSettings) -> Self {
        let limiting = |side: Side| Side { compiler: side.compiler.limiting(limits), ..side };
        Self { sides: self.sides.map(limiting), ..self }
    }

    /// When the time of all workers begins, and that of the sets.
    #[must_use]
    pub fn clock(&self) -> Instant {
        self.started
    }

    /// Where workers find the policies.
    #[must_use]
    pub fn policies(&self) -> &Arc<Published<Policies>> {
        &self.policies
    }

    /// Whether some rule has asked for connection tracking since the start.
    #[must_use]
    pub fn have_tracked(&self) -> bool {
        self.tracked
    }

    /// Rules in all chains of all tables, of both families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sides.iter().map(|side| side.ruleset.rule_count()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of(&self, family: Family, table: Table) -> &Side {
        &self.sides[place(family, table)]
    }

    fn of_mut(&mut self, family: Family, table: Table) -> &mut Side {
        &mut self.sides[place(family, table)]
    }

    /// The table that a rule set is of.
    fn of_same(&mut self, ruleset: &Ruleset) -> &mut Side {
        self.of_mut(ruleset.family(), ruleset.table())
    }

    /// Whether changes of the rules of a family are taken.
    fn check_forwarded(&self, family: Family) -> Result<(), Failure> {
        match family {
            Family::V6 if !self.forwards_ipv6 => Err(Failure::NotFiltered { family }),
            Family::V4 | Family::V6 => Ok(()),
        }
    }

    /// The names of all chains of a table.
    #[must_use]
    pub fn chain_names(&self, family: Family, table: Table) -> Vec<ChainName> {
        self.of(family, table).ruleset.chains().iter().map(|chain| chain.name.clone()).collect()
    }

    /// Carries out a command; a change is in force on every worker when this returns. With `confirm_s`, it is undone
    /// after so many seconds unless [`confirm`](Self::confirm) is called.
    ///
    /// # Errors
    /// [`Failure`]; nothing has changed then, but for [`Failure::NotYetInForce`].
    pub fn carry_out(
        &mut self,
        family: Family,
        table: Table,
        command: &Command,
        confirm_s: Option<u32>,
    ) -> Result<Reply, Failure> {
        if !command.is_listing() {
            self.check_forwarded(family)?;
        }
        self.check_sets(family, command)?;
        let side = self.of(family, table);
        let (candidate, outcome) = side.ruleset.after(command)?;
        if command.is_listing() {
            let counters = side.compiler.counters();
            return Ok(Reply::Listing(Listing { ruleset: candidate, counters }));
        }
        if matches!(command, Command::Check { .. }) {
            return Ok(Reply::Done { policy_epoch: self.policies.epoch() });
        }
        self.change(vec![(candidate, outcome)], confirm_s)
    }

    /// Carries out all commands of transactions at once, or none of them; with `dry_run`, only finds out whether
    /// they could be.
    ///
    /// # Errors
    /// As [`carry_out`](Self::carry_out).
    pub fn carry_out_all(
        &mut self,
        family: Family,
        transactions: &[Transaction],
        dry_run: bool,
        confirm_s: Option<u32>,
    ) -> Result<Reply, Failure> {
        self.check_forwarded(family)?;
        check_tables(transactions)?;
        let mut candidates = Vec::with_capacity(transactions.len());
        for (transaction, asked) in transactions.iter().enumerate() {
            let failed = |command, error| Failure::Transaction { transaction, command, error };
            for (command, asks) in asked.commands.iter().enumerate() {
                self.check_sets(family, asks).map_err(|error| failed(command, error))?;
            }
            let ruleset = &self.of(family, asked.table).ruleset;
            let after = ruleset.after_all(asked);
            candidates.push(after.map_err(|(command, error)| failed(command, error))?);
        }
        if !dry_run {
            return self.change(candidates, confirm_s);
        }
        self.check(&candidates)?;
        Ok(Reply::Done { policy_epoch: self.policies.epoch() })
    }

    /// The policies with these rule sets in the place of those that they change.
    fn compile(&mut self, candidates: &[(Ruleset, Outcome)]) -> Result<Policies, Failure> {
        if candidates.len() > 1 {
            // The last may be the one that cannot be, and then nothing is to be left of the others.
            self.check(candidates)?;
        }
        let mut policies = Policies::clone(&self.policies.current());
        for (candidate, _) in candidates.iter().filter(|(_, outcome)| outcome.changed) {
            let policy = Arc::new(self.of_same(candidate).compile(candidate)?);
            policies = policies.with(candidate.family(), candidate.table(), policy);
        }
        Ok(policies)
    }

    /// Finds out whether all of these rule sets could be compiled.
    fn check(&self, candidates: &[(Ruleset, Outcome)]) -> Result<(), Failure> {
        for (candidate, _) in candidates {
            let side = self.of(candidate.family(), candidate.table());
            side.compiler.check(candidate).map_err(not_compiled)?;
        }
        Ok(())
    }

    /// Keeps the change that waits for it.
    ///
    /// # Errors
    /// When none does.
    pub fn confirm(&mut self) -> Result<Reply, Failure> {
        let Some(Unconfirmed { tables, .. }) = self.unconfirmed.take() else {
            let reason =
                "no change waits to be confirmed: it was undone, or made without --confirm";
            return Err(Failure::Other { reason: reason.to_owned() });
        };
        for Changed { before, removed, .. } in tables {
            let outcome = Outcome { removed, ..Outcome::default() };
            self.of_same(&before).compiler.settle(&outcome);
        }
        Ok(Reply::Done { policy_epoch: self.policies.epoch() })
    }

    /// Until when a change waits to be confirmed.
    #[must_use]
    pub fn unconfirmed_until(&self) -> Option<Instant> {
        self.unconfirmed.as_ref().map(|unconfirmed| unconfirmed.until)
    }

    /// Undoes a change that was not confirmed in time; tells whether there was one.
    ///
    /// # Errors
    /// As [`carry_out`](Self::carry_out). It is tried again after a second, unless the change was confirmed
    /// by then.
    pub fn undo_unconfirmed(&mut self, now: Instant) -> Result<bool, Failure> {
        let Some(change) = self.unconfirmed.take_if(|change| change.until <= now) else {
            return Ok(false);
        };
        let back = |Changed { before, .. }: &Changed| {
            self.of(before.family(), before.table()).ruleset.back_to(before)
        };
        let candidates = change.tables.iter().map(back).collect();
        let undone = self.put_in_force(candidates);
        if let Ok(_) | Err(Failure::NotYetInForce { .. }) = undone {
            for Changed { before, zeros, .. } in &change.tables {
                self.of_same(before).compiler.go_back(zeros);
            }
        } else {
            self.unconfirmed = Some(Unconfirmed { until: now + UNDO_INTERVAL, ..change });
        }
        undone.map(|_| true)
    }

    fn change(
        &mut self,
        mut candidates: Vec<(Ruleset, Outcome)>,
        confirm_s: Option<u32>,
    ) -> Result<Reply, Failure> {
        if let Some(until) = self.unconfirmed_until() {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs();
            let reason = format!(
                "the last change waits to be confirmed and is undone in {seconds} s: `weirctl confirm` keeps it"
            );
            return Err(Failure::Busy { reason });
        }
        let changed = |(candidate, outcome): &mut (Ruleset, Outcome)| {
            let side = self.of(candidate.family(), candidate.table());
            let removed = std::mem::take(&mut outcome.removed);
            let zeros = side.compiler.zeros(outcome);
            Changed { before: side.ruleset.clone(), removed, zeros }
        };
        let unconfirmed = confirm_s.map(|seconds| Unconfirmed {
            until: Instant::now() + Duration::from_secs(seconds.min(CONFIRM_S_MAX).into()),
            tables: candidates.iter_mut().map(changed).collect(),
        });
        let reply = self.put_in_force(candidates);
        if matches!(reply, Ok(_) | Err(Failure::NotYetInForce { .. })) {
            self.unconfirmed = unconfirmed;
        }
        reply
    }

    fn put_in_force(&mut self, candidates: Vec<(Ruleset, Outcome)>) -> Result<Reply, Failure> {
        self.check_retired()?;
        let mut epoch = self.policies.epoch();
        let mut in_force = Ok(());
        if candidates.iter().any(|(_, outcome)| outcome.changed) {
            let policies = self.compile(&candidates)?;
            self.tracked |= policies.tracks().any();
            self.withdraw_pushed();
            (epoch, in_force) = self.publish(policies);
        }
        for (candidate, outcome) in candidates {
            let side = self.of_same(&candidate);
            side.ruleset = candidate;
            side.compiler.settle(&outcome);
        }
        in_force.map(|()| Reply::Done { policy_epoch: epoch })
    }

    /// Frees the policies that were replaced and are no longer used. Who asks for a change does not wait for it: it
    /// is done before the next one, or when there is time.
    pub fn free_replaced(&mut self) {
        self.retired.collect();
    }

    /// Refuses to replace more policies while a worker hangs.
    pub(super) fn check_retired(&mut self) -> Result<(), Failure> {
        if self.retired.collect() >= RETIRED_MAX {
            let reason = "workers still use older rules; see `weirctl status`".to_owned();
            return Err(Failure::Busy { reason });
        }
        Ok(())
    }

    /// Publishes policies: their epoch, and whether every worker has adopted them.
    pub(super) fn publish(&mut self, policies: Policies) -> (u64, Result<(), Failure>) {
        let (epoch, old) = self.policies.publish(policies);
        self.retired.push(old);
        let in_force = self.wait_until_adopted(epoch);
        (epoch, in_force)
    }

    fn wait_until_adopted(&self, epoch: u64) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.policies.is_adopted(epoch) {
            let waited = start.elapsed();
            if waited > ADOPTION_PATIENCE {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Err(Failure::NotYetInForce { waited_ms });
            }
            // A worker adopts between two polls: microseconds away, unless this core is its own.
            std::thread::sleep(Duration::from_micros(20));
        }
        Ok(())
    }
}

/// Where the table of a family is among all.
fn place(family: Family, table: Table) -> usize {
    let first = match table {
        Table::Filter => 0,
        Table::Raw => 2,
    };
    first + family as usize
}

/// That there is no table of which two transactions are: the second would not see what the first did.
fn check_tables(transactions: &[Transaction]) -> Result<(), Failure> {
    for (place, asked) in transactions.iter().enumerate() {
        if transactions[..place].iter().any(|earlier| earlier.table == asked.table) {
            let reason = format!("two transactions are of table {}: join them", asked.table);
            return Err(Failure::Malformed { reason });
        }
    }
    Ok(())
}
