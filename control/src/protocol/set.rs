//! Sets: what is asked about them, and the answers.
//!
//! A set may have a million entries, so these go by pages, as tracked flows do
//! ([`super::ConntrackCursor`]): neither side keeps anything between two pages. An entry that is in the
//! set during the whole listing is in it exactly once; one that comes or goes meanwhile, at most once.

use serde::{Deserialize, Serialize};

use crate::set::{SetName, SetSpec};

/// Entries of a page, at most. A page may have fewer, or none, and not be the last.
pub const SET_PAGE_MAX: usize = 4_096;

/// A set without its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetHeader {
    /// Its name.
    pub name: SetName,
    /// What it was made as.
    pub spec: SetSpec,
    /// What it takes, in bytes.
    pub memory_bytes: u64,
    /// Rules and lists that refer to it.
    pub references: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// Where a page begins. It is of no use after the set was flushed, swapped or destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCursor {
    /// Which set it is, whatever its name.
    pub set: u64,
    /// Where in it.
    pub place: u64,
}

/// A part of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPage {
    /// Entries as they are saved, at most [`SET_PAGE_MAX`].
    pub entries: Vec<String>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<SetCursor>,
}
