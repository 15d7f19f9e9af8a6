//! Capture files in and out.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use weir_dataplane::port::{CaptureError, CapturePort};

use crate::delta::Moved::{Drop, In, Out};
use crate::packet::{ACK, Packet};
use crate::world::*;
use weir_dataplane::verdict::DropReason::{IpChecksum, Truncated};

/// The four forms of the classic format: byte order, and microseconds or nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Format {
    big_endian: bool,
    nanoseconds: bool,
}

impl Format {
    const ALL: [Self; 4] = [
        Self { big_endian: false, nanoseconds: false },
        Self { big_endian: true, nanoseconds: false },
        Self { big_endian: false, nanoseconds: true },
        Self { big_endian: true, nanoseconds: true },
    ];

    fn word(self, word: u32) -> [u8; 4] {
        if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    fn header(self, snap_len: u32, link_type: u32) -> Vec<u8> {
        let magic = if self.nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        // Version 2.4 as two half words.
        let version = if self.big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
        let mut bytes = [self.word(magic), version].concat();
        for word in [0, 0, snap_len, link_type] {
            bytes.extend(self.word(word));
        }
        bytes
    }

    fn record(self, at: Duration, packet: &[u8]) -> Vec<u8> {
        let fraction = if self.nanoseconds { at.subsec_nanos() } else { at.subsec_micros() };
        let len = u32::try_from(packet.len()).expect("small");
        let seconds = u32::try_from(at.as_secs()).expect("before 2106");
        let mut bytes = [seconds, fraction, len, len].map(|word| self.word(word)).concat();
        bytes.extend_from_slice(packet);
        bytes
    }

    /// A capture of Ethernet frames.
    fn file(self, packets: &[(Duration, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = self.header(65_535, 1);
        packets.iter().for_each(|(at, packet)| bytes.extend(self.record(*at, packet)));
        bytes
    }
}

/// What Weir writes on every machine.
const WRITTEN: Format = Format { big_endian: true, nanoseconds: true };

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

/// A world whose east is a capture, and whose west is written to one.
fn replay(input: &std::path::Path, output: &std::path::Path, now: Duration) -> World {
    let mut world = World::new(Sizes::ONE);
    let mut east = CapturePort::open(EAST, Some(input), None).expect("a capture");
    let mut west = CapturePort::open(WEST, None, Some(output)).expect("a new file");
    east.set_time(now);
    west.set_time(now);
    PORTS.into_iter().for_each(|port| world.engine(0).close(port));
    world.open_as(0, Box::new(east));
    world.open_as(0, Box::new(west));
    world
}

/// Polls until nothing moves. The world's own check compares with its wires, which have no part in
/// this.
fn run(world: &mut World) {
    let now_ns = world.now_ns;
    while world.engine(0).poll(now_ns, 0).packets > 0 {}
}

#[test]
fn captures_of_every_form_go_through_the_engine_and_out_again() {
    let packets: Vec<Packet> = (0..200)
        .map(|n| Packet {
            identification: n,
            ..Packet::tcp((ALICE, 1000 + n), (BOB, 80), ACK, &vec![1; usize::from(n)])
        })
        .collect();
    for format in Format::ALL {
        let directory = directory();
        let now = Duration::new(1_700_000_000, 123_456_789);
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for packet in &packets {
            let frame = packet.frame(mac(EAST), host_mac(ALICE));
            bytes += frame.len();
            input.push((Duration::new(1_700_000_000, 5_000), frame));
            expected.push((now, packet.routed().frame(host_mac(BOB), mac(WEST))));
        }
        // Two that do not pass.
        let broken = Packet { checksum: Some(1), ..packets[0].clone() };
        input.push((Duration::ZERO, broken.frame(mac(EAST), host_mac(ALICE))));
        input.push((Duration::ZERO, vec![1, 2, 3]));
        let input = write(&directory, "in.pcap", &format.file(&input));
        let output = directory.path().join("out.pcap");
        let mut world = replay(&input, &output, now);
        let before = world.counters();
        run(&mut world);
        crate::delta::check(
            &before,
            &world.counters(),
            &[
                In(0, 202, bytes + 34 + 20 + 3),
                Out(1, 200, bytes),
                Drop(IpChecksum, 1),
                Drop(Truncated, 1),
            ],
        );
        world.shut_down();
        let written = std::fs::read(&output).expect("the output");
        assert!(written == WRITTEN.file(&expected), "{format:?}: not the bytes expected");
    }
}

#[test]
fn packets_come_when_their_time_has_come() {
    let directory = directory();
    let at = |seconds| Duration::from_secs(seconds);
    let frame = Packet::ping(ALICE, BOB, b"").frame(mac(EAST), host_mac(ALICE));
    let packets: Vec<_> = [10, 20, 30].map(|seconds| (at(seconds), frame.clone())).into();
    let input = write(&directory, "in.pcap", &Format::ALL[0].file(&packets));
    let port = CapturePort::open(EAST, Some(&input), None).expect("a capture");
    assert_eq!((port.next_time(), port.error().is_none()), (Some(at(10)), true));
    let mut world = replay(&input, &directory.path().join("out.pcap"), at(20));
    run(&mut world);
    assert_eq!(world.counters().port(EAST).received, 2);
    world.shut_down();
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    let directory = directory();
    let good = Format::ALL[0].file(&[]);
    let missing = directory.path().join("missing.pcap");
    assert!(matches!(
        CapturePort::open(EAST, Some(&missing), None),
        Err(CaptureError::File { path, .. }) if path == missing
    ));
    for (name, bytes) in [("empty", &[][..]), ("short", &good[..23]), ("text", &[b'x'; 100][..])] {
        let path = write(&directory, name, bytes);
        let error = CapturePort::open(EAST, Some(&path), None).expect_err(name);
        assert!(matches!(error, CaptureError::Format { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let raw = write(&directory, "raw", &Format::ALL[0].header(65_535, 101));
    let error = CapturePort::open(EAST, Some(&raw), None).expect_err("raw IP");
    assert!(matches!(error, CaptureError::LinkType { .. }), "{error:?}");
    let nowhere = directory.path().join("no/such/directory/out.pcap");
    let error = CapturePort::open(EAST, None, Some(&nowhere)).expect_err("no directory");
    assert!(matches!(error, CaptureError::File { .. }), "{error:?}");
}

/// Cut anywhere: what is whole is received, then there is an error; never a panic.
#[test]
fn a_capture_cut_short_gives_what_is_whole_and_an_error() {
    let directory = directory();
    let frame = Packet::ping(ALICE, BOB, b"").frame(mac(EAST), host_mac(ALICE));
    let packets = vec![(Duration::ZERO, frame); 3];
    let file = Format::ALL[0].file(&packets);
    let record = 16 + 42;
    for len in 24..file.len() {
        let path = write(&directory, "cut.pcap", &file[..len]);
        let (whole, rest) = ((len - 24) / record, (len - 24) % record);
        let port = CapturePort::open(EAST, Some(&path), None).expect("its header is whole");
        assert_eq!(port.next_time().is_some(), whole > 0);
        assert_eq!(port.error().is_some(), whole == 0 && rest > 0, "{len} bytes");
        let mut world = replay(&path, &directory.path().join("out.pcap"), Duration::MAX);
        run(&mut world);
        assert_eq!(world.counters().port(EAST).received, whole as u64, "{len} bytes");
        world.shut_down();
    }
}

/// A record may claim any length.
#[test]
fn a_record_of_absurd_length_is_an_error() {
    let directory = directory();
    for claimed in [u32::MAX, 0x7fff_ffff, 100_000] {
        let format = Format::ALL[0];
        let mut file = format.header(65_535, 1);
        for word in [0, 0, claimed, claimed] {
            file.extend(format.word(word));
        }
        file.extend([0; 100]);
        let path = write(&directory, "absurd.pcap", &file);
        let port = CapturePort::open(EAST, Some(&path), None).expect("its header is good");
        assert_eq!((port.next_time(), port.error().is_some()), (None, true), "{claimed}");
    }
}
