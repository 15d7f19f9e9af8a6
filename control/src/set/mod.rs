//! Sets of addresses, as ipset(8) has them: what they are made of, how they are written, and what
//! may be asked of them. `-m set` asks a packet whether it is in one.
//!
//! ```text
//!  argv ──parse──► SetLine ──SetChange/JSON──► daemon: its sets, and what its workers see of them
//!  saved file ──restore::read──► Vec<SetChange>, one transaction
//! ```
//!
//! The words, the errors and what is printed are those of ipset 7.17; the judge of both is the one of
//! the machine (`dataplane/tests/sets`). Options that Weir does not enforce are refused by name.
//!
//! Entries travel as text, in the form in which they are saved: a million of them have to fit into a
//! message, and both sides have the parser. Who receives one reads it again.

mod address;
mod change;
mod create;
mod entry;
mod error;
mod icmp;
mod line;
mod name;
mod number;
mod ports;
mod print;
pub mod restore;
mod spec;
mod text;

pub use address::{Addresses, To};
pub use change::{SetChange, SetCommand};
pub use entry::{Beside, Element, Entry};
pub use error::{SetError, SetLineError, SetLineErrorKind};
pub use line::{Output, ParsedSet, SET_VERSION_LINE, SetAction, SetContext, SetLine, parse_set};
pub use name::{SET_NAME_BYTES_MAX, SetName, SetNameError};
pub use print::{header_words, plain, save_create};
pub use spec::{SetForm, SetKind, SetSpec};

/// How many sets there may be.
pub const SETS_MAX: usize = 1_024;

/// How many entries all sets together may have.
pub const SET_ENTRIES_MAX: usize = 2_097_152;

/// The longest timeout in seconds: what fits into the kernel's milliseconds
/// (`IPSET_MAX_TIMEOUT`, linux/netfilter/ipset/ip_set.h).
pub const SET_TIMEOUT_S_MAX: u32 = 2_147_483;

/// The longest comment in bytes (`IPSET_MAX_COMMENT_SIZE`).
pub const SET_COMMENT_BYTES_MAX: usize = 255;
