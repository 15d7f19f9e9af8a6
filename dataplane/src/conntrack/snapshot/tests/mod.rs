//! Out, through bytes, and in again; and everything that is not to come in.

mod random;

use std::io::Cursor;
use std::net::IpAddr;

use super::super::{ConntrackConfig, CtState, FlowView, Packet, Refused, Settings, TcpState};
use super::*;
use crate::handover::FlowHash;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The clock of the process that takes the snapshot.
const THEN_NS: u64 = 7_777_000_000_000_000;

fn conntrack(seed: u64, flows_max: u32) -> Conntrack {
    let settings = Settings { checksum: false, tcp_loose: false, ..Settings::default() };
    let flow_hash = FlowHash::new([seed, 2, 3, 4], 1);
    let sizes =
        ConntrackConfig { flows_max, flows6_max: 64, acct: true, ..ConntrackConfig::default() };
    Conntrack::new(&ConntrackConfig { settings, flow_hash, ..sizes })
}

fn put(conntrack: &mut Conntrack, from: IpAddr, to: IpAddr, protocol: u8, l4: &[u8]) {
    let packet = Packet::new(from, to, protocol, l4);
    let tracked = conntrack.track(&packet);
    conntrack.confirm(&tracked).expect("room");
}

fn segment(ports: [u16; 2], flags: u8, numbers: [u32; 2], options: &[u8]) -> Vec<u8> {
    let mut l4 = ports.map(u16::to_be_bytes).concat();
    l4.extend(numbers.map(u32::to_be_bytes).concat());
    let words = u8::try_from(5 + options.len() / 4).expect("short");
    l4.extend([words << 4, flags, 4, 0, 0, 0, 0, 0]);
    l4.extend(options);
    l4
}

/// The handshake, or its first `steps` segments, with window scales 7 and 9, and selective acknowledgments.
fn connect(conntrack: &mut Conntrack, client: IpAddr, server: IpAddr, port: u16, steps: usize) {
    let options = |scale| [1, 3, 3, scale, 4, 2, 1, 1];
    let segments = [
        segment([port, 80], SYN, [0xffff_fff0, 0], &options(7)),
        segment([80, port], SYN | ACK, [500, 0xffff_fff1], &options(9)),
        segment([port, 80], ACK, [0xffff_fff1, 501], &[]),
    ];
    for (number, l4) in segments.iter().take(steps).enumerate() {
        let (from, to) = if number == 1 { (server, client) } else { (client, server) };
        put(conntrack, from, to, 6, l4);
    }
}

fn hosts() -> ([IpAddr; 2], [IpAddr; 2]) {
    let six = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into();
    ([[10, 0, 0, 1].into(), [10, 0, 0, 2].into()], [six(1), six(2)])
}

/// A flow of each kind.
fn filled(seed: u64) -> Conntrack {
    let mut conntrack = conntrack(seed, 64);
    conntrack.set_time(THEN_NS);
    let ([a, b], [a6, b6]) = hosts();
    connect(&mut conntrack, a, b, 1001, 3);
    connect(&mut conntrack, a, b, 1002, 1);
    connect(&mut conntrack, a6, b6, 1003, 3);
    put(&mut conntrack, b6, a6, 6, &segment([80, 1003], RST, [501, 0], &[]));
    put(&mut conntrack, a6, b6, 58, &[128, 0, 0, 0, 0, 9, 0, 1]);
    put(&mut conntrack, a, b, 1, &[8, 0, 0, 0, 0, 9, 0, 1]);
    put(&mut conntrack, a, b, 89, &[0; 24]);
    put(&mut conntrack, a, b, 132, &[0, 5, 0, 6, 0, 0, 0, 0]);
    put(&mut conntrack, a, b, 47, &[0; 8]);
    // One that becomes a stream, and one that is too young.
    let datagram =
        |ports: [u16; 2]| [ports.map(u16::to_be_bytes).concat(), vec![0, 8, 0, 0]].concat();
    put(&mut conntrack, a, b, 17, &datagram([7, 53]));
    put(&mut conntrack, b, a, 17, &datagram([53, 7]));
    conntrack.set_time(THEN_NS + 3_000_000_000);
    put(&mut conntrack, b, a, 17, &datagram([53, 7]));
    put(&mut conntrack, a, b, 17, &datagram([8, 53]));
    for (family, place, mark) in [(0, 0, 7), (0, 2, u32::MAX), (1, 0, 1)] {
        conntrack.families[family].table.marks.set(place, mark);
    }
    conntrack
}

fn views(conntrack: &Conntrack) -> Vec<FlowView> {
    let mut views = Vec::new();
    conntrack.scan(0, u32::MAX, &mut |_, view| views.push(view));
    views.sort_by_key(|view| format!("{view:?}"));
    views
}

fn records(conntrack: &Conntrack) -> Vec<FlowRecord> {
    let mut records = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        next = conntrack.export(from, 5, &mut |record| records.push(record));
    }
    records.sort_by_key(FlowRecord::encode);
    records
}

fn written(conntrack: &Conntrack) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flows = write(&mut bytes, 1_700_000_000_000, &[conntrack]).expect("written");
    assert_eq!(flows, records(conntrack).len() as u64);
    assert_eq!(bytes.len(), 32 + RECORD_BYTES * records(conntrack).len());
    bytes
}

/// Reads it, and says what was handed out.
fn taken(bytes: &[u8]) -> (Result<Header, SnapshotError>, Vec<FlowRecord>) {
    let mut records = Vec::new();
    let header = read(&mut Cursor::new(bytes), &mut |_, record| records.push(*record));
    (header, records)
}

/// Puts the right checksum behind what may have been altered.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

#[test]
fn every_kind_of_flow_comes_back_as_it_was() {
    let before = filled(1);
    let (header, records_read) = taken(&written(&before));
    assert_eq!(header.expect("right"), Header { flows: 10, taken_ms: 1_700_000_000_000 });
    for now_ns in [0, THEN_NS, u64::MAX - 1_000_000_000] {
        let mut after = conntrack(99, 64);
        after.set_time(now_ns);
        for record in &records_read {
            assert_eq!(after.import(record, 0), Ok(()));
        }
        assert_eq!(views(&after), views(&before));
        assert_eq!(records(&after), records(&before), "and what no view shows");
        assert_eq!((after.half_open(), after.stats().insert), (before.half_open(), 10));
    }
}

#[test]
fn a_connection_goes_on_although_none_is_taken_up_in_its_middle() {
    let before = filled(1);
    let mut after = conntrack(99, 64);
    for record in records(&before) {
        after.import(&record, 1000).expect("room");
    }
    let ([a, b], _) = hosts();
    let segment = |ports, numbers, (from, to)| {
        let l4 = segment(ports, ACK, numbers, &[]);
        (from, to, l4)
    };
    let mut states = Vec::new();
    for (from, to, l4) in [
        segment([80, 1001], [501, 0xffff_fff1], (b, a)),
        // As far as the window of 1024 << 9 lets it go, and then too far.
        segment([1001, 80], [0, 501], (a, b)),
        segment([1001, 80], [0x1fff_fff1, 501], (a, b)),
        segment([1005, 80], [1, 501], (a, b)),
    ] {
        let packet = Packet::new(from, to, 6, &l4);
        let tracked = after.track(&packet);
        states.push((tracked.state, after.view(&tracked).map(|view| view.assured)));
    }
    let (goes_on, refused) = ((CtState::Established, Some(true)), (CtState::Invalid, None));
    assert_eq!(states, [goes_on, goes_on, refused, refused]);
}

#[test]
fn a_connection_whose_segments_went_another_way_is_believed_anywhere() {
    let mut after = conntrack(99, 64);
    for mut record in records(&filled(1)) {
        let before = record;
        record.believe_anywhere();
        assert_eq!(record == before, record.tuple().protocol != 6);
        after.import(&record, 0).expect("room");
    }
    let ([a, b], _) = hosts();
    let l4 = segment([1001, 80], ACK, [0x1fff_fff1, 501], &[]);
    let tracked = after.track(&Packet::new(a, b, 6, &l4));
    assert_eq!(tracked.state, CtState::Established);
}

#[test]
fn time_goes_on_between_two_processes() {
    let before = filled(1);
    let mut after = conntrack(2, 64);
    after.set_time(1_000_000_000);
    let elapsed_ms = 100_000;
    let mut expired = 0;
    for record in records(&before) {
        let over = record.left_ms() < elapsed_ms + 4;
        let outcome = after.import(&record, elapsed_ms);
        assert_eq!(outcome, if over { Err(NotImported::Expired) } else { Ok(()) });
        expired += usize::from(over);
    }
    let mut expected = views(&before);
    expected.retain(|view| view.expires_ms > elapsed_ms);
    expected.iter_mut().for_each(|view| view.expires_ms -= elapsed_ms);
    assert_eq!((views(&after), expired), (expected, 10 - after.len()));
    assert!(expired > 0 && !after.is_empty());
    after.set_time(500_000_000_000_000);
    after.expire(1000);
    assert_eq!(after.len(), 0, "they stand in the wheel");
    let mut later = conntrack(3, 64);
    let outcomes = records(&before).into_iter().map(|record| later.import(&record, u64::MAX));
    assert!(outcomes.into_iter().all(|outcome| outcome == Err(NotImported::Expired)));
    // Nor is a flow handed out whose time is over, whether or not it stands there still.
    let mut before = before;
    before.set_time(THEN_NS + 10_000_000_000_000);
    assert_eq!((before.len(), records(&before).len()), (10, 1));
}

#[test]
fn what_finds_no_room_and_what_is_there_are_told_apart() {
    let records = records(&filled(1));
    let of_tcp = |state| {
        let has = |record: &&FlowRecord| {
            record.flow.bits.kind() == super::super::Kind::Tcp
                && record.flow.bits.state() == state
                && record.addresses6.is_none()
        };
        *records.iter().find(has).expect("there")
    };
    let (established, half_open) = (of_tcp(TcpState::Established), of_tcp(TcpState::SynSent));
    let ping = *records.iter().find(|record| record.tuple().protocol == 1).expect("there");
    let mut table = conntrack(5, 1);
    assert_eq!(table.import(&half_open, 0), Ok(()));
    assert_eq!(table.import(&half_open, 0), Err(NotImported::Duplicate));
    assert_eq!(table.import(&ping, 0), Err(NotImported::NoRoom(Refused::TableFull)));
    assert_eq!(table.import(&established, 0), Ok(()), "worth more than what was there");
    assert_eq!((table.len(), table.stats().early_drop), (1, 1));
    assert_eq!(table.import(&half_open, 0), Err(NotImported::NoRoom(Refused::TableFull)));
    let few = ConntrackConfig { half_open_max: 0, ..ConntrackConfig::default() };
    let mut few = Conntrack::new(&few);
    assert_eq!(few.import(&half_open, 0), Err(NotImported::NoRoom(Refused::HalfOpenFull)));
    let six = *records.iter().find(|record| record.addresses6.is_some()).expect("there");
    assert_eq!(few.import(&six, 0), Err(NotImported::NoRoom(Refused::TableFull)));
    assert!(few.is_empty());
}

#[test]
fn whatever_bit_is_turned_and_wherever_it_ends_it_is_refused() {
    let bytes = written(&filled(1));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut turned = bytes.clone();
            turned[at] ^= 1 << bit;
            let (outcome, records) = taken(&turned);
            let refused = match (at, outcome.expect_err("refused")) {
                (0..8, error) => matches!(error, SnapshotError::NotASnapshot),
                (8..12, error) => matches!(error, SnapshotError::Version { .. }),
                (12..20, error) => matches!(
                    error,
                    SnapshotError::Truncated { whole: 9 | 10, .. } | SnapshotError::Surplus { .. }
                ),
                (_, error) => matches!(error, SnapshotError::Checksum),
            };
            assert!(refused && records.is_empty(), "bit {bit} of byte {at}");
        }
        let (outcome, records) = taken(&bytes[..at]);
        let whole = at.saturating_sub(28) as u64 / RECORD_BYTES as u64;
        match outcome.expect_err("refused") {
            SnapshotError::NotASnapshot => assert!(at < 8),
            SnapshotError::Truncated { whole: found, .. } => assert_eq!(found, whole.min(10)),
            other => panic!("{other} at {at}"),
        }
        assert!(records.is_empty());
    }
    let (outcome, records) = taken(&[bytes, vec![0]].concat());
    assert!(matches!(outcome, Err(SnapshotError::Surplus { flows: 10 })) && records.is_empty());
}

#[test]
fn a_right_checksum_does_not_make_a_flow_possible() {
    let bytes = written(&filled(1));
    for (at, value, field) in [
        (0, 5, "address family"),
        (6, 10, "state"),
        (7, 6, "last class"),
        (8, 0x40, "marks"),
        (9, 15, "window scale"),
        (12, 0x20, "flags"),
        (14, 15, "window scale"),
        (15, 0xff, "flags"),
        (23, 0xff, "lifetime"),
    ] {
        let mut altered = bytes.clone();
        altered[28 + RECORD_BYTES + at] = value;
        let (outcome, records) = taken(&sealed(altered));
        let SnapshotError::Impossible { number, field: found } = outcome.expect_err("refused")
        else {
            panic!("{field}");
        };
        assert_eq!((number, found, records.len()), (2, field, 0));
    }
}

#[test]
fn a_file_that_changes_between_two_looks_is_told() {
    /// Another file from the second time on.
    struct Fickle(Cursor<Vec<u8>>, Vec<u8>);
    impl Read for Fickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Seek for Fickle {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            if to != io::SeekFrom::Current(0) {
                self.0 = Cursor::new(self.1.clone());
            }
            self.0.seek(to)
        }
    }
    let bytes = written(&filled(1));
    let mut other = bytes.clone();
    other[20] ^= 1;
    for second in [sealed(other), bytes[..40].to_vec(), Vec::new()] {
        let outcome = read(&mut Fickle(Cursor::new(bytes.clone()), second), &mut |_, _| {});
        assert!(matches!(outcome, Err(SnapshotError::Changed)));
    }
}

/// Whoever changes these bytes changes the format: [`VERSION`] is to go up with them.
#[test]
fn the_format_is_that_of_its_version() {
    let mut conntrack = conntrack(1, 64);
    let ([a, b], _) = hosts();
    connect(&mut conntrack, a, b, 1001, 3);
    conntrack.families[0].table.marks.set(0, 0xa1b2_c3d4);
    #[rustfmt::skip]
    let expected = [
        4, 6,  0xe9, 3,  80, 0,  3,  3,  0b00_0110,  7, 9,  0x13, 0x13,  0, 0, 0,
        0, 4,  0, 0,  0, 0xcc, 0xbf, 0x19,  0xf1, 0xff, 0xff, 0xff,  0xf5, 1, 0, 0,
        0xf1, 0xff, 0xff, 0xff,  0xf1, 3, 0, 0,  0, 0, 2, 0,  0xf5, 1, 0, 0,
        0xf5, 1, 0, 0,  0xf5, 1, 2, 0,  0, 4, 0, 0,  0xf1, 0xff, 0xff, 0xff,
        10, 0, 0, 1,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
        10, 0, 0, 2,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
        0xd4, 0xc3, 0xb2, 0xa1,
        2, 0, 0, 0, 0, 0, 0, 0,  88, 0, 0, 0, 0, 0, 0, 0,  1, 0, 0, 0, 0, 0, 0, 0,  48, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(records(&conntrack)[0].encode(), expected);
    let mut bytes = Vec::new();
    write(&mut bytes, 0x0102_0304_0506_0708, &[&conntrack]).expect("written");
    let header =
        [b"WEIRFLOW".as_slice(), &[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], &[8, 7, 6, 5, 4, 3, 2, 1]];
    assert_eq!(bytes[..28], header.concat());
}
