//! What keyed limits have kept of the sources of a batch, brought near before the rules ask for it one packet after the
//! other: of a flood of many sources it is far away.

use std::sync::Arc;

use super::matches::MatchTest;
use super::rule::CompiledRule;
use crate::batch::{Addresses, Headers};
use crate::limit::fuzzy::Controllers;
use crate::limit::hashlimit::Accounts;
use crate::limit::key::{ByFamily, Key6, KeySpec};
use crate::limit::table::{State, Table};
use crate::limit::table4::Table4;
use crate::limit::unverified::Unverified;
use crate::limit::verified::Verified;

/// Tables that are brought near; what more rules keep is fetched when it is asked for.
const TABLES_MAX: usize = 4;

/// The table of a rule.
#[derive(Debug, Clone)]
pub(super) enum Keyed {
    /// Of `-m fuzzy`.
    Controllers(Arc<Controllers>),
    /// Of `-m fuzzy --fuzzy-unverified`.
    Unverified(Arc<Verified>, Arc<Unverified>),
    /// Of `-m hashlimit`.
    Accounts(Arc<Accounts>),
}

impl Keyed {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Controllers(one), Self::Controllers(other)) => Arc::ptr_eq(one, other),
            (Self::Accounts(one), Self::Accounts(other)) => Arc::ptr_eq(one, other),
            (Self::Unverified(_, one), Self::Unverified(_, other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    #[inline]
    fn prefetch(&self, headers: &Headers) {
        match self {
            Self::Controllers(kept) => prefetch(kept.table(), kept.spec(), headers),
            Self::Accounts(kept) => prefetch(kept.table(), kept.spec(), headers),
            Self::Unverified(known, kept) => kept.prefetch(known, headers.addresses),
        }
    }
}

#[inline]
fn prefetch<S: State>(
    table: &ByFamily<Table4<S>, Table<Key6, S>>,
    spec: &KeySpec,
    headers: &Headers,
) {
    // Those of a fragment, or of other protocols, may be others: then this was for nothing.
    let ports = (headers.source_port, headers.destination_port);
    match (table, headers.addresses) {
        (ByFamily::V4(table), Addresses::V4 { source, destination }) => {
            table.prefetch(&spec.v4((source, destination), ports));
        }
        (ByFamily::V6(table), Addresses::V6 { source, destination }) => {
            table.prefetch(&spec.v6((source, destination), ports));
        }
        _ => {}
    }
}

/// The first tables that these rules ask.
pub(super) fn keyed(rules: &[CompiledRule]) -> Arc<[Keyed]> {
    let mut tables: Vec<Keyed> = Vec::new();
    for table in rules.iter().flat_map(|rule| &*rule.tests).filter_map(MatchTest::keyed) {
        if tables.len() == TABLES_MAX {
            break;
        }
        if !tables.iter().any(|known| known.is(&table)) {
            tables.push(table);
        }
    }
    tables.into()
}

impl super::Policy {
    /// Whether rules limit by keys.
    #[must_use]
    #[inline]
    pub fn limits_by_key(&self) -> bool {
        !self.keyed.is_empty()
    }

    /// Asks for what rules with keyed limits have kept of a packet to be brought near.
    #[inline]
    pub fn prefetch_limits(&self, headers: &Headers) {
        self.keyed.iter().for_each(|table| table.prefetch(headers));
    }
}
