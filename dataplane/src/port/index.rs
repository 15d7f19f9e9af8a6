//! `PortIndex`: which port, for packets and tables.

use std::fmt;

/// Most ports that one daemon serves. A set of ports fits one `u32` mask.
pub const PORTS_MAX: usize = 32;

/// A port's number: its place in the configuration. Below [`PORTS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortIndex(pub u8);

impl PortIndex {
    /// The port at place `index`; `None` from [`PORTS_MAX`] on.
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        (index < PORTS_MAX).then(|| u8::try_from(index).ok().map(Self)).flatten()
    }

    /// The place, for indexing.
    #[inline]
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::from(self.0)
    }

    /// A mask with this port's bit.
    #[inline]
    #[must_use]
    pub fn bit(self) -> u32 {
        1_u32.checked_shl(u32::from(self.0)).unwrap_or(0)
    }
}

impl fmt::Display for PortIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.0)
    }
}
