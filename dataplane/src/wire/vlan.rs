//! VLAN tags (IEEE 802.1Q and 802.1ad).
//!
//! A tag stands between the addresses and the type of a frame. The view starts at the tag control
//! information, that is at the payload of the header whose type announced it:
//!
//! ```text
//!  … | 0x8100 | PCP(3) DEI(1) VID(12) | type | payload
//!             ^ view starts here
//! ```
//!
//! [`untag`] walks at most [`TAGS_MAX`] tags, service tag and customer tag; a deeper stack is refused,
//! for what stands behind it could not be filtered. Tags that the kernel keeps in packet metadata
//! (VLAN acceleration) are invisible here; that is for the operator to switch off.

use super::{EtherType, Malformed, NoRoom, need, read_u16, room, write_u16};

/// Bytes of one tag, without the type that announces it.
pub const TAG_BYTES: usize = 4;

/// The deepest stack that [`untag`] follows.
pub const TAGS_MAX: usize = 2;

mod field {
    use std::ops::Range;

    pub(super) const CONTROL: Range<usize> = 0..2;
    pub(super) const ETHER_TYPE: Range<usize> = 2..4;
}

/// One tag and what is behind it.
#[derive(Debug, Clone, Copy)]
pub struct Vlan<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Vlan<T> {
    /// Looks at `bytes` as a tag.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] below 4 bytes.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        need(bytes.as_ref(), TAG_BYTES)?;
        Ok(Self { bytes })
    }

    /// The VLAN's number, 0 to 4095. 0 means "priority only, no VLAN"; 4095 is reserved.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::CONTROL) & 0x0fff
    }

    /// Priority code point, 0 to 7.
    #[inline]
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.bytes.as_ref()[field::CONTROL.start] >> 5
    }

    /// Whether the frame may be dropped first when there is congestion.
    #[inline]
    #[must_use]
    pub fn drop_eligible(&self) -> bool {
        self.bytes.as_ref()[field::CONTROL.start] & 0x10 != 0
    }

    /// What follows the tag.
    #[inline]
    #[must_use]
    pub fn ether_type(&self) -> EtherType {
        EtherType(read_u16(self.bytes.as_ref(), field::ETHER_TYPE))
    }

    /// Everything after the tag.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[TAG_BYTES..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Vlan<T> {
    /// Sets the VLAN's number; bits above the twelfth are ignored. Priority stays.
    #[inline]
    pub fn set_id(&mut self, id: u16) {
        let bytes = self.bytes.as_mut();
        let control = read_u16(bytes, field::CONTROL) & 0xf000 | id & 0x0fff;
        write_u16(bytes, field::CONTROL, control);
    }

    /// Everything after the tag, to write.
    #[inline]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes.as_mut()[TAG_BYTES..]
    }
}

/// What stands behind the tags of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untagged {
    /// Tags passed, 0 to [`TAGS_MAX`].
    pub tags: usize,
    /// The innermost VLAN's number; none without a tag.
    pub id: Option<u16>,
    /// What the payload is.
    pub ether_type: EtherType,
    /// Bytes of all tags: where the payload starts in the bytes given to [`untag`].
    pub offset: usize,
}

/// Walks the tags of a frame whose type is `ether_type` and whose payload is `payload`.
///
/// # Errors
/// [`Malformed::Truncated`] when a tag is cut off, [`Malformed::TooManyHeaders`] when there are more
/// than [`TAGS_MAX`].
#[inline]
pub fn untag(ether_type: EtherType, payload: &[u8]) -> Result<Untagged, Malformed> {
    let mut found = Untagged { tags: 0, id: None, ether_type, offset: 0 };
    while found.ether_type.is_vlan() {
        if found.tags == TAGS_MAX {
            return Err(Malformed::TooManyHeaders { max: TAGS_MAX });
        }
        need(payload, found.offset + TAG_BYTES)?;
        let tag = Vlan { bytes: &payload[found.offset..] };
        found = Untagged {
            tags: found.tags + 1,
            id: Some(tag.id()),
            ether_type: tag.ether_type(),
            offset: found.offset + TAG_BYTES,
        };
    }
    Ok(found)
}

/// A tag to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanHeader {
    /// The VLAN's number; bits above the twelfth are ignored.
    pub id: u16,
    /// Priority code point; bits above the third are ignored.
    pub priority: u8,
    /// What follows.
    pub ether_type: EtherType,
}

impl VlanHeader {
    /// Writes the tag at the start of `out` and returns its length, 4.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let bytes = room(out, TAG_BYTES)?;
        let control = u16::from(self.priority & 7) << 13 | self.id & 0x0fff;
        write_u16(bytes, field::CONTROL, control);
        write_u16(bytes, field::ETHER_TYPE, self.ether_type.0);
        Ok(TAG_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_reads_back_what_was_emitted() {
        let mut bytes = [0; 6];
        let header = VlanHeader { id: 0xfabc, priority: 0xd, ether_type: EtherType::IPV4 };
        assert_eq!(header.emit(&mut bytes), Ok(4));
        assert_eq!(bytes, [0xaa, 0xbc, 0x08, 0x00, 0, 0]);
        let mut tag = Vlan::new_checked(&mut bytes[..]).unwrap();
        assert_eq!((tag.id(), tag.priority(), tag.drop_eligible()), (0xabc, 5, false));
        tag.set_id(7);
        assert_eq!((tag.id(), tag.priority(), tag.payload().len()), (7, 5, 2));
    }

    #[test]
    fn two_tags_are_walked_and_three_refused() {
        let stack = [0, 5, 0x81, 0, 0, 6, 0x08, 0, 0x45];
        assert_eq!(
            untag(EtherType::SERVICE_VLAN, &stack),
            Ok(Untagged { tags: 2, id: Some(6), ether_type: EtherType::IPV4, offset: 8 })
        );
        let three = [0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0];
        assert_eq!(untag(EtherType::VLAN, &three), Err(Malformed::TooManyHeaders { max: 2 }));
        assert_eq!(
            untag(EtherType::VLAN, &stack[..6]),
            Err(Malformed::Truncated { need: 8, have: 6 })
        );
        assert_eq!(
            untag(EtherType::ARP, &[]),
            Ok(Untagged { tags: 0, id: None, ether_type: EtherType::ARP, offset: 0 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_or_refused(
            vlan: bool, bytes in prop::collection::vec(any::<u8>(), 0..32)
        ) {
            let first = if vlan { EtherType::VLAN } else { EtherType(0x88cc) };
            if let Ok(found) = untag(first, &bytes) {
                prop_assert!(found.offset <= bytes.len());
                prop_assert!(!found.ether_type.is_vlan());
            }
        }
    }
}
