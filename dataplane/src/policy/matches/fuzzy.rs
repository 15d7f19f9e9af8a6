//! `-m fuzzy`.

use std::sync::Arc;

use weir_control::rule::FuzzyMatch;

use super::Around;
use super::keyed;
use crate::batch::Addresses;
use crate::limit::fuzzy::{Controller, Controllers, Limits};
use crate::limit::jiffies;
use crate::limit::kept::TableKey;
use crate::policy::near::Keyed;
use crate::policy::rule::Evaluation;
use crate::policy::{Candidate, Unenforced};

/// The match's name, by which its tables are found.
pub(crate) const FUZZY: &str = "fuzzy";

/// Whether a packet is one too many.
#[derive(Debug)]
pub(in crate::policy) enum FuzzyTest {
    /// Of all that come.
    All(Arc<Controller>),
    /// Of those of its key.
    Keyed(Arc<Controllers>),
}

impl FuzzyTest {
    pub(super) fn compile(
        asked: &FuzzyMatch,
        around: &mut Around<'_, '_>,
    ) -> Result<Self, Unenforced> {
        let Some(keys) = &asked.keys else {
            let limits = Limits::from(asked);
            return Ok(Self::All(around.keeper.own(|| Controller::new(limits))));
        };
        let family = around.family;
        let make = |seed| Controllers::new(asked, keys, family, seed);
        let Some(name) = keys.name.clone() else {
            around.room.take_keys(keys.keys_max as usize)?;
            let seed = around.keeper.seed();
            return Ok(Self::Keyed(around.keeper.own(|| make(seed))));
        };
        let key = TableKey { of: FUZZY, family: Some(family), name };
        let is_as = |controllers: &Controllers| controllers.asked() == asked;
        let room = keys.keys_max as usize;
        Ok(Self::Keyed(keyed::table(around, (key, room), is_as, make)?))
    }

    /// Its table, if it has one.
    pub(super) fn keyed(&self) -> Option<Keyed> {
        match self {
            Self::All(_) => None,
            Self::Keyed(controllers) => Some(Keyed::Controllers(Arc::clone(controllers))),
        }
    }

    /// Asks about one more packet. One that ends before the ports that are asked for is dropped.
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>) -> Evaluation {
        let (now, draw) = (jiffies(candidate.now_ns), || candidate.dice.byte());
        let passes = match self {
            Self::All(controller) => controller.accepts(now, draw),
            Self::Keyed(controllers) => {
                let spec = controllers.spec();
                let Some(ports) = keyed::ports(spec, candidate) else { return Evaluation::Hotdrop };
                match candidate.headers.addresses {
                    Addresses::V4 { source, destination } => {
                        let key = spec.v4((source, destination), ports);
                        controllers.accepts4(key, now, draw)
                    }
                    Addresses::V6 { source, destination } => {
                        let key = spec.v6((source, destination), ports);
                        controllers.accepts6(key, now, draw)
                    }
                }
            }
        };
        (!passes).into()
    }
}
