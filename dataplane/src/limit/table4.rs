//! `Table4`: a [`Table`] of keys of IPv4. Where sources alone make them, which is what most rules ask for, an entry
//! needs nothing of its key but the tag that it is found by.

use super::key::{Key4, KeySpec};
use super::table::{Seen, State, Table};

/// See the module.
#[derive(Debug)]
pub enum Table4<S> {
    /// Of sources.
    Sources(Table<u32, S>),
    /// Of whatever else is asked for.
    Any(Table<Key4, S>),
}

impl<S: State> Table4<S> {
    /// For so many keys of this kind; see [`Table::new`].
    #[must_use]
    pub fn new(spec: &KeySpec, keys_max: usize, expire: u32, seed: u64, blank: S) -> Self {
        if spec.is_source_alone() {
            Self::Sources(Table::new(keys_max, expire, seed, blank))
        } else {
            Self::Any(Table::new(keys_max, expire, seed, blank))
        }
    }

    /// See [`Table::keys_max`].
    #[must_use]
    pub fn keys_max(&self) -> usize {
        match self {
            Self::Sources(table) => table.keys_max(),
            Self::Any(table) => table.keys_max(),
        }
    }

    /// See [`Table::prefetch`].
    #[inline]
    pub fn prefetch(&self, key: &Key4) {
        match self {
            Self::Sources(table) => table.prefetch(&key.source()),
            Self::Any(table) => table.prefetch(key),
        }
    }

    /// See [`Table::with`].
    #[inline]
    pub fn with<R>(
        &self,
        key: Key4,
        now: u64,
        make: impl FnOnce() -> S,
        turn: impl FnOnce(&mut S, u32) -> R,
    ) -> R {
        match self {
            Self::Sources(table) => table.with(key.source(), now, make, turn),
            Self::Any(table) => table.with(key, now, make, turn),
        }
    }

    /// See [`Table::entries`].
    pub fn entries(&self, now: u64) -> impl Iterator<Item = Seen<Key4, S>> {
        let (sources, any) = match self {
            Self::Sources(table) => (Some(table), None),
            Self::Any(table) => (None, Some(table)),
        };
        let sources = sources.into_iter().flat_map(move |table| table.entries(now));
        let of_sources =
            sources.map(|Seen { key, state, age }| Seen { key: Key4::of_source(key), state, age });
        of_sources.chain(any.into_iter().flat_map(move |table| table.entries(now)))
    }
}
