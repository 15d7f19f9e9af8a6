//! Rule changes: from a command to a policy in force on every worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_control::command::{ChainName, Command};
use weir_control::protocol::{Failure, Listing, Reply};
use weir_control::ruleset::{self, Ruleset};

use crate::policy::{Compiler, Policy};
use crate::publish::{Published, Retired};

/// How long a change may take until the last worker enforces it.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(2);

/// Replaced policies that wait for a worker to let go; more only pile up if a worker hangs.
const RETIRED_MAX: usize = 16;

/// The rules in force, and how to change them.
#[derive(Debug)]
pub struct Rules {
    ruleset: Ruleset,
    compiler: Compiler,
    policy: Arc<Published<Policy>>,
    retired: Retired<Policy>,
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
        let mut ruleset = Ruleset::new();
        let command = Command::Policy { chain: ChainName::forward(), policy };
        ruleset.apply(&command).expect("chain FORWARD exists");
        let mut compiler = Compiler::new(workers, port_names);
        let policy = compiler.compile(&ruleset).expect("an empty rule set can be compiled");
        let policy = Arc::new(Published::new(policy));
        Self { ruleset, compiler, policy, retired: Retired::default(), tracked: false }
    }

    /// Where workers find the policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Published<Policy>> {
        &self.policy
    }

    /// Whether some rule has asked for connection tracking since the start.
    #[must_use]
    pub fn have_tracked(&self) -> bool {
        self.tracked
    }

    /// Rules in all chains.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ruleset.rule_count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Carries out a command; a change is in force on every worker when this returns.
    ///
    /// # Errors
    /// [`Failure`]; nothing has changed then, but for [`Failure::NotYetInForce`].
    pub fn carry_out(&mut self, command: &Command) -> Result<Reply, Failure> {
        let mut candidate = self.ruleset.clone();
        let outcome = candidate.apply(command)?;
        if command.is_listing() {
            let counters = self.compiler.counters();
            return Ok(Reply::Listing(Listing { ruleset: candidate, counters }));
        }
        if self.retired.collect() >= RETIRED_MAX {
            let reason = "workers still use older rules; see `weirctl status`".to_owned();
            return Err(Failure::Busy { reason });
        }
        let mut epoch = self.policy.epoch();
        let mut in_force = Ok(());
        if outcome.changed {
            let policy = self
                .compiler
                .compile(&candidate)
                .map_err(|error| Failure::Other { reason: error.to_string() })?;
            self.tracked |= policy.tracks();
            let (published, old) = self.policy.publish(policy);
            self.retired.push(old);
            epoch = published;
            in_force = self.wait_until_adopted(epoch);
        }
        self.ruleset = candidate;
        self.compiler.settle(&outcome);
        self.retired.collect();
        in_force.map(|()| Reply::Done { policy_epoch: epoch })
    }

    fn wait_until_adopted(&self, epoch: u64) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.policy.is_adopted(epoch) {
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
