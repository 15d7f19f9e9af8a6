//! The blocklist and the allowlist: how they are changed, and what stands in them.
//!
//! They go by pages, as sets do; a page begins after an address, so that neither side keeps anything between two.

use serde::{Deserialize, Serialize};

use crate::address_list::AddressEntry;
use crate::rule::IpNet;

/// Entries of a page, at most; all pages but the last have so many.
pub const ADDRESS_PAGE_MAX: usize = 4_096;

/// A change of a list by the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressListChange {
    /// Adds an entry; one that is there gets the new time and comment.
    Add {
        /// The entry.
        entry: AddressEntry,
        /// Also if the machine cuts itself off by it.
        force: bool,
    },
    /// Takes one out.
    Delete {
        /// Its source, as it stands in the list.
        source: IpNet,
        /// Also if the machine cuts itself off by it.
        force: bool,
    },
    /// Takes all out.
    Flush {
        /// Also if the machine cuts itself off by it.
        force: bool,
    },
}

/// Whose an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ListedBy {
    /// The operator's.
    Operator,
    /// The flood limiter's: it is about packets that meet a rule.
    Limiter {
        /// Which of the limiter's conditions it is, from 1.
        condition: u8,
        /// Of a million packets so many are let through.
        acceptance_ppm: u32,
    },
}

/// An entry as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressListed {
    /// Its source.
    pub source: IpNet,
    /// Whose it is.
    pub by: ListedBy,
    /// In how many milliseconds it ends; `None` for never.
    pub left_ms: Option<u64>,
    /// Why it is there.
    pub comment: Option<String>,
    /// Packets that it has dropped; of the allowlist 0.
    pub packets: u64,
    /// Their bytes, whole frames.
    pub bytes: u64,
}

/// A part of a list, in the order of addresses, IPv4 first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressPage {
    /// At most [`ADDRESS_PAGE_MAX`] entries.
    pub entries: Vec<AddressListed>,
    /// What the next page comes after; `None` if this is the last.
    pub next: Option<IpNet>,
}
