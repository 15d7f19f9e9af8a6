//! `-m recent` (net/netfilter/xt_recent.c).

use std::sync::Arc;

use weir_control::rule::{RecentMatch, RecentSide};

use super::Around;
use crate::limit::kept::TableKey;
use crate::limit::recent::{Ask, RECENT, RecentTable, stamps_for};
use crate::policy::{Candidate, Unenforced};

/// What a rule asks of a table.
#[derive(Debug)]
pub(in crate::policy) struct RecentTest {
    table: Arc<RecentTable>,
    ask: Ask,
    /// Times of an address that the table must keep.
    stamps: u32,
    side: RecentSide,
}

impl RecentTest {
    pub(super) fn compile(
        asked: &RecentMatch,
        around: &mut Around<'_, '_>,
    ) -> Result<Self, Unenforced> {
        let ask = Ask::new(asked).ok_or("recent")?;
        let (addresses, stamps) =
            (around.room.settings.recent_addresses, stamps_for(asked.hitcount));
        let key = TableKey { of: RECENT, family: None, name: asked.name.to_string() };
        let keeper = &around.keeper;
        let known = keeper.drafted::<RecentTable>(&key).or_else(|| keeper.known(&key));
        around.room.take_recent(asked, known.as_deref(), stamps)?;
        let make = || RecentTable::new(addresses, stamps, asked.mask);
        Ok(Self { table: around.keeper.shared(key, make), ask, stamps, side: asked.side })
    }

    /// Makes room in the table, now that the rule is about to be in force.
    pub(super) fn prepare(&self) {
        self.table.widen(self.stamps);
    }

    /// The kernel takes the time to live as it was when the packet came, also where it is to be forwarded.
    pub(super) fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let headers = candidate.headers;
        let address = match self.side {
            RecentSide::Source => headers.source(),
            RecentSide::Dest => headers.destination(),
        };
        self.table.ask(&self.ask, address, headers.ttl, candidate.now_ns)
    }
}
