//! The packets that are sent: what they are, which fields each of them bears, and what tells them apart on arrival.
//!
//! ```text
//!   Kind ──► Template (all that stays) ──┐
//!   Pick ──► Generator (what changes) ───┼──► a frame, checksums by addition
//!   Key  ──► Stamp (who am I) ───────────┘
//! ```

mod field;
mod kind;
mod pick;
mod place;
mod stamp;
mod sum;
pub(crate) mod tag;
mod template;
mod text;

pub use field::{Fields, Generator, Ranges};
pub use kind::Kind;
pub use pick::{Order, Pick, Space};
pub use stamp::{Key, LANES_MAX, STAMP_BYTES, Stamp};
pub use tag::Tag;
pub use template::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, Shape, Sign, Template};
pub use text::Text;

pub(crate) use place::Place;
pub(crate) use stamp::mix;
