//! Every field against bytes written by hand, every refusal, and no panic on any bytes.

use super::*;
use proptest::prelude::*;

/// A header from a textbook: 40 bytes TCP, checksum right.
const PACKET: [u8; 20] = [
    0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10, 0x0a, 0x63,
    0xac, 0x10, 0x0a, 0x0c,
];

fn padded() -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..20].copy_from_slice(&PACKET);
    bytes
}

fn refusal(bytes: &[u8]) -> Malformed {
    Ipv4::new_checked(bytes).map(|_| ()).unwrap_err()
}

#[test]
fn every_field_is_where_rfc_791_puts_it() {
    let bytes = padded();
    let ip = Ipv4::new_checked(&bytes).unwrap();
    assert_eq!((ip.header_len(), ip.total_len(), ip.tos()), (20, 60, 0));
    assert_eq!((ip.identification(), ip.ttl(), ip.protocol()), (0x1c46, 64, IpProtocol::TCP));
    assert_eq!((ip.dont_fragment(), ip.more_fragments(), ip.fragment_offset()), (true, false, 0));
    assert_eq!((ip.checksum(), ip.checksum_ok(), ip.is_fragment()), (0xb1e6, true, false));
    assert_eq!(ip.source(), Ipv4Addr::new(172, 16, 10, 99));
    assert_eq!(ip.destination(), Ipv4Addr::new(172, 16, 10, 12));
    // 4 bytes of Ethernet padding belong to nobody.
    assert_eq!((ip.payload().len(), ip.packet().len(), ip.options().count()), (40, 60, 0));
}

#[test]
fn what_is_no_packet_is_refused_with_the_reason() {
    let mut bytes = padded();
    assert_eq!(refusal(&bytes[..19]), Malformed::Truncated { need: 20, have: 19 });
    assert_eq!(refusal(&bytes[..59]), Malformed::TotalLength { declared: 60, min: 20, have: 59 });
    bytes[0] = 0x65;
    assert_eq!(refusal(&bytes), Malformed::Version { found: 6 });
    bytes[0] = 0x44;
    assert_eq!(refusal(&bytes), Malformed::HeaderLength { declared: 16, min: 20 });
    bytes[0] = 0x4f;
    assert_eq!(refusal(&bytes[..32]), Malformed::Truncated { need: 60, have: 32 });
    bytes[3] = 59;
    assert_eq!(refusal(&bytes), Malformed::TotalLength { declared: 59, min: 60, have: 64 });
}

#[test]
fn a_quoted_packet_may_be_cut_off() {
    let bytes = padded();
    let ip = Ipv4::new_quoted(&bytes[..28]).unwrap();
    assert_eq!((ip.total_len(), ip.payload().len()), (60, 8));
    let whole = Ipv4::new_quoted(&bytes).unwrap();
    assert_eq!(whole.payload().len(), 40);
    assert!(Ipv4::new_quoted(&bytes[..19]).is_err());
}

#[test]
fn the_last_hop_leaves_the_packet_as_it_is() {
    for ttl in [0, 1] {
        let mut bytes = padded();
        bytes[8] = ttl;
        let before = bytes;
        assert_eq!(Ipv4::new_checked(&mut bytes).unwrap().decrement_ttl(), None);
        assert_eq!(bytes, before);
    }
}

#[test]
fn options_are_walked_to_the_end_and_no_further() {
    let mut bytes = [0; 44];
    bytes[..20].copy_from_slice(&PACKET);
    bytes[0] = 0x4b; // 44 bytes of header
    bytes[3] = 44;
    bytes[20..36].copy_from_slice(&[1, 7, 7, 4, 10, 0, 0, 1, 131, 7, 4, 10, 0, 0, 2, 0]);
    bytes[36..].fill(0xff); // behind the end
    let ip = Ipv4::new_checked(&bytes).unwrap();
    let found: Vec<_> = ip.options().map(Result::unwrap).collect();
    assert_eq!(
        found,
        [
            Ipv4Option { kind: 1, at: 20, data: &[] },
            Ipv4Option { kind: 7, at: 21, data: &[4, 10, 0, 0, 1] },
            Ipv4Option { kind: 131, at: 28, data: &[4, 10, 0, 0, 2] },
        ]
    );
    assert_eq!(found.iter().map(Ipv4Option::wire_len).collect::<Vec<_>>(), [1, 7, 7]);
    assert_eq!(found.iter().map(Ipv4Option::is_copied).collect::<Vec<_>>(), [false, false, true]);
    assert!(ip.has_source_route());

    bytes[22] = 1; // record route of one byte
    let ip = Ipv4::new_checked(&bytes).unwrap();
    let errors: Vec<_> = ip.options().filter_map(Result::err).collect();
    assert_eq!(errors, [Malformed::OptionLength { kind: 7, declared: 1, left: 23 }]);
    assert_eq!(ip.options().count(), 2);
    assert!(!ip.has_source_route());

    bytes[22] = 24; // one byte more than there is
    let ip = Ipv4::new_checked(&bytes).unwrap();
    let errors: Vec<_> = ip.options().filter_map(Result::err).collect();
    assert_eq!(errors, [Malformed::OptionLength { kind: 7, declared: 24, left: 23 }]);
}

#[test]
fn an_emitted_header_has_a_right_checksum_and_needs_its_room() {
    let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 0, 2));
    let header = Ipv4Header::new(source, destination, IpProtocol::ICMP);
    let mut out = [0xaa; 32];
    assert_eq!(header.emit(8, &mut out), Ok(20));
    let expected = [0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0x70, 0x36, 10, 0, 0, 1, 192, 168, 0, 2];
    assert_eq!(out[..20], expected);
    assert_eq!(out[20..], [0xaa; 12]);
    assert!(Ipv4::new_checked(&out).unwrap().checksum_ok());
    assert_eq!(header.emit(13, &mut out), Err(NoRoom { need: 33, have: 32 }));
    let mut large = vec![0; 70_000];
    assert_eq!(header.emit(65_516, &mut large), Err(NoRoom { need: 65_536, have: 65_535 }));
    assert_eq!(header.emit(65_515, &mut large), Ok(20));
}

proptest! {
    #[test]
    fn a_decremented_ttl_keeps_the_checksum_right(mut bytes: [u8; 20], ttl in 2u8..) {
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&[0, 20]);
        bytes[8] = ttl;
        let mut ip = Ipv4::new_checked(&mut bytes[..]).unwrap();
        ip.fill_checksum();
        prop_assert_eq!(ip.decrement_ttl(), Some(ttl - 1));
        prop_assert_eq!(ip.ttl(), ttl - 1);
        let updated = ip.checksum();
        ip.fill_checksum();
        prop_assert_eq!(updated, ip.checksum());
    }

    #[test]
    fn fragment_fields_read_back(offset in 0u16..8192, more: bool) {
        let mut bytes = padded();
        let mut ip = Ipv4::new_checked(&mut bytes[..]).unwrap();
        ip.set_fragment(offset * 8, more);
        prop_assert_eq!((ip.fragment_offset(), ip.more_fragments()), (offset * 8, more));
        prop_assert_eq!(ip.is_fragment(), more || offset > 0);
        prop_assert!(!ip.dont_fragment());
    }

    /// Writes through every setter and then reads with every getter.
    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100), ihl: u8, total in 0u8..100, quoted: bool,
        new_total: u16
    ) {
        if bytes.len() > 4 {
            bytes[0] = 0x40 | ihl & 0x0f;
            bytes[2..4].copy_from_slice(&[0, total]);
        }
        let have = bytes.len();
        let view = if quoted { Ipv4::new_quoted(&mut bytes[..]) } else { Ipv4::new_checked(&mut bytes[..]) };
        let Ok(mut ip) = view else { return Ok(()) };
        prop_assert_eq!(ip.header_len() + ip.payload().len(), ip.packet().len());
        prop_assert!(ip.packet().len() <= have);
        prop_assert!(ip.options().count() <= 40);
        let _ = (ip.has_source_route(), ip.checksum_ok(), ip.decrement_ttl());
        ip.payload_mut().fill(0xff);
        ip.set_tos(0xff);
        ip.set_source(Ipv4Addr::BROADCAST);
        ip.set_destination(Ipv4Addr::BROADCAST);
        let new_total = new_total % 128;
        let allowed = (ip.header_len()..=have).contains(&usize::from(new_total));
        prop_assert_eq!(ip.set_total_len(new_total).is_ok(), allowed);
        ip.fill_checksum();
        prop_assert!(ip.checksum_ok());
        prop_assert_eq!(ip.header_len() + ip.payload().len(), ip.packet().len());
    }
}
