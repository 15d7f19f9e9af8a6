//! Rule changes: from a command to a policy in force on every worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use weir_control::command::{ChainName, Command, Transaction};
use weir_control::protocol::{CONFIRM_S_MAX, Failure, Listing, Reply};
use weir_control::rule::Family;
use weir_control::ruleset::{self, Outcome, RuleId, Ruleset};

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
    /// The rules of before, of whichever family it was.
    pub(super) before: Ruleset,
    /// When it is undone.
    until: Instant,
    /// Rules that it took out, whose counters are kept until it is confirmed.
    removed: Vec<RuleId>,
    /// Where the counters stood that it set.
    zeros: Zeros,
}

/// The rules of a family, and who compiles them.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) ruleset: Ruleset,
    pub(super) compiler: Compiler,
}

impl Side {
    /// With this policy of chain FORWARD.
    fn new(mut ruleset: Ruleset, policy: ruleset::Policy, compiler: Compiler) -> Self {
        let command = Command::Policy { chain: ChainName::forward(), policy, counters: None };
        ruleset.apply(&command).expect("chain FORWARD exists");
        Self { ruleset, compiler }
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
    pub(super) v4: Side,
    v6: Side,
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
}

impl Rules {
    /// No rules, only chain FORWARD's policy, for this many workers and the ports of these names.
    ///
    /// # Panics
    /// Never: an empty rule set can be compiled.
    #[must_use]
    pub fn new(workers: usize, port_names: Vec<String>, policy: ruleset::Policy) -> Self {
        Self::begin(Ruleset::new(), workers, port_names, policy)
    }

    /// The same where the machine's own IPv4 passes through Weir: with chains INPUT and OUTPUT, which accept.
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
        Self::begin(Ruleset::with_host_chains(), workers, port_names, policy)
    }

    /// The same where IPv6 is forwarded, or not.
    #[must_use]
    pub fn forwarding_ipv6(self, forwards_ipv6: bool) -> Self {
        Self { forwards_ipv6, ..self }
    }

    fn begin(
        ruleset: Ruleset,
        workers: usize,
        port_names: Vec<String>,
        policy: ruleset::Policy,
    ) -> Self {
        // Some of what matches share, rules of both families do.
        let tables = Tables::default();
        let compiler = || Compiler::new(workers, port_names.clone()).sharing(tables.clone());
        let mut v4 = Side::new(ruleset, policy, compiler());
        let mut v6 = Side::new(Ruleset::of(Family::V6), policy, compiler());
        // Who may fill a set must not know what makes its entries meet.
        let sets = Arc::new(Sets::new(RandomState::new().hash_one(0)));
        v4.compiler.set_sets(Arc::clone(&sets));
        let compiled = |side: &mut Side| {
            side.compiler.compile(&side.ruleset).expect("an empty rule set can be compiled")
        };
        let policies = Policies::new(compiled(&mut v4), compiled(&mut v6));
        let policies = Arc::new(Published::new(policies));
        Self {
            v4,
            v6,
            forwards_ipv6: false,
            policies,
            retired: Retired::default(),
            unconfirmed: None,
            sets,
            started: Instant::now(),
            tracked: false,
        }
    }

    /// The same where the packets and bytes of flows are counted, or are not: then rules that ask for them are refused.
    #[must_use]
    pub fn counting_flows(self, counts_flows: bool) -> Self {
        let counting =
            |side: Side| Side { compiler: side.compiler.counting_flows(counts_flows), ..side };
        Self { v4: counting(self.v4), v6: counting(self.v6), ..self }
    }

    /// The same where what rules keep is as large as this.
    #[must_use]
    pub fn limiting(self, limits: LimitSettings) -> Self {
        let limiting = |side: Side| Side { compiler: side.compiler.limiting(limits), ..side };
        Self { v4: limiting(self.v4), v6: limiting(self.v6), ..self }
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

    /// Rules in all chains of both families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.ruleset.rule_count() + self.v6.ruleset.rule_count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of(&self, family: Family) -> &Side {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn of_mut(&mut self, family: Family) -> &mut Side {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Whether changes of the rules of a family are taken.
    fn check_forwarded(&self, family: Family) -> Result<(), Failure> {
        match family {
            Family::V6 if !self.forwards_ipv6 => Err(Failure::NotFiltered { family }),
            Family::V4 | Family::V6 => Ok(()),
        }
    }

    /// The names of all chains of a family.
    #[must_use]
    pub fn chain_names(&self, family: Family) -> Vec<ChainName> {
        self.of(family).ruleset.chains().iter().map(|chain| chain.name.clone()).collect()
    }

    /// Carries out a command; a change is in force on every worker when this returns. With `confirm_s`, it is undone
    /// after so many seconds unless [`confirm`](Self::confirm) is called.
    ///
    /// # Errors
    /// [`Failure`]; nothing has changed then, but for [`Failure::NotYetInForce`].
    pub fn carry_out(
        &mut self,
        family: Family,
        command: &Command,
        confirm_s: Option<u32>,
    ) -> Result<Reply, Failure> {
        if !command.is_listing() {
            self.check_forwarded(family)?;
        }
        self.check_sets(command)?;
        let side = self.of(family);
        let (candidate, outcome) = side.ruleset.after(command)?;
        if command.is_listing() {
            let counters = side.compiler.counters();
            return Ok(Reply::Listing(Listing { ruleset: candidate, counters }));
        }
        if matches!(command, Command::Check { .. }) {
            return Ok(Reply::Done { policy_epoch: self.policies.epoch() });
        }
        self.change(candidate, outcome, confirm_s)
    }

    /// Carries out all commands of a transaction at once, or none of them; with `dry_run`, only finds out whether
    /// they could be.
    ///
    /// # Errors
    /// As [`carry_out`](Self::carry_out).
    pub fn carry_out_all(
        &mut self,
        family: Family,
        transaction: &Transaction,
        dry_run: bool,
        confirm_s: Option<u32>,
    ) -> Result<Reply, Failure> {
        self.check_forwarded(family)?;
        for (command, asks) in transaction.commands.iter().enumerate() {
            self.check_sets(asks).map_err(|error| Failure::Transaction { command, error })?;
        }
        let (candidate, outcome) = self
            .of(family)
            .ruleset
            .after_all(transaction)
            .map_err(|(command, error)| Failure::Transaction { command, error })?;
        if !dry_run {
            return self.change(candidate, outcome, confirm_s);
        }
        let checked = self.of(family).compiler.check(&candidate);
        checked.map_err(not_compiled)?;
        Ok(Reply::Done { policy_epoch: self.policies.epoch() })
    }

    /// Keeps the change that waits for it.
    ///
    /// # Errors
    /// When none does.
    pub fn confirm(&mut self) -> Result<Reply, Failure> {
        let Some(Unconfirmed { before, removed, .. }) = self.unconfirmed.take() else {
            let reason =
                "no change waits to be confirmed: it was undone, or made without --confirm";
            return Err(Failure::Other { reason: reason.to_owned() });
        };
        let compiler = &mut self.of_mut(before.family()).compiler;
        compiler.settle(&Outcome { removed, ..Outcome::default() });
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
        let family = change.before.family();
        let (before, outcome) = self.of(family).ruleset.back_to(&change.before);
        let undone = self.put_in_force(before, &outcome);
        if let Ok(_) | Err(Failure::NotYetInForce { .. }) = undone {
            self.of_mut(family).compiler.go_back(&change.zeros);
        } else {
            self.unconfirmed = Some(Unconfirmed { until: now + UNDO_INTERVAL, ..change });
        }
        undone.map(|_| true)
    }

    fn change(
        &mut self,
        candidate: Ruleset,
        mut outcome: Outcome,
        confirm_s: Option<u32>,
    ) -> Result<Reply, Failure> {
        if let Some(until) = self.unconfirmed_until() {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs();
            let reason = format!(
                "the last change waits to be confirmed and is undone in {seconds} s: `weirctl confirm` keeps it"
            );
            return Err(Failure::Busy { reason });
        }
        let side = self.of(candidate.family());
        let unconfirmed = confirm_s.map(|seconds| Unconfirmed {
            before: side.ruleset.clone(),
            until: Instant::now() + Duration::from_secs(seconds.min(CONFIRM_S_MAX).into()),
            removed: std::mem::take(&mut outcome.removed),
            zeros: side.compiler.zeros(&outcome),
        });
        let reply = self.put_in_force(candidate, &outcome);
        if matches!(reply, Ok(_) | Err(Failure::NotYetInForce { .. })) {
            self.unconfirmed = unconfirmed;
        }
        reply
    }

    fn put_in_force(&mut self, candidate: Ruleset, outcome: &Outcome) -> Result<Reply, Failure> {
        self.check_retired()?;
        let family = candidate.family();
        let mut epoch = self.policies.epoch();
        let mut in_force = Ok(());
        if outcome.changed {
            let policy = Arc::new(self.of_mut(family).compile(&candidate)?);
            self.tracked |= policy.tracks();
            let current = self.policies.current();
            (epoch, in_force) = self.publish(match family {
                Family::V4 => Policies { v4: policy, v6: Arc::clone(&current.v6) },
                Family::V6 => Policies { v4: Arc::clone(&current.v4), v6: policy },
            });
        }
        let side = self.of_mut(family);
        side.ruleset = candidate;
        side.compiler.settle(outcome);
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
