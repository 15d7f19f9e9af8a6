//! The kernel's end: asks `driver.py`, reads its answers.

use std::io::{BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use weir_dataplane::conntrack::{CtState, Direction, TcpState, Tuple};

use crate::seen::{Entry, Verdict};
use crate::shot::Side;

/// State and direction of each packet are written into its TOS byte; a copy of each that a rule drops is
/// taken first, and leaves by the third device.
const RULES: &str = "\
*mangle
-A FORWARD -j TOS --set-tos 0x00/0xff
-A FORWARD -m conntrack --ctstate INVALID -j TOS --set-tos 0x01/0x0f
-A FORWARD -m conntrack --ctstate NEW -j TOS --set-tos 0x02/0x0f
-A FORWARD -m conntrack --ctstate ESTABLISHED -j TOS --set-tos 0x03/0x0f
-A FORWARD -m conntrack --ctstate RELATED -j TOS --set-tos 0x04/0x0f
-A FORWARD -m conntrack --ctstate UNTRACKED -j TOS --set-tos 0x05/0x0f
-A FORWARD -m conntrack --ctdir REPLY -j TOS --set-tos 0x10/0x10
-A FORWARD -m conntrack --ctstatus SEEN_REPLY -j TOS --set-tos 0x20/0x20
-A FORWARD -m conntrack --ctstatus ASSURED -j TOS --set-tos 0x40/0x40
-A FORWARD -m conntrack --ctstatus CONFIRMED -j TOS --set-tos 0x80/0x80
-A FORWARD -m ttl --ttl-eq 66 -j TEE --gateway 10.9.0.1
COMMIT
*filter
:OUTPUT DROP [0:0]
-A FORWARD -m ttl --ttl-eq 66 -j DROP
-A OUTPUT -o copy -j ACCEPT
COMMIT
";

pub(crate) struct Kernel {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// A packet for the kernel.
pub(crate) struct Sent {
    pub(crate) from: Side,
    pub(crate) dropped: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conntrack/driver.py");
        let mut child = Command::new("unshare")
            .args(["-n", "python3", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut kernel = Self { child, stdin, stdout };
        kernel.ask(b'r', RULES.as_bytes());
        kernel
    }

    fn ask(&mut self, what: u8, body: &[u8]) -> Vec<u8> {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        let len = u32::try_from(body.len()).expect("a short message").to_le_bytes();
        stdin.write_all(&[&[what], &len[..], body].concat()).expect("the driver runs");
        stdin.flush().expect("the driver runs");
        let mut len = [0; 4];
        self.stdout.read_exact(&mut len).expect("the driver answers; else see its message above");
        let mut answer = vec![0; usize::try_from(u32::from_le_bytes(len)).expect("it fits")];
        self.stdout.read_exact(&mut answer).expect("the driver answers");
        answer
    }

    /// Sets `net.netfilter.nf_conntrack_*`.
    pub(crate) fn set(&mut self, settings: &[(&str, u32)]) {
        let lines: String =
            settings.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        self.ask(b's', lines.as_bytes());
    }

    /// Forgets all entries.
    pub(crate) fn flush(&mut self) {
        self.ask(b'f', &[]);
    }

    /// When each packet was sent, and what it was to the rules: `None` if it never came out. Packets must
    /// be numbered by their identifications, from 0.
    pub(crate) fn play(&mut self, packets: &[Sent]) -> Vec<(u64, Option<Verdict>)> {
        let mut body = Vec::new();
        for Sent { from, bytes, .. } in packets {
            body.push(*from as u8);
            body.extend(u16::try_from(bytes.len()).expect("a packet").to_le_bytes());
            body.extend(bytes);
        }
        let answer = self.ask(b'p', &body);
        let (times, out) = answer.split_at(8 * packets.len());
        let mut found: Vec<(u64, Option<Verdict>)> = times
            .chunks_exact(8)
            .map(|time| (u64::from_le_bytes(time.try_into().expect("eight")), None))
            .collect();
        for left in out.chunks_exact(6) {
            let number = usize::from(u16::from_be_bytes([left[4], left[5]]));
            let Sent { from, dropped, .. } = &packets[number];
            let by = if *dropped { 2 } else { from.other() as u8 };
            assert_eq!(left[0], by, "packet {number} came out of another device");
            let twice = found[number].1.replace(verdict(left[1]));
            assert_eq!(twice, None, "packet {number} came out twice");
        }
        found
    }

    /// All entries, and when.
    pub(crate) fn entries(&mut self) -> (u64, Vec<Entry>) {
        let answer = self.ask(b'd', &[]);
        let (time, messages) = answer.split_first_chunk::<8>().expect("a time");
        let mut entries = Vec::new();
        let mut rest = messages;
        while let Some(len) = rest.first_chunk::<4>() {
            let len = usize::try_from(u32::from_ne_bytes(*len)).expect("it fits");
            // Of the subsystem of connection tracking, and a new (or old) entry.
            if rest[4..6] == [0, 1] {
                entries.push(entry(&rest[20..len]));
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        (u64::from_le_bytes(*time), entries)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.stdin = None; // it ends at the end of its input
        let _ = self.child.wait();
    }
}

fn verdict(tos: u8) -> Verdict {
    let state = match tos & 0x0f {
        1 => CtState::Invalid,
        2 => CtState::New,
        3 => CtState::Established,
        4 => CtState::Related,
        5 => CtState::Untracked,
        other => panic!("{other} is no state: the rules do not work here"),
    };
    let direction = if tos & 0x10 == 0 { Direction::Original } else { Direction::Reply };
    Verdict {
        state,
        direction,
        seen_reply: tos & 0x20 != 0,
        assured: tos & 0x40 != 0,
        confirmed: tos & 0x80 != 0,
    }
}

/// Netlink attributes by number.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d, ..] = *bytes else { return None };
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = &bytes[4..len];
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & 0x3fff, value))
    })
}

fn nested<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, wanted| {
        attributes(bytes).find(|(number, _)| number == wanted).map(|(_, value)| value)
    })
}

fn word(bytes: Option<&[u8]>) -> u16 {
    bytes.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// `CTA_TUPLE_*`.
fn tuple(bytes: &[u8]) -> Tuple {
    let address = |number| {
        let octets: [u8; 4] = nested(bytes, &[1, number]).expect("IPv4").try_into().expect("four");
        Ipv4Addr::from(octets).into()
    };
    let protocol = nested(bytes, &[2, 1]).expect("a protocol")[0];
    let byte = |number| nested(bytes, &[2, number]).map_or(0, |bytes| bytes[0]);
    let (source_port, destination_port) = if protocol == 1 {
        (word(nested(bytes, &[2, 4])), u16::from_be_bytes([byte(5), byte(6)]))
    } else {
        (word(nested(bytes, &[2, 2])), word(nested(bytes, &[2, 3])))
    };
    Tuple { source: address(1), destination: address(2), source_port, destination_port, protocol }
}

fn entry(bytes: &[u8]) -> Entry {
    let number = |path: &[u16]| {
        let value: [u8; 4] = nested(bytes, path)?.try_into().ok()?;
        Some(u32::from_be_bytes(value))
    };
    let status = number(&[3]).expect("a status");
    let tcp = |inner: u16| nested(bytes, &[4, 1, inner]);
    let mut internals = String::new();
    if let (Some(east), Some(west)) = (tcp(4), tcp(5)) {
        let scale = |inner| tcp(inner).map_or(0, |value| value[0]);
        internals =
            format!("flags {:02x}/{:02x} scale {}/{}", east[0], west[0], scale(2), scale(3));
    }
    Entry {
        original: tuple(nested(bytes, &[1]).expect("a tuple")),
        reply: tuple(nested(bytes, &[2]).expect("a tuple")),
        tcp_state: tcp(1).map(|state| TcpState::ALL[usize::from(state[0])]),
        seen_reply: status & 2 != 0,
        assured: status & 4 != 0,
        expires_ms: 1000 * u64::from(number(&[7]).unwrap_or(0)),
        internals,
    }
}
