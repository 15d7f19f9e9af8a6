//! Each rule by itself, the whole error by its bytes, and arbitrary packets. The kernel's opinion is in
//! `tests/icmp_oracle/`.

use super::*;
use crate::wire::{Icmp, checksum};
use proptest::prelude::*;

const ALICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const WEIR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

const REPLY: Reply = Reply {
    error: IcmpError::TimeExceeded,
    source: WEIR,
    identification: 0x1234,
    mtu: 1500,
    to_group: false,
};

/// A packet of `payload`, TTL 1, with everything else usual.
fn packet(
    protocol: IpProtocol,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = vec![0; 20 + payload.len()];
    let header = Ipv4Header { ttl: 1, ..Ipv4Header::new(source, destination, protocol) };
    header.emit(payload.len(), &mut out).unwrap();
    out[20..].copy_from_slice(payload);
    out
}

fn udp() -> Vec<u8> {
    packet(IpProtocol::UDP, ALICE, BOB, &[0x13, 0x88, 0, 53, 0, 8, 0, 0])
}

fn built(original: &[u8], reply: &Reply) -> Result<Vec<u8>, NotSent> {
    let mut out = [0xee; 600];
    let len = build(original, reply, &mut out);
    if len.is_err() {
        assert_eq!(out, [0xee; 600], "nothing is written when nothing is sent");
    }
    len.map(|len| out[..len].to_vec())
}

#[test]
fn a_time_exceeded_has_these_bytes() {
    let mut original = udp();
    original[1] = 0xff; // every TOS bit
    Ipv4::new_checked(&mut original[..]).unwrap().fill_checksum();
    let mut padded = original.clone();
    padded.resize(46, 0);
    let error = built(&padded, &REPLY).unwrap();
    let mut expected =
        vec![0x45, 0xde, 0, 56, 0x12, 0x34, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let sum = checksum::checksum(&expected);
    expected[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut message = vec![11, 0, 0, 0, 0, 0, 0, 0];
    message.extend(&original);
    let sum = checksum::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    expected.extend(message);
    assert_eq!(error, expected);
}

#[test]
fn every_kind_has_its_type_code_and_mtu() {
    use IcmpError::{DestinationUnreachable as Dest, FragmentationNeeded, TimeExceeded};
    let cases = [
        (TimeExceeded, 11, 0, 0),
        (Dest(Unreachable::Net), 3, 0, 0),
        (Dest(Unreachable::Host), 3, 1, 0),
        (Dest(Unreachable::Protocol), 3, 2, 0),
        (Dest(Unreachable::Port), 3, 3, 0),
        (FragmentationNeeded { mtu: 1400 }, 3, 4, 1400),
        (Dest(Unreachable::NetProhibited), 3, 9, 0),
        (Dest(Unreachable::HostProhibited), 3, 10, 0),
        (Dest(Unreachable::AdminProhibited), 3, 13, 0),
    ];
    for (error, kind, code, mtu) in cases {
        let bytes = built(&udp(), &Reply { error, ..REPLY }).unwrap();
        let ip = Ipv4::new_checked(&bytes).unwrap();
        let message = Icmp::new_checked(ip.payload()).unwrap();
        assert_eq!((message.message_type().0, message.code()), (kind, code), "{error:?}");
        assert_eq!(message.rest_of_header()[..2], [0, 0]);
        assert_eq!(message.next_hop_mtu(), mtu);
        assert!(message.checksum_ok() && ip.checksum_ok());
        assert_eq!(error.is_rate_limited(), code != 4);
    }
}

#[test]
fn the_quote_ends_at_576_bytes_or_the_links_mtu() {
    for (payload, mtu, expected) in [
        (528, 1500, 576),
        (527, 1500, 575),
        (529, 1500, 576),
        (1400, 1500, 576),
        (528, 300, 300),
        (1, 68, 49),
    ] {
        let original = packet(IpProtocol::UDP, ALICE, BOB, &vec![7; payload]);
        let error = built(&original, &Reply { mtu, ..REPLY }).unwrap();
        assert_eq!(error.len(), expected);
        assert_eq!(error[28..], original[..expected - 28]);
    }
    let refused = built(&udp(), &Reply { mtu: 48, ..REPLY });
    assert_eq!(refused, Err(NotSent::LinkMtu { mtu: 48 }));
    assert_eq!(built(&udp(), &Reply { mtu: 0, ..REPLY }), Err(NotSent::LinkMtu { mtu: 0 }));
    assert!(built(&udp(), &Reply { mtu: 49, ..REPLY }).is_ok());
}

#[test]
fn no_error_is_about_an_icmp_error_or_an_unknown_type() {
    for kind in 0..=255 {
        let original = packet(IpProtocol::ICMP, ALICE, BOB, &[kind]);
        let expected = match kind {
            0 | 8 | 13..=18 => Ok(49),
            kind => Err(NotSent::AboutIcmpError(kind)),
        };
        assert_eq!(built(&original, &REPLY).map(|error| error.len()), expected);
    }
    let empty = packet(IpProtocol::ICMP, ALICE, BOB, &[]);
    let why = NotSent::Malformed(Malformed::Truncated { need: 8, have: 0 });
    assert_eq!(built(&empty, &REPLY), Err(why));
}

#[test]
fn no_error_goes_to_what_is_no_single_host() {
    for source in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        let source: Ipv4Addr = source.parse().unwrap();
        let original = packet(IpProtocol::UDP, source, BOB, &[0; 8]);
        assert_eq!(built(&original, &REPLY), Err(NotSent::Source(source)));
    }
}

#[test]
fn no_error_is_about_what_many_received() {
    for destination in ["224.0.0.251", "239.255.255.255", "255.255.255.255"] {
        let original = packet(IpProtocol::UDP, ALICE, destination.parse().unwrap(), &[0; 8]);
        assert_eq!(built(&original, &REPLY), Err(NotSent::GroupDestination));
    }
    let refused = built(&udp(), &Reply { to_group: true, ..REPLY });
    assert_eq!(refused, Err(NotSent::GroupDestination));
}

#[test]
fn only_the_first_fragment_is_answered() {
    let mut original = udp();
    let mut ip = Ipv4::new_checked(&mut original[..]).unwrap();
    ip.set_fragment(0, true);
    assert!(built(&original, &REPLY).is_ok());
    let mut ip = Ipv4::new_checked(&mut original[..]).unwrap();
    ip.set_fragment(8, true);
    assert_eq!(built(&original, &REPLY), Err(NotSent::LaterFragment));
}

#[test]
fn a_router_without_an_address_uses_the_dummy() {
    let error = built(&udp(), &Reply { source: Ipv4Addr::UNSPECIFIED, ..REPLY }).unwrap();
    assert_eq!(error[12..16], [192, 0, 0, 8]);
}

#[test]
fn a_small_buffer_is_refused() {
    let mut out = [0; 55];
    let refused = build(&udp(), &REPLY, &mut out);
    assert_eq!(refused, Err(NotSent::NoRoom(NoRoom { need: 56, have: 55 })));
}

proptest! {
    #[test]
    fn any_packet_is_answered_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..700), readable: bool, icmp: bool,
        mtu: u16, out_len in 0usize..700, to_group: bool
    ) {
        if readable && bytes.len() >= 20 {
            let len = u16::try_from(bytes.len()).unwrap();
            bytes[0] = 0x45 + bytes[0] % 2;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[6] &= 0xe0;
            if icmp {
                bytes[9] = 1;
            }
        }
        let mut out = vec![0; out_len];
        let reply = Reply { mtu, to_group, ..REPLY };
        if let Ok(len) = build(&bytes, &reply, &mut out) {
            prop_assert!(len <= 576 && len <= usize::from(mtu));
            let ip = Ipv4::new_checked(&out[..len]).unwrap();
            prop_assert!(ip.checksum_ok() && ip.packet().len() == len);
            prop_assert_eq!(ip.destination().octets(), &bytes[12..16]);
            prop_assert!(Icmp::new_checked(ip.payload()).unwrap().checksum_ok());
            // An error is never answered by an error.
            let mut again = [0; 576];
            prop_assert!(matches!(
                build(&out[..len], &REPLY, &mut again),
                Err(NotSent::AboutIcmpError(11))
            ));
        }
    }
}
