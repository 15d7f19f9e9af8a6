//! `Room`: how much the rules of a set may keep from packet to packet.

use weir_control::rule::{Family, RecentMatch, Table};

use super::Unenforced;
use crate::limit::KEYS_MAX;
use crate::limit::connections::RULES_MAX;
use crate::limit::recent::RecentTable;
use crate::limit::verified::VerifiedSettings;

/// Bytes that the tables of `-m recent` take at most, all together: four million addresses with 32 times each.
const RECENT_BYTES_MAX: usize = 1 << 30;

/// How large what rules keep is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Addresses of a table of `-m recent`, at least 1.
    pub recent_addresses: u32,
    /// Flows of IPv4 and of IPv6 that the connection tracking of each worker has room for.
    pub flows_max: [u32; 2],
    /// Sources that have completed a handshake.
    pub verified: VerifiedSettings,
}

impl LimitSettings {
    /// Addresses of a table of `-m recent` where nothing else is said (`ip_list_tot` of the kernel's module).
    pub const RECENT_ADDRESSES: u32 = 100;

    /// And at most.
    pub const RECENT_ADDRESSES_MAX: u32 = 1 << 20;
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            recent_addresses: Self::RECENT_ADDRESSES,
            flows_max: [65_536; 2],
            verified: VerifiedSettings::default(),
        }
    }
}

/// What is left for the rules of a set that is being compiled.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) settings: LimitSettings,
    workers: usize,
    table: Table,
    recent_bytes: usize,
    connlimits: usize,
    keys: usize,
}

impl Room {
    /// For rules of this table, where the tables of `-m recent` that there are take so many bytes.
    pub(super) fn new(
        settings: LimitSettings,
        workers: usize,
        table: Table,
        recent_bytes: usize,
    ) -> Self {
        Self { settings, workers, table, recent_bytes, connlimits: 0, keys: 0 }
    }

    /// Takes room for a table, or for what it will have more than now.
    pub(super) fn take_recent(
        &mut self,
        asked: &RecentMatch,
        known: Option<&RecentTable>,
        stamps: u32,
    ) -> Result<(), Unenforced> {
        let addresses = known.map_or(self.settings.recent_addresses, RecentTable::capacity);
        let bytes = RecentTable::bytes_of(addresses, stamps);
        self.recent_bytes += bytes.saturating_sub(known.map_or(0, RecentTable::bytes));
        if self.recent_bytes <= RECENT_BYTES_MAX {
            return Ok(());
        }
        Err(Unenforced::RecentTooLarge {
            name: asked.name.to_string(),
            mebibytes: bytes >> 20,
            most: RECENT_BYTES_MAX >> 20,
        })
    }

    /// Takes room for the keys of a table of `-m hashlimit` or `-m fuzzy`.
    pub(super) fn take_keys(&mut self, keys: usize) -> Result<(), Unenforced> {
        self.keys += keys;
        if self.keys > KEYS_MAX { Err(Unenforced::TooManyKeys) } else { Ok(()) }
    }

    /// Takes room for a rule that asks for verified sources, with so many keys.
    pub(super) fn take_unverified(&mut self, keys: usize) -> Result<(), Unenforced> {
        if self.table == Table::Raw {
            return Err(Unenforced::UnverifiedRaw);
        }
        self.take_keys(keys)
    }

    /// Takes room for one more rule that counts connections.
    pub(super) fn take_connlimit(&mut self) -> Result<(), Unenforced> {
        if self.table == Table::Raw {
            return Err(Unenforced::ConnlimitRaw);
        }
        self.connlimits += 1;
        if self.connlimits > RULES_MAX { Err(Unenforced::ConnlimitTooMany) } else { Ok(()) }
    }

    /// Workers, and flows of the family that each has room for.
    pub(super) fn flows(&self, family: Family) -> (usize, u32) {
        (self.workers, self.settings.flows_max[usize::from(family == Family::V6)])
    }
}
