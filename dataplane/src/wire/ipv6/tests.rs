use super::*;
use proptest::prelude::*;

fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        protocol: IpProtocol(next),
        hop_limit: 64,
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::from_bits(2),
    };
    let mut out = vec![0; HEADER_BYTES + payload.len()];
    assert_eq!(header.emit(payload.len(), &mut out), Ok(40));
    out[HEADER_BYTES..].copy_from_slice(payload);
    out
}

#[test]
fn the_first_routing_header_is_found() {
    let of = |next, payload: &[u8]| {
        let bytes = packet(next, payload);
        Ipv6::new_checked(&bytes[..]).unwrap().routing_header()
    };
    let options = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [17, 1, 4, 3, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let found = Some(RoutingHeader { kind: 4, segments_left: 3, bytes: 16 });
    assert_eq!(of(43, &routing), found);
    assert_eq!(of(60, &[&options[..], &routing, &[0; 8]].concat()), found);
    // The first of two; cut off; behind the protocol; in a fragment that is not the first one.
    assert_eq!(of(43, &[&[43, 0, 0, 9, 0, 0, 0, 0], &routing[..]].concat()).unwrap().kind, 0);
    assert_eq!(of(43, &routing[..8]), None);
    assert_eq!(of(17, &routing), None);
    let fragment = |offset| [&[43, 0, 0, offset, 0, 0, 0, 1], &routing[..]].concat();
    assert_eq!((of(44, &fragment(1)), of(44, &fragment(8))), (found, None));
    let many = [60, 0, 1, 4, 0, 0, 0, 0].repeat(EXTENSIONS_MAX);
    assert_eq!(of(60, &[&many[..], &routing].concat()), None);
}

#[test]
fn every_field_is_where_rfc_8200_puts_it() {
    let mut bytes = packet(17, &[1, 2, 3]);
    bytes[..4].copy_from_slice(&[0x6a, 0xb1, 0x23, 0x45]);
    bytes.push(0); // padding
    let mut ip = Ipv6::new_checked(&mut bytes[..]).unwrap();
    assert_eq!((ip.traffic_class(), ip.flow_label()), (0xab, 0x12345));
    assert_eq!((ip.payload_len(), ip.next_header(), ip.hop_limit()), (3, 17, 64));
    assert_eq!((ip.source(), ip.destination()), (Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(2)));
    assert_eq!(ip.payload(), [1, 2, 3]);
    assert_eq!((ip.decrement_hop_limit(), ip.hop_limit()), (Some(63), 63));
    bytes[7] = 1;
    assert_eq!(Ipv6::new_checked(&mut bytes[..]).unwrap().decrement_hop_limit(), None);
    assert_eq!(bytes[7], 1);
}

#[test]
fn what_is_no_packet_is_refused_with_the_reason() {
    let bytes = packet(17, &[1, 2, 3]);
    let refusal = |bytes: &[u8]| Ipv6::new_checked(bytes).map(|_| ()).unwrap_err();
    assert_eq!(refusal(&bytes[..39]), Malformed::Truncated { need: 40, have: 39 });
    let total = Malformed::TotalLength { declared: 43, min: 40, have: 42 };
    assert_eq!(refusal(&bytes[..42]), total);
    assert_eq!(refusal(&[0x45; 40]), Malformed::Version { found: 4 });
}

#[test]
fn extension_headers_are_walked_to_the_protocol() {
    let mut chain = vec![60, 0, 0, 0, 0, 0, 0, 0]; // hop-by-hop
    chain.extend([51, 1]); // destination options, 16 bytes
    chain.extend([0; 14]);
    chain.extend([44, 1]); // authentication, 12 bytes
    chain.extend([0; 10]);
    chain.extend([6, 0, 0, 1, 0, 0, 0, 9]); // first fragment
    chain.extend([0xaa; 20]);
    let bytes = packet(0, &chain);
    let fragment = Some(Fragment {
        offset: 0,
        more: true,
        identification: 9,
        place: FragmentPlace { at: 36, named_at: 64 },
    });
    assert_eq!(
        Ipv6::new_checked(&bytes).unwrap().upper_layer(),
        Ok(UpperLayer { protocol: IpProtocol::TCP, offset: 44, fragment })
    );
}

#[test]
fn data_of_a_later_fragment_is_not_walked() {
    let bytes = packet(44, &[60, 0, 0, 8, 0, 0, 0, 9, 6, 200, 0, 0]);
    let fragment = Some(Fragment {
        offset: 8,
        more: false,
        identification: 9,
        place: FragmentPlace { at: 0, named_at: 6 },
    });
    assert_eq!(
        Ipv6::new_checked(&bytes).unwrap().upper_layer(),
        Ok(UpperLayer { protocol: IpProtocol(60), offset: 8, fragment })
    );
}

#[test]
fn a_chain_that_is_long_or_cut_off_is_refused() {
    let eight = [60, 0, 0, 0, 0, 0, 0, 0].repeat(7);
    let long = [&eight[..], &[60, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0]].concat();
    let bytes = packet(60, &long);
    let refused = Ipv6::new_checked(&bytes).unwrap().upper_layer();
    assert_eq!(refused, Err(Malformed::TooManyHeaders { max: 8 }));
    let ends = [&eight[..], &[6, 0, 0, 0, 0, 0, 0, 0]].concat();
    let bytes = packet(60, &ends);
    let found = Ipv6::new_checked(&bytes).unwrap().upper_layer().unwrap();
    assert_eq!((found.protocol, found.offset), (IpProtocol::TCP, 64));
    let bytes = packet(43, &[6, 1, 0, 0, 0, 0, 0, 0]);
    let refused = Ipv6::new_checked(&bytes).unwrap().upper_layer();
    assert_eq!(refused, Err(Malformed::Truncated { need: 16, have: 8 }));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..120), len in 0u8..100,
        chain in prop::collection::vec(prop::sample::select(vec![0u8, 43, 44, 51, 60, 6]), 10)
    ) {
        let mut bytes = bytes;
        if bytes.len() > 6 {
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&[0, len]);
        }
        // Chains that lead somewhere are rare among random bytes.
        for (at, next) in [6].into_iter().chain((40..).step_by(8)).zip(chain) {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = next;
            }
            if let Some(byte) = bytes.get_mut(at + 1) {
                *byte &= 1;
            }
        }
        let Ok(mut ip) = Ipv6::new_checked(&mut bytes[..]) else { return Ok(()) };
        if let Ok(found) = ip.upper_layer() {
            prop_assert!(found.offset <= ip.payload().len());
        }
        ip.payload_mut().fill(0);
        let _ = (ip.decrement_hop_limit(), ip.traffic_class(), ip.flow_label());
    }
}

#[test]
fn addresses_of_one_host_are_told_apart() {
    for (address, one) in [
        ("2001:db8::1", true),
        ("5f00::1", true),
        ("fc00::1", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("febf::1", true),
        ("fec0::1", true),
        ("::1", true),
        ("::10.0.0.1", true),
        ("::", false),
        ("::ffff:10.0.0.1", false),
        ("64:ff9b::1", false),
        ("100::1", false),
        ("e000::1", false),
        ("fe00::1", false),
        ("ff02::1", false),
    ] {
        assert_eq!(is_unicast(address.parse().unwrap()), one, "{address}");
    }
}
