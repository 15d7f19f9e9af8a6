//! Why a list does not change.

use weir_control::address_list::AddressList;

use super::net::Net;

/// Why a list was not changed, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EarlyDropError<E: std::error::Error + 'static> {
    /// There is no room.
    #[error("the {list} has room for {max} entries of that kind, and {net} would be one more")]
    Full {
        /// Which list.
        list: AddressList,
        /// What there is no room for.
        net: Net,
        /// How many entries there may be.
        max: u32,
    },
    /// There is no such entry.
    #[error("{net} is not in the {list}")]
    NotThere {
        /// Which list.
        list: AddressList,
        /// What is not in it.
        net: Net,
    },
    /// It is the limiter's.
    #[error("{net} was pushed by a rule")]
    IsPushed {
        /// The source.
        net: Net,
    },
    /// The maps could not be written or read.
    #[error("the maps of the XDP program: {0}")]
    Maps(#[source] E),
}
