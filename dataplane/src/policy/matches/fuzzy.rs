//! `-m fuzzy`.

use std::sync::Arc;

use weir_control::rule::FuzzyMatch;

use crate::limit::fuzzy::{Controller, Limits};
use crate::limit::jiffies;
use crate::limit::kept::Keeper;
use crate::policy::Candidate;

/// Whether a packet is one too many.
#[derive(Debug)]
pub(in crate::policy) struct FuzzyTest {
    limits: Limits,
    controller: Arc<Controller>,
}

impl FuzzyTest {
    pub(super) fn compile(asked: &FuzzyMatch, keeper: &mut Keeper<'_, '_>) -> Self {
        let limits = Limits { lower_pps: asked.lower_pps, upper_pps: asked.upper_pps };
        Self { limits, controller: keeper.own(Controller::new) }
    }

    /// Asks about one more packet.
    pub(super) fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let Candidate { now_ns, dice, .. } = candidate;
        !self.controller.accepts(self.limits, jiffies(*now_ns), || dice.byte())
    }
}
