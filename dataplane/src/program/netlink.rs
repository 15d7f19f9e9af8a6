//! XDP programs by rtnetlink: which ones a device has, and an exchange of one for another that
//! cannot go wrong halfway.
//!
//! The kernel keeps one program a mode: driver, skb, hardware (`IFLA_XDP` in `linux/if_link.h`,
//! `dev_xdp_attach()` in `net/core/dev.c`). `XDP_FLAGS_REPLACE` with `IFLA_XDP_EXPECTED_FD` is a
//! compare-and-exchange on one of these: it succeeds only if the program that the caller means is
//! the one attached. -1 stands for "none", on either side. So nobody's program is lost to a race,
//! and there is no moment without one when the new one takes over from the old.
//!
//! ```text
//!   expected   new    meaning
//!     -1       ours   attach, if there is none
//!     old      ours   take over from the one that was left
//!     ours     -1     remove ours, nobody else's
//! ```
//!
//! libbpf-rs offers the exchange only without a mode flag, which means the wrong mode when ours
//! sits in skb mode of a device that has native XDP; and it drops the sentence with which the
//! kernel explains a refusal. Hence these few messages of our own. Only the attributes needed are
//! read, so a newer kernel's cannot disturb.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::attached::Place;

/// `XDP_FLAGS_SKB_MODE`, `_DRV_MODE`, `_HW_MODE`, `_REPLACE` (`linux/if_link.h`).
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
/// The attributes read from answers (`linux/if_link.h`).
const IFLA_XDP: u16 = 43;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
/// Message types and flags (`linux/rtnetlink.h`, `linux/netlink.h`).
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bytes of `struct ifinfomsg`, of `struct nlmsghdr`, of the error code before it.
const IFINFOMSG_BYTES: usize = 16;
const NLMSGHDR_BYTES: usize = 16;
const ERROR_CODE_BYTES: usize = 4;
/// The two high bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Stands for "no program" in `IFLA_XDP_FD` and `IFLA_XDP_EXPECTED_FD`.
const NO_PROGRAM: i32 = -1;

/// A refusal by the kernel: the error number and, where it gives one, its explanation (extended
/// acknowledgement).
#[derive(Debug)]
pub struct Refusal {
    /// The error number.
    pub error: io::Error,
    /// The kernel's or driver's own words, for example "Peer MTU is too large to set XDP".
    pub explanation: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.explanation {
            Some(words) => write!(f, "{}: {words}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { error, explanation: None }
    }
}

/// A netlink socket of the network namespace in which it was opened.
pub(super) struct LinkSocket {
    socket: Socket,
    sequence: u32,
}

impl LinkSocket {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both are refinements of error messages: a kernel without them still answers.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, sequence: 0 })
    }

    /// The ids of the programs on a device, with their places. `ENODEV` if there is no such device.
    pub(super) fn programs(&mut self, ifindex: u32) -> io::Result<Vec<(Place, u32)>> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let answer =
            self.exchange(RouteNetlinkMessage::GetLink(message), 0).map_err(|r| r.error)?;
        programs_of(&answer)
    }

    /// Puts `new` where `expected` is, if it is there; `None` is no program.
    ///
    /// `EEXIST`: something else is there. `EBUSY`: a bpf_link holds the place.
    pub(super) fn replace(
        &mut self,
        ifindex: u32,
        place: Place,
        expected: Option<BorrowedFd<'_>>,
        new: Option<BorrowedFd<'_>>,
    ) -> Result<(), Refusal> {
        let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(NO_PROGRAM, |fd| fd.as_raw_fd());
        let mode = match place {
            Place::Driver => XDP_FLAGS_DRV_MODE,
            Place::Skb => XDP_FLAGS_SKB_MODE,
            Place::Hardware => XDP_FLAGS_HW_MODE,
        };
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.attributes.push(LinkAttribute::Xdp(vec![
            LinkXdp::Fd(number(new)),
            // The kernel's type is s32; the crate's is u32. The bits are the same.
            LinkXdp::ExpectedFd(number(expected).cast_unsigned()),
            LinkXdp::Flags(mode | XDP_FLAGS_REPLACE),
        ]));
        self.exchange(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// Sends one request and waits for its answer, which the kernel gives at once: the payload of
    /// an `RTM_NEWLINK`, or nothing for an acknowledgement.
    fn exchange(&mut self, request: RouteNetlinkMessage, flags: u16) -> Result<Vec<u8>, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let answer = NetlinkBuffer::new_checked(&datagram)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if answer.sequence_number() != self.sequence {
                continue;
            }
            match answer.message_type() {
                RTM_NEWLINK => return Ok(answer.payload().to_vec()),
                NLMSG_ERROR => return outcome(answer.flags(), answer.payload()).map(|()| vec![]),
                _ => {}
            }
        }
    }
}

/// Reads an `NLMSG_ERROR`: a negative error number or 0, the header of the request, then attributes
/// if the flag says so.
fn outcome(flags: u16, payload: &[u8]) -> Result<(), Refusal> {
    let Some((code, rest)) = payload.split_first_chunk::<ERROR_CODE_BYTES>() else {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    };
    let code = i32::from_ne_bytes(*code);
    if code == 0 {
        return Ok(());
    }
    let attributes = if flags & NLM_F_ACK_TLVS == 0 { None } else { rest.get(NLMSGHDR_BYTES..) };
    let explanation = attributes.and_then(|attributes| {
        let words = attribute(attributes, NLMSGERR_ATTR_MSG)?;
        Some(String::from_utf8_lossy(&words).trim_end_matches('\0').to_owned())
    });
    Err(Refusal { error: io::Error::from_raw_os_error(code.wrapping_neg()), explanation })
}

/// The programs in the payload of an `RTM_NEWLINK`.
fn programs_of(payload: &[u8]) -> io::Result<Vec<(Place, u32)>> {
    let Some(attributes) = payload.get(IFINFOMSG_BYTES..) else {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    };
    let Some(xdp) = attribute(attributes, IFLA_XDP) else { return Ok(vec![]) };
    let places = [
        (Place::Driver, IFLA_XDP_DRV_PROG_ID),
        (Place::Skb, IFLA_XDP_SKB_PROG_ID),
        (Place::Hardware, IFLA_XDP_HW_PROG_ID),
    ];
    let program = |(place, kind)| {
        let id = u32::from_ne_bytes(*attribute(&xdp, kind)?.first_chunk()?);
        (id != 0).then_some((place, id))
    };
    Ok(places.into_iter().filter_map(program).collect())
}

/// The value of the first attribute of a type. A malformed list ends where it stops making sense.
fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() & NLA_TYPE_MASK == kind)
        .map(|attribute| attribute.value().to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{IFINFOMSG_BYTES, NLM_F_ACK_TLVS, Place, outcome, programs_of};

    fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn newlink(attributes: &[u8]) -> Vec<u8> {
        [&[0; IFINFOMSG_BYTES], attributes].concat()
    }

    #[test]
    fn programs_are_found_by_place_and_zero_is_none() {
        let xdp = [
            nla(2, &[1]),
            nla(4, &7_u32.to_ne_bytes()),
            nla(5, &7_u32.to_ne_bytes()),
            nla(6, &0_u32.to_ne_bytes()),
            nla(7, &9_u32.to_ne_bytes()),
        ]
        .concat();
        let payload = newlink(&[nla(3, b"eth7\0"), nla(43 | 0x8000, &xdp)].concat());
        assert_eq!(programs_of(&payload).unwrap(), [(Place::Driver, 7), (Place::Hardware, 9)]);
        assert_eq!(programs_of(&newlink(&nla(3, b"eth7\0"))).unwrap(), []);
        assert!(programs_of(&payload[..IFINFOMSG_BYTES - 1]).is_err());
    }

    #[test]
    fn refusals_carry_the_kernels_words() {
        let mut payload = (-libc::ERANGE).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend(nla(1, b"Peer MTU is too large to set XDP\0"));
        let refusal = outcome(NLM_F_ACK_TLVS, &payload).unwrap_err();
        assert_eq!(refusal.error.raw_os_error(), Some(libc::ERANGE));
        assert_eq!(refusal.explanation.as_deref(), Some("Peer MTU is too large to set XDP"));
        assert_eq!(outcome(0, &payload).unwrap_err().explanation, None);
        assert!(outcome(0, &0_i32.to_ne_bytes()).is_ok());
        assert!(outcome(0, &[0; 3]).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parsers_panic(
            flags: u16,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = outcome(flags, &payload);
            let _ = programs_of(&payload);
        }
    }
}
