//! Parts of the kernel's tables, and which of them have to be read again.

use std::ops::BitOrAssign;

/// A part of the kernel's tables that can be dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Links,
    Addresses,
    Rules,
    Routes,
    /// Of IPv6.
    Routes6,
    Neighbours,
}

impl Part {
    /// All parts, in the order in which to read them: routes need links, neighbours need ports.
    pub(crate) const ALL: [Self; 6] =
        [Self::Links, Self::Addresses, Self::Rules, Self::Routes, Self::Routes6, Self::Neighbours];

    /// What an operator calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Links => "interfaces",
            Self::Addresses => "addresses",
            Self::Rules => "routing rules",
            Self::Routes => "routes",
            Self::Routes6 => "IPv6 routes",
            Self::Neighbours => "neighbours",
        }
    }
}

/// Parts that have to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stale(u8);

impl Stale {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn all() -> Self {
        let mut stale = Self::NONE;
        for part in Part::ALL {
            stale |= part.into();
        }
        stale
    }

    pub(crate) fn contains(self, part: Part) -> bool {
        self.0 & Self::from(part).0 != 0
    }

    pub(crate) fn remove(&mut self, part: Part) {
        self.0 &= !Self::from(part).0;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl From<Part> for Stale {
    fn from(part: Part) -> Self {
        Self(1 << part as u8)
    }
}

impl BitOrAssign for Stale {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
