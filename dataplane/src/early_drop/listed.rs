//! What stands in the lists, and what it has dropped.

use std::ops::Bound;

use super::maps::Maps;
use super::net::Net;
use super::{By, EarlyDrop, EarlyDropError};
use crate::program::PacketCount;

/// An entry as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The source.
    pub source: Net,
    /// Whose it is.
    pub by: By,
    /// When it ends; [`FOR_EVER`](super::FOR_EVER) for never.
    pub until_ns: u64,
    /// What it has dropped.
    pub dropped: PacketCount,
}

impl<M: Maps> EarlyDrop<M> {
    /// A part of the blocklist, in the order of addresses: what comes after `after`, at most `max` entries.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`].
    pub fn page(
        &self,
        after: Option<Net>,
        max: usize,
    ) -> Result<Vec<Listed>, EarlyDropError<M::Error>> {
        let counts = self.maps.counts(self.slots.used()).map_err(EarlyDropError::Maps)?;
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.blocked.range((begin, Bound::Unbounded)).take(max);
        let listed = entries.map(|(source, blocked)| {
            let now = counts.get(blocked.slot.number as usize).copied().unwrap_or_default();
            let dropped = now.since(blocked.slot.base);
            Listed { source: *source, by: blocked.by.clone(), until_ns: blocked.until_ns, dropped }
        });
        Ok(listed.collect())
    }

    /// A part of the allowlist, likewise.
    pub fn allowed_page(&self, after: Option<Net>, max: usize) -> Vec<Listed> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.allowed.range((begin, Bound::Unbounded)).take(max);
        let listed = entries.map(|(source, allowed)| Listed {
            source: *source,
            by: By::Operator(allowed.comment.clone()),
            until_ns: allowed.until_ns,
            dropped: PacketCount::default(),
        });
        listed.collect()
    }

    /// All that was ever dropped.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`].
    pub fn dropped(&self) -> Result<PacketCount, EarlyDropError<M::Error>> {
        let counts = self.maps.counts(self.slots.used()).map_err(EarlyDropError::Maps)?;
        let mut sum = PacketCount::default();
        counts.into_iter().for_each(|count| sum += count);
        Ok(sum)
    }
}
