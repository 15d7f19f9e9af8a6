//! Every field against bytes written by hand, every refusal, and no panic on any bytes.

use super::*;
use proptest::prelude::*;

const HEADER: TcpHeader = TcpHeader {
    source_port: 40_000,
    destination_port: 80,
    sequence: 0x0102_0304,
    acknowledgment: 0x0506_0708,
    flags: TcpFlags(0x12),
    window: 0xfaf0,
};

/// What Linux sends in a SYN: MSS 1460, SACK permitted, timestamps, NOP, window scale 7.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1, 3, 3, 7];

#[test]
fn a_segment_reads_back_what_was_emitted() {
    let mut bytes = [0xaa; 43];
    assert_eq!(HEADER.emit(&OPTIONS, &mut bytes), Ok(40));
    let expected = [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0xa0, 0x12, 0xfa, 0xf0, 0, 0, 0, 0];
    assert_eq!(bytes[..20], expected);
    assert_eq!(bytes[20..40], OPTIONS);
    let (source, destination) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(192, 168, 0, 2));
    let mut tcp = Tcp::new_checked(&mut bytes[..]).unwrap();
    assert!(!tcp.checksum_ok(source, destination));
    tcp.fill_checksum(source, destination);
    assert!(tcp.checksum_ok(source, destination));
    assert!(!tcp.checksum_ok(source, source));
    assert_eq!((tcp.source_port(), tcp.destination_port()), (40_000, 80));
    assert_eq!((tcp.sequence(), tcp.acknowledgment()), (0x0102_0304, 0x0506_0708));
    assert_eq!((tcp.header_len(), tcp.window(), tcp.urgent_pointer()), (40, 0xfaf0, 0));
    assert_eq!((tcp.flags(), tcp.payload()), (TcpFlags::SYN | TcpFlags::ACK, &[0xaa; 3][..]));
    let options: Vec<_> = tcp.options().map(Result::unwrap).collect();
    assert_eq!(
        options,
        [
            TcpOption::MaxSegmentSize(1460),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: 9, echo: 8 },
            TcpOption::WindowScale(7),
        ]
    );
}

#[test]
fn what_is_no_segment_is_refused_with_the_reason() {
    let mut bytes = [0; 24];
    HEADER.emit(&[1, 1, 1], &mut bytes).unwrap();
    let refusal = |bytes: &[u8]| Tcp::new_checked(bytes).map(|_| ()).unwrap_err();
    assert_eq!(refusal(&bytes[..19]), Malformed::Truncated { need: 20, have: 19 });
    assert_eq!(refusal(&bytes[..23]), Malformed::Truncated { need: 24, have: 23 });
    bytes[12] = 0x40;
    assert_eq!(refusal(&bytes), Malformed::HeaderLength { declared: 16, min: 20 });
}

#[test]
fn options_without_room_are_refused() {
    let mut out = [0; 80];
    assert_eq!(HEADER.emit(&[1; 41], &mut out), Err(NoRoom { need: 64, have: 60 }));
    assert_eq!(HEADER.emit(&[1; 40], &mut out), Ok(60));
    assert_eq!(HEADER.emit(&[1; 3], &mut out[..23]), Err(NoRoom { need: 24, have: 23 }));
}

#[test]
fn broken_options_end_the_walk() {
    let walk = |options: &[u8]| {
        let mut bytes = [0; 60];
        let len = HEADER.emit(options, &mut bytes).unwrap();
        let tcp = Tcp::new_checked(&bytes[..len]).unwrap();
        tcp.options().map(|o| o.map(|_| ())).collect::<Vec<_>>()
    };
    let error = |kind, declared, left| Err(Malformed::OptionLength { kind, declared, left });
    assert_eq!(walk(&[4, 2, 8, 1]), [Ok(()), error(8, 1, 2)]);
    assert_eq!(walk(&[4, 2, 1, 8]), [Ok(()), error(8, 0, 1)]);
    assert_eq!(walk(&[8, 10, 0, 0]), [error(8, 10, 4)]);
    assert_eq!(walk(&[0, 8, 10, 0]), []);
    // A known kind of an odd length is data, not a number.
    let mut bytes = [0; 24];
    HEADER.emit(&[2, 3, 5], &mut bytes).unwrap();
    let tcp = Tcp::new_checked(&bytes).unwrap();
    assert_eq!(tcp.options().next(), Some(Ok(TcpOption::Other { kind: 2, data: &[5] })));
}

#[test]
fn flags_have_the_names_of_iptables() {
    let flags = |text: &str| text.parse::<TcpFlags>();
    assert_eq!(flags("SYN,RST,ACK,FIN"), Ok(TcpFlags(0x17)));
    assert_eq!(flags("syn"), Ok(TcpFlags::SYN));
    assert_eq!((flags("ALL"), flags("NONE")), (Ok(TcpFlags(0x3f)), Ok(TcpFlags(0))));
    assert_eq!(flags("SYN,,ACK"), Err(NotATcpFlag { word: String::new() }));
    assert_eq!(flags("SYN,FOO"), Err(NotATcpFlag { word: "FOO".to_owned() }));
    assert_eq!((TcpFlags::SYN | TcpFlags::ACK).to_string(), "SYN,ACK");
    assert_eq!(TcpFlags::NONE.to_string(), "NONE");
    // `--syn` is `--tcp-flags FIN,SYN,RST,ACK SYN`.
    let mask = flags("FIN,SYN,RST,ACK").unwrap();
    assert!((TcpFlags::SYN | TcpFlags::URG).matches(mask, TcpFlags::SYN));
    assert!(!(TcpFlags::SYN | TcpFlags::ACK).matches(mask, TcpFlags::SYN));
    assert!(TcpFlags::ALL.contains(mask) && !mask.contains(TcpFlags::ALL));
    assert!(TcpFlags::ALL.intersects(TcpFlags::URG) && !mask.intersects(TcpFlags::URG));
}

proptest! {
    #[test]
    fn flags_survive_text(bits: u8) {
        let flags = TcpFlags(bits);
        prop_assert_eq!(flags.to_string().parse(), Ok(flags));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,24}") {
        let _ = text.parse::<TcpFlags>();
    }

    /// Writes through every setter and then reads with every getter.
    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100), offset in 4u8..16, kind in 0u8..10
    ) {
        if bytes.len() > 20 {
            bytes[12] = offset << 4;
            bytes[20] = kind;
        }
        let Ok(mut tcp) = Tcp::new_checked(&mut bytes[..]) else { return Ok(()) };
        prop_assert!(tcp.options().count() <= 40);
        tcp.set_source_port(1);
        tcp.set_destination_port(2);
        tcp.set_sequence(3);
        tcp.set_acknowledgment(4);
        tcp.payload_mut().fill(0xff);
        tcp.fill_checksum(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST);
        prop_assert!(tcp.checksum_ok(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST));
        prop_assert_eq!((tcp.source_port(), tcp.destination_port()), (1, 2));
        prop_assert_eq!((tcp.sequence(), tcp.acknowledgment()), (3, 4));
        let _ = (tcp.flags(), tcp.window(), tcp.urgent_pointer(), tcp.checksum());
    }
}
