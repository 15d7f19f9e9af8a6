//! `-m fuzzy`.

use std::sync::Arc;

use weir_control::rule::{FuzzyMatch, FuzzyUnverified};

use super::Around;
use super::keyed;
use crate::batch::{Addresses, Piece};
use crate::early_drop::Condition;
use crate::limit::fuzzy::{Controller, Controllers, Limits};
use crate::limit::jiffies;
use crate::limit::kept::TableKey;
use crate::limit::unverified::Unverified;
use crate::limit::verified::{VERIFIED, Verified};
use crate::policy::near::Keyed;
use crate::policy::rule::Evaluation;
use crate::policy::{Candidate, Hook, Unenforced};

/// The match's name, by which its tables are found.
pub(crate) const FUZZY: &str = "fuzzy";

/// Whether a packet is one too many.
#[derive(Debug)]
pub(in crate::policy) enum FuzzyTest {
    /// Of all that come.
    All(Arc<Controller>),
    /// Of those of its key.
    Keyed(Arc<Controllers>),
    /// Of those of its source, if that is verified, else of its nets and to its destination.
    Unverified(Arc<Verified>, Arc<Unverified>),
}

impl FuzzyTest {
    pub(super) fn compile(
        asked: &FuzzyMatch,
        around: &mut Around<'_, '_>,
    ) -> Result<Self, Unenforced> {
        if let Some(rates) = &asked.unverified {
            return Self::unverified(asked, rates, around);
        }
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
            Self::Unverified(verified, own) => {
                Some(Keyed::Unverified(Arc::clone(verified), Arc::clone(own)))
            }
        }
    }

    fn unverified(
        asked: &FuzzyMatch,
        rates: &FuzzyUnverified,
        around: &mut Around<'_, '_>,
    ) -> Result<Self, Unenforced> {
        let Around { family, keeper, room, .. } = around;
        let (family, settings) = (*family, room.settings.verified);
        room.take_unverified(Unverified::keys_for(settings.sources_max as usize))?;
        let seed = keeper.seed();
        let key = TableKey { of: VERIFIED, family: Some(family), name: String::new() };
        let verified = keeper.shared(key, || Verified::new(family, settings, seed));
        let sources = (family, settings.sources_max);
        let own = keeper.own(|| Unverified::new(asked, rates, sources, seed));
        Ok(Self::Unverified(verified, own))
    }

    /// Where it looks for verified sources, if it does.
    pub(super) fn verified(&self) -> Option<&Arc<Verified>> {
        if let Self::Unverified(verified, _) = self { Some(verified) } else { None }
    }

    /// Asks about one more packet. One that ends before the ports that are asked for is dropped.
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>) -> Evaluation {
        let (now, draw) = (jiffies(candidate.now_ns), || candidate.dice.byte());
        let thrown_for = || thrown_for(candidate);
        let passes = match self {
            Self::All(controller) => controller.accepts(now, draw),
            Self::Unverified(verified, own) => match candidate.headers.addresses {
                Addresses::V4 { source, destination } => {
                    own.accepts4(verified, (source, destination), now, draw)
                }
                Addresses::V6 { source, destination } => {
                    own.accepts6(verified, (source, destination), now, draw)
                }
            },
            Self::Keyed(controllers) => {
                let spec = controllers.spec();
                let Some(ports) = keyed::ports(spec, candidate) else { return Evaluation::Hotdrop };
                match candidate.headers.addresses {
                    Addresses::V4 { source, destination } => {
                        let key = spec.v4((source, destination), ports);
                        controllers.accepts4(key, now, thrown_for, draw)
                    }
                    Addresses::V6 { source, destination } => {
                        let key = spec.v6((source, destination), ports);
                        controllers.accepts6(key, now, thrown_for, draw)
                    }
                }
            }
        };
        (!passes).into()
    }
}

/// Whether the XDP program has thrown for a packet, if it throws for its source: it asks all that the rule asks of
/// packets, but only of those whose headers are plain enough for it ([`Condition`]).
#[cold]
fn thrown_for(candidate: &Candidate<'_>) -> bool {
    let Some(ethernet) = candidate.link.first_chunk() else { return false };
    let plain = candidate.hook == Hook::Forward && candidate.headers.piece == Piece::Whole;
    plain && Condition::is_plain(ethernet, candidate.packet)
}
