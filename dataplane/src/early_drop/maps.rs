//! What stands behind the lists: the maps of the XDP program, or a model of them.

use super::condition::Condition;
use super::net::Net;
use crate::program::PacketCount;

/// An entry that never ends. Every other value is a time of CLOCK_MONOTONIC, in nanoseconds.
pub const FOR_EVER: u64 = u64::MAX;

/// How many conditions there are (`EARLY_CONDITIONS_MAX` in the program).
pub const CONDITIONS_MAX: usize = 16;

/// A condition, from 1 to [`CONDITIONS_MAX`]: which of the limiter's rules an entry was pushed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConditionNumber(u8);

impl ConditionNumber {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=CONDITIONS_MAX).filter_map(|number| u8::try_from(number).ok().map(Self))
    }

    /// From 1.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// Its place in a table, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// An entry as the program has it (`struct early_entry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// When it ends; [`FOR_EVER`] for never.
    pub until_ns: u64,
    /// A packet is let through if a random number of 32 bits is below: 0 drops all.
    pub acceptance: u32,
    /// Where it counts.
    pub slot: u32,
    /// Which packets it is about; `None` for all of the source.
    pub condition: Option<ConditionNumber>,
}

/// A change of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapChange {
    /// From now on these maps may hold something, and no others ([`Held`]).
    Hold(Held),
    /// Adds an entry, or replaces it.
    Block(Net, MapEntry),
    /// Takes one out; it may be gone already.
    Unblock(Net),
    /// Adds a source that nothing blocks, or replaces it: until when.
    Allow(Net, u64),
    /// Takes one out; it may be gone already.
    Unallow(Net),
    /// Says what a condition means.
    Condition(ConditionNumber, Condition),
}

/// Which maps hold something, a bit each (`early_lists` in the program): single sources, prefixes and what is allowed,
/// of IPv4 and of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held(pub u32);

/// The maps.
pub trait Maps {
    /// Why they cannot be written or read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes the changes, in order. After an error some may be made; all of them can be made again.
    ///
    /// # Errors
    /// What the kernel says.
    fn apply(&self, changes: &[MapChange]) -> Result<(), Self::Error>;

    /// What has been counted in a slot.
    ///
    /// # Errors
    /// What the kernel says.
    fn count(&self, slot: u32) -> Result<PacketCount, Self::Error>;

    /// What has been counted in the first so many slots.
    ///
    /// # Errors
    /// What the kernel says.
    fn counts(&self, slots: u32) -> Result<Vec<PacketCount>, Self::Error>;
}

impl<M: Maps> Maps for std::sync::Arc<M> {
    type Error = M::Error;

    fn apply(&self, changes: &[MapChange]) -> Result<(), Self::Error> {
        M::apply(self, changes)
    }

    fn count(&self, slot: u32) -> Result<PacketCount, Self::Error> {
        M::count(self, slot)
    }

    fn counts(&self, slots: u32) -> Result<Vec<PacketCount>, Self::Error> {
        M::counts(self, slots)
    }
}
