//! The rules of a table of a family, with what compiles and counts them.

use std::sync::Arc;

use weir_control::rule::Family;
use weir_control::ruleset::{Counters as RuleCount, Ruleset};
use weir_dataplane::limit::kept::Tables;
use weir_dataplane::policy::{Compiler, LimitSettings, Policy};
use weir_dataplane::port::PortIndex;

use crate::sizes::Sizes;
use crate::world::{NAMES, PORTS};

/// The rules of a table of a family.
pub(crate) struct Side {
    pub(crate) ruleset: Ruleset,
    pub(crate) compiler: Compiler,
    pub(crate) policy: Arc<Policy>,
}

impl Side {
    /// Those of a world, as the daemon begins with them.
    pub(crate) fn all(sizes: Sizes, host: Option<PortIndex>) -> [Self; 4] {
        // For the rules the port of the machine itself has no name.
        let of_host = |port: PortIndex| host == Some(port);
        let names = PORTS.map(|port| if of_host(port) { "" } else { NAMES[port.as_usize()] });
        let [filter, raw]: [fn(Family) -> Ruleset; 2] = match host {
            Some(_) => [Ruleset::with_host_chains_of, Ruleset::raw_with_host_chains],
            None => [Ruleset::of, Ruleset::raw],
        };
        let tables = Tables::default();
        let flows_max = [sizes.flows, sizes.flows6];
        let side = |ruleset| {
            let compiler = Compiler::new(sizes.workers, names.map(str::to_owned).into())
                .counting_flows(sizes.acct)
                .proxying(sizes.synproxy)
                .sharing(tables.clone())
                .limiting(LimitSettings { flows_max, ..LimitSettings::default() });
            Self { ruleset, compiler, policy: Arc::new(Policy::accept_all(sizes.workers)) }
        };
        let [four, six] = [Family::V4, Family::V6];
        [filter(four), filter(six), raw(four), raw(six)].map(side)
    }

    pub(crate) fn count(&self, number: usize) -> (u64, u64) {
        let (counters, chain) = (self.compiler.counters(), &self.ruleset.chains()[0]);
        let RuleCount { packets, bytes } = match number.checked_sub(1) {
            Some(place) => counters.rule(chain.rules[place].id),
            None => counters.policy(&chain.name),
        };
        (packets, bytes)
    }

    pub(crate) fn counts(&self) -> Vec<(u64, u64)> {
        let counters = self.compiler.counters();
        let rules = self.ruleset.chains().iter().flat_map(|chain| &chain.rules);
        rules
            .map(|entry| counters.rule(entry.id))
            .map(|RuleCount { packets, bytes }| (packets, bytes))
            .collect()
    }
}
