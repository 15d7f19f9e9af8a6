//! Tables of `-m recent`: what is asked about them, and the answers.
//!
//! Addresses go by pages, as entries of sets do; neither side keeps anything between two pages. An address that is in
//! the table during the whole listing is in it exactly once; one that comes, goes or gives way meanwhile, at most
//! twice.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::rule::RecentName;

/// Addresses of a page, at most. A page may have fewer, or none, and not be the last.
pub const RECENT_PAGE_MAX: u32 = 4_096;

/// A table without its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecentHeader {
    /// Its name.
    pub name: RecentName,
    /// How many addresses it has.
    pub addresses: u32,
    /// For how many it has room; then the one that was noted longest ago gives way.
    pub addresses_max: u32,
    /// How many packets of each address it notes.
    pub packets_max: u32,
    /// The bits by which it tells addresses of IPv4 apart.
    pub mask: IpAddr,
    /// And those of IPv6.
    pub mask6: IpAddr,
    /// What it takes, in bytes.
    pub memory_bytes: u64,
}

/// An address of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecentAddress {
    /// The address, under the table's mask.
    pub address: IpAddr,
    /// The time to live of the last packet that was noted; 0 if it was noted by hand.
    pub ttl: u8,
    /// How long ago packets were noted, in milliseconds, the last one first; at least one.
    pub ages_ms: Vec<u64>,
}

/// A part of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecentPage {
    /// At most [`RECENT_PAGE_MAX`].
    pub addresses: Vec<RecentAddress>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<u32>,
}

/// What is done to a table by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecentChange {
    /// One more packet is noted of this address.
    Add(IpAddr),
    /// It is forgotten.
    Delete(IpAddr),
    /// All are.
    Flush,
}
