//! Questions and answers as frames: ARP for IPv4 (RFC 826), neighbour solicitation and advertisement for IPv6
//! (RFC 4861 sections 4.3 and 4.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_dataplane::wire::arp::{ArpOperation, PACKET_BYTES};
use weir_dataplane::wire::ethernet::{EtherType, FRAME_BYTES_MIN, HEADER_BYTES as ETHERNET_BYTES};
use weir_dataplane::wire::ipv6::HEADER_BYTES as IPV6_BYTES;
use weir_dataplane::wire::vlan::TAG_BYTES;
use weir_dataplane::wire::{
    Arp, ArpHeader, Ethernet, IpProtocol, Ipv6, Ipv6Header, MacAddr, checksum,
};

use crate::address::Address;
use crate::packet::{Tag, tag};

/// Bytes of the longest of these frames.
pub(super) const BYTES_MAX: usize = ETHERNET_BYTES + TAG_BYTES + IPV6_BYTES + MESSAGE_BYTES;

/// Bytes of a solicitation or an advertisement with the option that bears a link-layer address.
const MESSAGE_BYTES: usize = 32;

/// Without that option.
const BARE_BYTES: usize = 24;

/// Message types.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Option types: the sender's link-layer address, and that of the target.
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;

/// The hop limit of what comes from the link itself (RFC 4861 section 7.1).
const HOPS_OF_LINK: u8 = 255;

/// Flags of an answer to a question: solicited, and to be taken in the place of what is known.
const SOLICITED_OVERRIDE: u8 = 0x60;

/// What a frame asks or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Who has `target`? Tell `asker`.
    Ask { target: Address, asker: Address, asker_mac: MacAddr },
    /// `mac` has `target`.
    Tell { target: Address, mac: MacAddr },
}

/// Whether it may be one, by its types alone: cheap.
#[inline]
pub(super) fn is_candidate(frame: &[u8]) -> bool {
    match tag::untagged(frame) {
        Some((EtherType::ARP, _)) => true,
        Some((EtherType::IPV6, at)) => {
            let kind = frame.get(at + IPV6_BYTES);
            frame.get(at + 6) == Some(&IpProtocol::ICMPV6.0)
                && matches!(kind, Some(&(SOLICITATION | ADVERTISEMENT)))
        }
        _ => false,
    }
}

/// Reads a frame; `None` of what is neither, is broken, or is a claim: a question for the asker's own address, or from
/// one who has none yet.
pub(super) fn read(frame: &[u8]) -> Option<Message> {
    let sender = Ethernet::new_checked(frame).ok()?.source();
    match tag::untagged(frame)? {
        (EtherType::ARP, at) => read_arp(frame.get(at..)?),
        (EtherType::IPV6, at) => read_discovery(sender, frame.get(at..)?),
        _ => None,
    }
}

fn read_arp(packet: &[u8]) -> Option<Message> {
    let arp = Arp::new_checked(packet).ok()?;
    let (asker, target) = (arp.sender_ip(), arp.target_ip());
    match arp.operation() {
        ArpOperation::REQUEST if asker.is_unspecified() || asker == target => None,
        ArpOperation::REQUEST => {
            let asker_mac = Some(arp.sender_mac()).filter(|mac| mac.is_unicast())?;
            Some(Message::Ask { target: target.into(), asker: asker.into(), asker_mac })
        }
        ArpOperation::REPLY => {
            let mac = Some(arp.sender_mac()).filter(|mac| mac.is_unicast())?;
            Some(Message::Tell { target: asker.into(), mac })
        }
        _ => None,
    }
}

fn read_discovery(sender: MacAddr, packet: &[u8]) -> Option<Message> {
    let ip = Ipv6::new_checked(packet).ok()?;
    let message = ip.payload();
    let is_whole = message.len() >= BARE_BYTES && message[1] == 0;
    let is_of_link = ip.hop_limit() == HOPS_OF_LINK && ip.next_header() == IpProtocol::ICMPV6.0;
    if !is_whole || !is_of_link || !is_right(&ip) {
        return None;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).ok()?);
    match message[0] {
        SOLICITATION if ip.source().is_unspecified() || ip.source() == target => None,
        SOLICITATION => Some(Message::Ask {
            target: target.into(),
            asker: ip.source().into(),
            asker_mac: Some(sender).filter(|mac| mac.is_unicast())?,
        }),
        ADVERTISEMENT => {
            let mac = option(&message[BARE_BYTES..], TARGET_OPTION).unwrap_or(sender);
            Some(Message::Tell { target: target.into(), mac })
        }
        _ => None,
    }
}

fn is_right(ip: &Ipv6<&[u8]>) -> bool {
    let length = u32::from(ip.payload_len());
    let pseudo = checksum::pseudo_v6(ip.source(), ip.destination(), IpProtocol::ICMPV6, length);
    checksum::verify_transport(pseudo, ip.payload())
}

/// The link-layer address of the first option of a kind.
fn option(mut options: &[u8], kind: u8) -> Option<MacAddr> {
    loop {
        let (&found, &units) = (options.first()?, options.get(1)?);
        let option = options.get(..usize::from(units) * 8).filter(|option| option.len() >= 8)?;
        if found == kind {
            let mac = <[u8; 6]>::try_from(&option[2..8]).ok()?;
            return Some(MacAddr(mac)).filter(|mac| mac.is_unicast());
        }
        options = &options[option.len()..];
    }
}

/// Writes the question who has `target`, from one who has `mac`, and `asker` if he has an address at all. Returns the
/// frame's length; `None` if it does not fit, or the two are of different families.
pub(super) fn ask(
    target: Address,
    asker: Option<Address>,
    (mac, tag): (MacAddr, Option<Tag>),
    out: &mut [u8],
) -> Option<usize> {
    let asker = asker.map(Address::ip);
    match (target.ip(), asker) {
        (IpAddr::V4(target_ip), None | Some(IpAddr::V4(_))) => {
            let header = ArpHeader {
                operation: ArpOperation::REQUEST,
                sender_mac: mac,
                sender_ip: match asker {
                    Some(IpAddr::V4(address)) => address,
                    _ => Ipv4Addr::UNSPECIFIED,
                },
                target_mac: MacAddr::ZERO,
                target_ip,
            };
            arp(&header, MacAddr::BROADCAST, tag, out)
        }
        (IpAddr::V6(target), None | Some(IpAddr::V6(_))) => {
            let source = match asker {
                Some(IpAddr::V6(address)) => address,
                _ => of_link(mac),
            };
            let [.., a, b, c] = target.octets();
            // RFC 4291 section 2.7.1, RFC 2464 section 7.
            let group = Ipv6Addr::from_bits((0xff02 << 112) | (0x1_ff00_0000 | low(a, b, c)));
            let station = MacAddr([0x33, 0x33, 0xff, a, b, c]);
            let body = Body { kind: SOLICITATION, flags: 0, target, option: SOURCE_OPTION, mac };
            body.write([source, group], [mac, station], tag, out)
        }
        _ => None,
    }
}

/// Writes the answer that `mac` has `target`, to `asker`.
pub(super) fn tell(
    target: Address,
    (mac, tag): (MacAddr, Option<Tag>),
    (asker, asker_mac): (Address, MacAddr),
    out: &mut [u8],
) -> Option<usize> {
    match (target.ip(), asker.ip()) {
        (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) => {
            let header = ArpHeader {
                operation: ArpOperation::REPLY,
                sender_mac: mac,
                sender_ip,
                target_mac: asker_mac,
                target_ip,
            };
            arp(&header, asker_mac, tag, out)
        }
        (IpAddr::V6(target), IpAddr::V6(asker)) => {
            let (kind, flags) = (ADVERTISEMENT, SOLICITED_OVERRIDE);
            let body = Body { kind, flags, target, option: TARGET_OPTION, mac };
            body.write([target, asker], [mac, asker_mac], tag, out)
        }
        _ => None,
    }
}

fn low(a: u8, b: u8, c: u8) -> u128 {
    u128::from(u32::from_be_bytes([0, a, b, c]))
}

/// The address of the link that a station makes of its own (RFC 4291 appendix A).
fn of_link(MacAddr([a, b, c, d, e, f]): MacAddr) -> Ipv6Addr {
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(identifier))
}

fn arp(header: &ArpHeader, to: MacAddr, tag: Option<Tag>, out: &mut [u8]) -> Option<usize> {
    let length = FRAME_BYTES_MIN + tag::header_bytes(tag) - ETHERNET_BYTES;
    let out = out.get_mut(..length)?;
    let at = tag::emit_header([header.sender_mac, to], tag, EtherType::ARP, out).ok()?;
    header.emit(&mut out[at..]).ok()?;
    out[at + PACKET_BYTES..].fill(0);
    Some(length)
}

/// A message of neighbour discovery with one option.
struct Body {
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    option: u8,
    mac: MacAddr,
}

impl Body {
    fn write(
        &self,
        [source, destination]: [Ipv6Addr; 2],
        macs: [MacAddr; 2],
        tag: Option<Tag>,
        out: &mut [u8],
    ) -> Option<usize> {
        let length = tag::header_bytes(tag) + IPV6_BYTES + MESSAGE_BYTES;
        let out = out.get_mut(..length)?;
        let at = tag::emit_header(macs, tag, EtherType::IPV6, out).ok()?;
        let packet = &mut out[at..];
        let protocol = IpProtocol::ICMPV6;
        Ipv6Header { protocol, hop_limit: HOPS_OF_LINK, source, destination }
            .emit(MESSAGE_BYTES, packet)
            .ok()?;
        let message = &mut packet[IPV6_BYTES..];
        message.fill(0);
        (message[0], message[4]) = (self.kind, self.flags);
        message[8..24].copy_from_slice(&self.target.octets());
        (message[24], message[25]) = (self.option, 1);
        message[26..].copy_from_slice(&self.mac.0);
        let bytes = u32::try_from(MESSAGE_BYTES).ok()?;
        let pseudo = checksum::pseudo_v6(source, destination, protocol, bytes);
        let sum = !checksum::add(pseudo, checksum::sum(message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC_ONE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const MAC_TWO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const ONE: (MacAddr, Option<Tag>) = (MAC_ONE, None);
    const TWO: (MacAddr, Option<Tag>) = (MAC_TWO, None);

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn frame(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
        let mut out = vec![0xaa; 100];
        let length = write(&mut out).unwrap();
        out.truncate(length);
        out
    }

    #[test]
    fn what_is_asked_and_told_is_read() {
        let tags = [None, Some(Tag { id: 100, priority: 2 })];
        for (target, asker) in [("198.19.0.1", "198.19.0.2"), ("2001:db8::1", "2001:db8::aa:2")] {
            let (target, asker) = (address(target), address(asker));
            for tag in tags {
                let question = frame(|out| ask(target, Some(asker), (MAC_ONE, tag), out));
                assert!(is_candidate(&question) && tag::of(&question) == tag);
                let expected = Message::Ask { target, asker, asker_mac: MAC_ONE };
                assert_eq!(read(&question), Some(expected));
                let answer = frame(|out| tell(target, (MAC_TWO, tag), (asker, MAC_ONE), out));
                assert!(is_candidate(&answer) && tag::of(&answer) == tag);
                assert_eq!(read(&answer), Some(Message::Tell { target, mac: MAC_TWO }));
                assert_eq!((&answer[..6], &answer[6..12]), (&MAC_ONE.0[..], &MAC_TWO.0[..]));
                assert!(question.len().max(answer.len()) <= BYTES_MAX);
            }
            // Too short a buffer, another family.
            assert_eq!(ask(target, Some(asker), ONE, &mut [0; 59]), None);
            let other = ask(target, Some(address("::1")), ONE, &mut [0; 100]);
            assert_eq!(other.is_some(), !target.is_ipv4());
        }
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target() {
        let question = frame(|out| ask(address("2001:db8::12:3456"), None, ONE, out));
        assert_eq!(question[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let ip = Ipv6::new_checked(&question[14..]).unwrap();
        assert_eq!(ip.destination(), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
        assert_eq!(ip.source(), "fe80::ff:fe00:1".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn claims_are_no_questions() {
        let own = address("198.19.0.1");
        assert_eq!(read(&frame(|out| ask(own, None, ONE, out))), None);
        assert_eq!(read(&frame(|out| ask(own, Some(own), ONE, out))), None);
        let own = address("2001:db8::1");
        assert_eq!(read(&frame(|out| ask(own, Some(address("::")), ONE, out))), None);
        assert_eq!(read(&frame(|out| ask(own, Some(own), ONE, out))), None);
    }

    #[test]
    fn an_advertisement_without_its_option_is_of_the_one_who_sent_it() {
        let (target, asker) = (address("2001:db8::1"), address("2001:db8::2"));
        let mut bare = frame(|out| tell(target, TWO, (asker, MAC_ONE), out));
        bare.truncate(14 + 40 + 24);
        bare[14 + 5] = 24;
        bare[14 + 42..14 + 44].fill(0);
        let sum = {
            let ip = Ipv6::new_checked(&bare[14..]).unwrap();
            let pseudo = checksum::pseudo_v6(ip.source(), ip.destination(), IpProtocol::ICMPV6, 24);
            !checksum::add(pseudo, checksum::sum(ip.payload()))
        };
        bare[14 + 42..14 + 44].copy_from_slice(&sum.to_be_bytes());
        bare[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        assert_eq!(read(&bare), Some(Message::Tell { target, mac }));
    }

    proptest! {
        /// One bit of a message of IPv6 that is not where it was is seen.
        #[test]
        fn damage_is_seen(at in 54_usize..86, bit in 0_u8..8) {
            let (target, asker) = (address("2001:db8::1"), address("2001:db8::2"));
            let mut question = frame(|out| ask(target, Some(asker), ONE, out));
            question[at] ^= 1 << bit;
            prop_assert_eq!(read(&question), None);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100), six in any::<bool>()) {
            let mut bytes = bytes;
            if let Some(ether_type) = bytes.get_mut(12..14) {
                ether_type.copy_from_slice(if six { &[0x86, 0xdd] } else { &[8, 6] });
            }
            is_candidate(&bytes);
            read(&bytes);
            option(&bytes, 1);
        }
    }
}
