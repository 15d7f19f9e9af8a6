//! Packets that were recorded, sent again: at their times or at another rate, to other addresses if wanted.
//!
//! ```toml
//!   [stream.replay]
//!   file = "browsing.pcap"             # classic pcap of Ethernet, beside the profile
//!   only_from = "10.0.0.0/8"           # the packets of one direction
//!   source = "198.18.0.0/16"           # rewritten, within its family: the same address becomes the same one everywhere
//!   destination = "198.19.0.0/16"
//!   stamp = false                      # overwrite the last 16 bytes of each payload that has them
//! ```
//!
//! An address is mapped by its place: the n-th different one of the recording becomes the n-th of the range, and begins
//! again at its end. Checksums follow by RFC 1624, so that what was wrong stays wrong by as much. MAC addresses are
//! always those of the sides.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use weir_dataplane::wire::checksum::{replace_u32, replace_udp};
use weir_dataplane::wire::ethernet::HEADER_BYTES as ETHERNET_BYTES;
use weir_dataplane::wire::{EtherType, Ethernet, IpProtocol, MacAddr, NoRoom};

use super::catalog::recording;
use super::choice::addresses;
use super::reader::{ProfileError, Reader};
use crate::address::Address;
use crate::pace::{SECOND_NS, Schedule};
use crate::packet::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, Place, Space, Tag, Template, tag};

/// Most packets of a recording that are kept.
const PACKETS_MAX: usize = 1 << 20;

/// Most bytes of them.
const BYTES_MAX: usize = 512 << 20;

/// What distinguishes a flow: addresses, protocol, ports.
type Flow = (Address, Address, u8, Option<(u16, u16)>);

/// A recording, ready to be sent.
#[derive(Clone)]
pub struct Replay {
    /// The frames, without MAC addresses of any side.
    pub frames: Vec<Vec<u8>>,
    /// Whether they bear stamps where they have room.
    pub is_stamped: bool,
    flows: HashSet<Flow>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({} frames of {} flows)", self.frames.len(), self.flows.len())
    }
}

impl Replay {
    /// A template for each frame.
    ///
    /// # Errors
    /// When a frame has not even an Ethernet header.
    pub fn templates(&self, macs: [MacAddr; 2], tag: Option<Tag>) -> Result<Vec<Template>, NoRoom> {
        let on_link = |recorded: &Vec<u8>| {
            let at = tag::header_bytes(tag);
            let mut frame = vec![0; at];
            frame.extend_from_slice(recorded.get(ETHERNET_BYTES..).unwrap_or_default());
            let ether_type = Ethernet::new_checked(recorded).map(|ethernet| ethernet.ether_type());
            let ether_type = ether_type.unwrap_or(EtherType(0));
            tag::emit_header(macs, tag, ether_type, &mut frame)?;
            Ok(Template::recorded(&frame, self.is_stamped))
        };
        self.frames.iter().map(on_link).collect()
    }

    /// Whether there are VLAN tags in it.
    pub(super) fn has_tags(&self) -> bool {
        self.frames.iter().any(|frame| tag::of(frame).is_some())
    }

    /// The addresses that its packets come from, or that they go to.
    pub(crate) fn addresses(&self, sources: bool) -> impl Iterator<Item = Address> {
        self.flows.iter().map(move |flow| if sources { flow.0 } else { flow.1 })
    }

    /// Whether a frame is of a flow of the recording.
    pub(crate) fn may_be(&self, frame: &[u8]) -> bool {
        flow(frame).is_some_and(|flow| self.flows.contains(&flow))
    }
}

fn flow(frame: &[u8]) -> Option<Flow> {
    let place = Place::of(frame)?;
    let (source, destination) = place.addresses(frame);
    Some((source, destination, place.protocol.0, place.ports(frame)))
}

/// Reads the table `replay`, and the recording; with the times at which it was made.
pub(super) fn read(mut reader: Reader, folder: &Path) -> Result<(Replay, Schedule), ProfileError> {
    let file = reader.need("file", "the name of a pcap file, from the profile's folder")?;
    let Some(name) = file.as_str() else {
        return Err(reader.refuse("file", file, "the name of a pcap file"));
    };
    let range = |reader: &mut Reader, key| -> Result<Option<Space>, ProfileError> {
        let Some(text) = reader.text(key)? else { return Ok(None) };
        let allowed = "an address, a range, a prefix or \"anywhere\"";
        addresses(&text).map(Some).ok_or_else(|| reader.refuse(key, text, allowed))
    };
    let only_from = range(&mut reader, "only_from")?;
    let source = range(&mut reader, "source")?;
    let destination = range(&mut reader, "destination")?;
    let is_stamped = reader.flag("stamp")?.unwrap_or(false);
    let recorded = recording(folder, name).and_then(|bytes| packets(&bytes));
    let recorded = recorded.map_err(|why| reader.refuse("file", name, why))?;
    let wanted = |frame: &[u8]| {
        only_from.is_none_or(|space| {
            Place::of(frame).is_some_and(|place| space.contains(place.addresses(frame).0.bits()))
        })
    };
    let mut recorded: Vec<(u64, Vec<u8>)> =
        recorded.into_iter().filter(|(_, frame)| wanted(frame)).collect();
    if recorded.is_empty() {
        return Err(reader.refuse(
            "file",
            name,
            "a recording with at least one packet that is wanted",
        ));
    }
    reader.finish()?;
    let mut maps = [Map::new(source), Map::new(destination)];
    for (_, frame) in &mut recorded {
        rewrite(frame, &mut maps);
    }
    let schedule = schedule(&recorded);
    let frames: Vec<Vec<u8>> = recorded.into_iter().map(|(_, frame)| frame).collect();
    let flows = frames.iter().filter_map(|frame| flow(frame)).collect();
    Ok((Replay { frames, is_stamped, flows }, schedule))
}

/// The times of one round. A recording ends with its last packet; the mean gap follows before it begins again.
fn schedule(recorded: &[(u64, Vec<u8>)]) -> Schedule {
    let times = recorded.iter().map(|(time, _)| *time);
    let first = times.clone().min().unwrap_or(0);
    // Clocks that were set back while recording would make times fall.
    let mut latest = 0;
    let due_ns: Vec<u64> = times
        .map(|time| {
            latest = latest.max(time - first);
            latest
        })
        .collect();
    let gap = match due_ns.len() as u64 {
        0 | 1 => SECOND_NS,
        packets => latest / (packets - 1),
    };
    Schedule::Recorded { due_ns: due_ns.into(), round_ns: (latest + gap).max(1) }
}

/// The packets of a file with their times in nanoseconds.
fn packets(file: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, String> {
    let mut reader = PcapReader::new(file)
        .map_err(|error| format!("a classic pcap file can be read: {error}"))?;
    if reader.header().datalink != DataLink::ETHERNET {
        return Err(format!("a recording of Ethernet, not of {:?}", reader.header().datalink));
    }
    let (mut packets, mut bytes) = (Vec::new(), 0);
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|error| format!("packet {}: {error}", packets.len() + 1))?;
        if packet.data.len() != usize::try_from(packet.orig_len).unwrap_or(usize::MAX) {
            return Err(format!("packet {} was cut when it was recorded", packets.len() + 1));
        }
        if packet.data.len() > FRAME_BYTES_MAX {
            let len = packet.data.len();
            return Err(format!(
                "packet {} has {len} bytes, {FRAME_BYTES_MAX} are the most (was it recorded before segmentation \
                 offload?)",
                packets.len() + 1
            ));
        }
        bytes += packet.data.len();
        if packets.len() == PACKETS_MAX || bytes > BYTES_MAX {
            return Err(format!("at most {PACKETS_MAX} packets and {BYTES_MAX} bytes"));
        }
        let time = u64::try_from(packet.timestamp.as_nanos()).unwrap_or(u64::MAX);
        let mut frame = packet.data.into_owned();
        // What a device sends has 60 bytes at least.
        frame.resize(frame.len().max(FRAME_BYTES_MIN), 0);
        packets.push((time, frame));
    }
    Ok(packets)
}

/// Which address becomes which.
struct Map {
    range: Option<Space>,
    known: HashMap<Address, Address>,
}

impl Map {
    fn new(range: Option<Space>) -> Self {
        Self { range, known: HashMap::new() }
    }

    fn get(&mut self, address: Address) -> Address {
        let to = |place| self.range.map(|range| Address::from_bits(range.value(place)));
        let is_of_its_family = to(0).is_some_and(|first| first.is_ipv4() == address.is_ipv4());
        let Some(range) = self.range.filter(|_| is_of_its_family) else { return address };
        let place = self.known.len() as u128 % range.len();
        *self.known.entry(address).or_insert_with(|| Address::from_bits(range.value(place)))
    }
}

fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Gives a frame its new addresses.
fn rewrite(frame: &mut [u8], maps: &mut [Map; 2]) {
    let Some(place) = Place::of(frame) else { return };
    let (source, destination) = place.addresses(frame);
    let (source_at, destination_at, _) = place.addresses_at();
    let [from, to] = maps;
    let changes =
        [(source_at, source, from.get(source)), (destination_at, destination, to.get(destination))];
    let is_first = place.payload > place.l4;
    let checksum_at = match place.protocol {
        IpProtocol::TCP if is_first => Some(place.l4 + 16),
        IpProtocol::UDP if is_first => Some(place.l4 + 6),
        IpProtocol::ICMPV6 if is_first => Some(place.l4 + 2),
        _ => None,
    };
    let checksum_at = checksum_at.filter(|at| at + 2 <= place.end);
    let words = changes.into_iter().flat_map(|(at, old, new)| {
        // The parts of an address that are written, 32 bits each.
        let part = |address: Address, place: usize| -> u32 {
            Address::from_bits(address.bits() >> (96 - 32 * place)).low_bits()
        };
        let parts = if place.is_ipv4 { 3..4 } else { 0..4 };
        let first = parts.start;
        parts.map(move |place| (at + 4 * (place - first), part(old, place), part(new, place)))
    });
    for (at, old, new) in words {
        frame[at..at + 4].copy_from_slice(&new.to_be_bytes());
        if place.is_ipv4 {
            let at = place.l3 + 10;
            let sum = replace_u32(word(frame, at), old, new);
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(at) = checksum_at {
            let sum = word(frame, at);
            let sum = match place.protocol {
                IpProtocol::UDP => replace_udp(sum, old, new),
                _ => replace_u32(sum, old, new),
            };
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
    }
}
