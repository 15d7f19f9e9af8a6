//! What matches have in common that keep something of each key.

use std::any::Any;
use std::sync::Arc;

use super::Around;
use crate::limit::kept::TableKey;
use crate::limit::key::KeySpec;
use crate::policy::{Candidate, Unenforced};

/// Where the ports of a packet are behind its IP header (`proto_ports_offset`, include/linux/netfilter.h of old, now
/// net/core/flow_dissector.c); `None` where the protocol has none.
fn ports_at(protocol: u8) -> Option<usize> {
    match protocol {
        // TCP, UDP, DCCP, ESP (which has a number there), SCTP, UDP-Lite
        6 | 17 | 33 | 50 | 132 | 136 => Some(0),
        // AH, likewise.
        51 => Some(4),
        _ => None,
    }
}

/// The ports of a packet, where they are asked for; `None` if the packet ends before them. Of a later fragment the
/// kernel takes what is in their place.
#[inline]
pub(super) fn ports(spec: &KeySpec, candidate: &Candidate<'_>) -> Option<(u16, u16)> {
    if !spec.ports() {
        return Some((0, 0));
    }
    let Some(at) = ports_at(candidate.headers.protocol) else { return Some((0, 0)) };
    match candidate.transport_header().get(at..)? {
        [a, b, c, d, ..] => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => None,
    }
}

/// The table that rules share by that name. Its settings are those of the first rule of the name, and another that asks
/// for others is refused: in the kernel it would be limited by what it does not say.
///
/// Where a change leaves no rule that says what the table is like, it is made anew.
///
/// # Errors
/// [`Unenforced::OtherTable`], [`Unenforced::TooManyKeys`].
pub(super) fn table<T: Any + Send + Sync>(
    around: &mut Around<'_, '_>,
    (key, keys): (TableKey, usize),
    is_as: impl Fn(&T) -> bool,
    make: impl FnOnce(u64) -> T,
) -> Result<Arc<T>, Unenforced> {
    let Around { keeper, room, .. } = around;
    let table = match keeper.drafted::<T>(&key) {
        Some(table) if is_as(&table) => table,
        Some(_) => return Err(Unenforced::OtherTable { of: key.of, name: key.name }),
        None => {
            room.take_keys(keys)?;
            let known = keeper.known::<T>(&key).filter(|table| is_as(table));
            known.unwrap_or_else(|| Arc::new(make(keeper.seed())))
        }
    };
    keeper.share(key, Arc::clone(&table));
    Ok(table)
}
