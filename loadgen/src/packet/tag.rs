//! A VLAN tag (IEEE 802.1Q), and what is behind tags.

use std::fmt;

use weir_dataplane::wire::ethernet::{EtherType, EthernetHeader, HEADER_BYTES};
use weir_dataplane::wire::vlan::{TAG_BYTES, VlanHeader};
use weir_dataplane::wire::{MacAddr, NoRoom};

/// The tag that frames bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The VLAN, 0 to 4094; 0 is none, with a priority.
    pub id: u16,
    /// Priority, 0 to 7.
    pub priority: u8,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VLAN {}", self.id)?;
        if self.priority > 0 { write!(f, " priority {}", self.priority) } else { Ok(()) }
    }
}

/// Bytes of an Ethernet header with or without a tag.
#[must_use]
pub(crate) fn header_bytes(tag: Option<Tag>) -> usize {
    HEADER_BYTES + tag.map_or(0, |_| TAG_BYTES)
}

/// Writes an Ethernet header from one station to another, with the tag if there is one; returns its length.
///
/// # Errors
/// [`NoRoom`] when `out` is shorter.
pub(crate) fn emit_header(
    [source, destination]: [MacAddr; 2],
    tag: Option<Tag>,
    ether_type: EtherType,
    out: &mut [u8],
) -> Result<usize, NoRoom> {
    let outer = tag.map_or(ether_type, |_| EtherType::VLAN);
    let at = EthernetHeader { destination, source, ether_type: outer }.emit(out)?;
    let Some(Tag { id, priority }) = tag else { return Ok(at) };
    Ok(at + VlanHeader { id, priority, ether_type }.emit(&mut out[at..])?)
}

/// What is behind the Ethernet header and up to two tags of a frame, and where it begins; `None` of what is too short.
#[inline]
pub(crate) fn untagged(frame: &[u8]) -> Option<(EtherType, usize)> {
    let (mut at, mut ether_type) = (HEADER_BYTES, ether_type(frame, 12)?);
    for _ in 0..weir_dataplane::wire::vlan::TAGS_MAX {
        if !ether_type.is_vlan() {
            break;
        }
        ether_type = self::ether_type(frame, at + 2)?;
        at += TAG_BYTES;
    }
    Some((ether_type, at))
}

/// The innermost VLAN of a frame, if it bears a tag.
pub(crate) fn of(frame: &[u8]) -> Option<Tag> {
    let (_, at) = untagged(frame).filter(|(_, at)| *at > HEADER_BYTES)?;
    let control = ether_type(frame, at - TAG_BYTES)?.0;
    let priority = u8::try_from(control >> 13).unwrap_or(0);
    Some(Tag { id: control & 0x0fff, priority })
}

#[inline]
fn ether_type(frame: &[u8], at: usize) -> Option<EtherType> {
    let &[high, low] = frame.get(at..at + 2)?.first_chunk::<2>()?;
    Some(EtherType(u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_written_and_passed() {
        let macs = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
        let mut plain = [0; 20];
        assert_eq!(emit_header(macs, None, EtherType::IPV6, &mut plain), Ok(14));
        assert_eq!((untagged(&plain), of(&plain)), (Some((EtherType::IPV6, 14)), None));
        let tag = Tag { id: 100, priority: 5 };
        let mut tagged = [0; 26];
        assert_eq!(emit_header(macs, Some(tag), EtherType::IPV4, &mut tagged), Ok(18));
        assert_eq!(tagged[12..18], [0x81, 0, 0xa0, 100, 8, 0]);
        assert_eq!((untagged(&tagged), of(&tagged)), (Some((EtherType::IPV4, 18)), Some(tag)));
        assert_eq!(&tagged[..12], &plain[..12]);
        // Two are passed, of the third only the second's type is told.
        let stack = [&plain[..12], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x08, 0]].concat();
        assert_eq!(untagged(&stack), Some((EtherType::IPV4, 22)));
        assert_eq!(of(&stack), Some(Tag { id: 2, priority: 0 }));
        let deep = [&plain[..12], &[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0]].concat();
        assert_eq!(untagged(&deep), Some((EtherType::VLAN, 22)));
        assert_eq!((untagged(&stack[..19]), untagged(&stack[..13])), (None, None));
        let shown = [tag, Tag { id: 7, priority: 0 }].map(|tag| tag.to_string());
        assert_eq!(shown, ["VLAN 100 priority 5", "VLAN 7"]);
    }
}
