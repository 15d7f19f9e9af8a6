//! What is asked about tables of `-m recent`, and changes of them by hand.
//!
//! A table is there as long as a rule names it. What is changed here, workers see with the next packet; nothing is
//! published, and nothing waits for a confirmation.

use std::net::IpAddr;
use std::sync::Arc;

use weir_control::protocol::{
    Failure, RECENT_PAGE_MAX, RecentAddress, RecentChange, RecentHeader, RecentPage, Reply,
};
use weir_control::rule::RecentName;

use super::Rules;
use crate::limit::JIFFY_NS;
use crate::limit::kept::{TableKey, Tables};
use crate::limit::recent::{RECENT, RecentEntry, RecentTable};

/// Packets for which a page is large enough.
const PAGE_PACKETS: usize = 1 << 18;

impl Rules {
    fn tables(&self) -> &Tables {
        // All compilers share them.
        self.sides[0].compiler.kept().tables()
    }

    /// Now, by the clock of the workers.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.clock().elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn recent(&self, name: &RecentName) -> Result<Arc<RecentTable>, Failure> {
        let key = TableKey { of: RECENT, family: None, name: name.to_string() };
        self.tables().find(&key).ok_or_else(|| Failure::Other {
            reason: format!(
                "no rule has `-m recent --name {name}', and a table is there as long as one has; `weirctl recent' lists \
                 them"
            ),
        })
    }

    /// All tables, without what is in them.
    #[must_use]
    pub fn list_recents(&self) -> Reply {
        let tables = self.tables().all_of::<RecentTable>(RECENT);
        let header = |(key, table): (TableKey, Arc<RecentTable>)| {
            let [mask, mask6] = table.masks();
            Some(RecentHeader {
                name: key.name.parse().ok()?,
                addresses: table.len(),
                addresses_max: table.capacity(),
                packets_max: table.stamps(),
                mask,
                mask6,
                memory_bytes: table.bytes() as u64,
            })
        };
        Reply::Recents(tables.into_iter().filter_map(header).collect())
    }

    /// Addresses of a table, from `cursor` on.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn list_recent(&self, name: &RecentName, cursor: Option<u32>) -> Result<Reply, Failure> {
        let table = self.recent(name)?;
        let (now_ns, places) = (self.now_ns(), table.capacity());
        let (mut place, mut packets, mut addresses) = (cursor.unwrap_or(0), 0, Vec::new());
        let until = place.saturating_add(RECENT_PAGE_MAX).min(places);
        while place < until && packets < PAGE_PACKETS {
            if let Some(entry) = table.entry(place) {
                packets += entry.jiffies.len();
                addresses.push(shown(entry, now_ns));
            }
            place += 1;
        }
        let next = (place < places).then_some(place);
        Ok(Reply::RecentPage(RecentPage { addresses, next }))
    }

    /// Changes a table by hand. Whether that changed anything.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn change_recent(&self, name: &RecentName, change: RecentChange) -> Result<Reply, Failure> {
        let table = self.recent(name)?;
        Ok(Reply::RecentChanged(match change {
            RecentChange::Add(address) => {
                self.note(&table, address);
                true
            }
            RecentChange::Delete(address) => table.forget(address),
            RecentChange::Flush => {
                let any = !table.is_empty();
                table.flush();
                any
            }
        }))
    }

    fn note(&self, table: &RecentTable, address: IpAddr) {
        table.note(address, self.now_ns());
    }
}

fn shown(RecentEntry { address, ttl, jiffies }: RecentEntry, now_ns: u64) -> RecentAddress {
    // A worker may have noted it in a tick that is yet to end here.
    let age_ms = |jiffy: u64| now_ns.saturating_sub(jiffy * JIFFY_NS) / 1_000_000;
    RecentAddress { address, ttl, ages_ms: jiffies.into_iter().rev().map(age_ms).collect() }
}
