//! One stream of a profile.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use weir_dataplane::wire::MacAddr;

use super::choice::{self, Choice, Of, Written};
use super::rate::{self, Rate};
use super::reader::{ProfileError, Reader};
use super::replay::{self, Replay};
use super::size::{self, FCS_BYTES};
use crate::pace::Schedule;
use crate::packet::{
    FRAME_BYTES_MIN, Kind, Order, Ranges, STAMP_BYTES, Shape, Tag, Template, Text,
};
use crate::result::Expect;

/// The window that a TCP segment offers, where nothing else is said: what Linux offers at an MTU of 1,500.
const TCP_WINDOW: u64 = 64_240;

/// Which interface a stream leaves by. It arrives by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where attackers and users are.
    Left,
    /// Where the server is.
    Right,
}

impl Side {
    /// Both, left first.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// 0 or 1.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self == Self::Right)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Left { "left" } else { "right" })
    }
}

/// Packets of one kind.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What results call it.
    pub name: String,
    /// Which interface they leave by.
    pub from: Side,
    /// What is meant to become of them.
    pub expect: Expect,
    /// The VLAN tag that they bear, if any.
    pub tag: Option<Tag>,
    /// When they are due.
    pub schedule: Schedule,
    /// What they are.
    pub content: Content,
}

/// Where a stream's packets come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// They are made.
    Made(Box<Made>),
    /// They were recorded.
    Replay(Arc<Replay>),
}

/// Packets that are made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What kind.
    pub kind: Kind,
    /// Lengths of frames in turn, without tag and frame check sequence.
    pub sizes: Arc<[usize]>,
    /// Source addresses.
    pub source: Choice,
    /// Source ports.
    pub source_port: Choice,
    /// Destination addresses.
    pub destination: Choice,
    /// Destination ports.
    pub destination_port: Choice,
    /// TTLs, or hop limits.
    pub ttl: Choice,
    /// If set: so many combinations of addresses and ports, in an order.
    pub flows: Option<(u64, Order)>,
    /// What the payload begins with.
    pub text: Option<Text>,
    /// TCP's window.
    pub window: u16,
    /// TCP's sequence number, if it is always the same.
    pub sequence: Option<u32>,
    /// TCP's acknowledgment number, if it is always the same.
    pub acknowledgment: Option<u32>,
    /// The IPv4 header's identification, if it is always the same.
    pub identification: Option<u16>,
    /// The IPv4 header's flag.
    pub dont_fragment: bool,
    /// Whether the packets bear stamps.
    pub is_stamped: bool,
}

impl Made {
    /// The fields, with what the seed chooses.
    #[must_use]
    pub fn ranges(&self, seed: u64) -> Ranges {
        Ranges {
            source: self.source.pick(seed ^ 1),
            source_port: self.source_port.pick(seed ^ 2),
            destination: self.destination.pick(seed ^ 3),
            destination_port: self.destination_port.pick(seed ^ 4),
            ttl: self.ttl.pick(seed),
            flows: self.flows,
            sequence: self.sequence,
            acknowledgment: self.acknowledgment,
            identification: self.identification,
            is_land: self.kind == Kind::Land,
        }
    }

    /// Whether they are of IPv4; else of IPv6.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.destination.is_ipv4()
    }

    /// A template for each length and part, in this order.
    ///
    /// # Errors
    /// Why a frame cannot be made.
    pub fn templates(
        &self,
        macs: [MacAddr; 2],
        tag: Option<Tag>,
        wall_s: i64,
    ) -> Result<Vec<Template>, String> {
        let mut templates = Vec::new();
        for &frame_bytes in self.sizes.iter() {
            let shape = Shape {
                source_mac: macs[0],
                destination_mac: macs[1],
                tag,
                is_ipv4: self.is_ipv4(),
                kind: self.kind,
                frame_bytes,
                text: self.text.as_ref(),
                wall_s,
                window: self.window,
                dont_fragment: self.dont_fragment,
                is_stamped: self.is_stamped,
            };
            for &part in self.kind.parts() {
                let template = Template::new(&shape, part).map_err(|no_room| {
                    let (need, have) = (no_room.need + FCS_BYTES, no_room.have + FCS_BYTES);
                    format!("a frame of {have} bytes has no room for {} bytes of this kind", need)
                })?;
                templates.push(template);
            }
        }
        Ok(templates)
    }

    /// Whether its frames can be made.
    pub(super) fn check(&self) -> Result<(), String> {
        self.templates([MacAddr::ZERO; 2], None, 0).map(drop)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Replay(replay) => write!(f, "{} recorded packets", replay.frames.len()),
            Content::Made(made) => {
                let (source, destination) = (Written(made.source), Written(made.destination));
                write!(f, "{} {source} -> {destination}", made.kind)?;
                if made.kind.has_ports() {
                    let port = made.destination_port;
                    let last = port.space.value(port.space.len() - 1);
                    match port.space.value(0) {
                        first if first == last => write!(f, " port {first}")?,
                        first => write!(f, " ports {first}-{last}")?,
                    }
                }
                match made.flows {
                    Some((flows, _)) => write!(f, ", {flows} flows"),
                    None => Ok(()),
                }
            }
        }?;
        self.tag.map_or(Ok(()), |tag| write!(f, " in {tag}"))
    }
}

/// Reads a table `[[stream]]`.
pub(crate) fn read(mut reader: Reader, folder: &Path) -> Result<Stream, ProfileError> {
    let name = reader.need("name", "what results call the stream")?;
    let name = match name.as_str() {
        Some(text) if !text.is_empty() && text.len() <= 64 => text.to_owned(),
        _ => return Err(reader.refuse("name", name, "a text of 1 to 64 bytes")),
    };
    reader.rename(format!("stream {name:?}"));
    let from = reader.word("from", &[(Side::Left, "left"), (Side::Right, "right")])?;
    let expect = [(Expect::Pass, "pass"), (Expect::Drop, "drop"), (Expect::Either, "either")];
    let expect = reader.word("expect", &expect)?;
    let tag = read_tag(&mut reader)?;
    let rate = rate::read(&mut reader)?;
    let (schedule, content) = match reader.take("replay") {
        Some(toml::Value::Table(table)) => {
            let (replay, recorded) = replay::read(reader.inner("replay", table), folder)?;
            if let Some(tag) = tag.filter(|_| replay.has_tags()) {
                return Err(reader.refuse("vlan", tag.id, "the recording has tags of its own"));
            }
            let schedule = match rate {
                Rate::Schedule(schedule) => schedule,
                Rate::Recorded(factor) => recorded.scaled(factor),
            };
            (schedule, Content::Replay(Arc::new(replay)))
        }
        Some(other) => return Err(reader.refuse("replay", other, "a table { file = \"...\" }")),
        None => {
            let Rate::Schedule(schedule) = rate else {
                return Err(reader.refuse("rate", "recorded", "only a replay has recorded times"));
            };
            (schedule, Content::Made(Box::new(read_made(&mut reader)?)))
        }
    };
    reader.finish()?;
    let (from, expect) = (from.unwrap_or(Side::Left), expect.unwrap_or_default());
    Ok(Stream { name, from, expect, tag, schedule, content })
}

/// The tag, if there is one.
fn read_tag(reader: &mut Reader) -> Result<Option<Tag>, ProfileError> {
    let id = reader.whole("vlan", 0..=4094)?.map(word);
    let priority = reader.whole("vlan_priority", 0..=7)?;
    match (id, priority) {
        (None, Some(_)) => Err(missing(reader, "vlan", "the VLAN of that priority, 0 to 4094")),
        (id, priority) => {
            Ok(id.map(|id| Tag { id, priority: u8::try_from(priority.unwrap_or(0)).unwrap_or(0) }))
        }
    }
}

fn read_made(reader: &mut Reader) -> Result<Made, ProfileError> {
    let Some(kind) = reader.word("kind", &Kind::ALL)? else {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|(_, name)| *name).collect();
        let allowed = format!("{}; or a table `replay`", kinds.join(", "));
        return Err(reader
            .need("kind", &allowed)
            .err()
            .unwrap_or_else(|| reader.refuse("kind", "", "")));
    };
    let destination = choice::read(reader, "destination", Of::Addresses)?;
    let Some(destination) = destination else {
        return Err(missing(
            reader,
            "destination",
            "where the packets go: an address, a range, a prefix",
        ));
    };
    let source = choice::read(reader, "source", Of::Addresses)?;
    let source = match source {
        Some(source) => source,
        None if kind == Kind::Land => destination,
        None => {
            return Err(missing(
                reader,
                "source",
                "where the packets come from: an address, a range, a prefix",
            ));
        }
    };
    let is_ipv4 = destination.is_ipv4();
    if source.is_ipv4() != is_ipv4 {
        let allowed = format!("of the family of `destination`, {}", Written(destination));
        return Err(reader.refuse("source", Written(source), allowed));
    }
    if !is_ipv4 && !kind.is_of_ipv6() {
        let allowed = "IPv6 has none of this kind here: give addresses of IPv4, or another kind";
        return Err(reader.refuse("kind", kind, allowed));
    }
    let text = reader.text("text")?.map(|text| Text::new(&text));
    let ttl = match choice::read(reader, "ttl", Of::Ttls)? {
        Some(ttl) => ttl,
        None => Choice::one(if kind == Kind::BadIpTtl { 0_u8 } else { 64 }),
    };
    let identification = reader.whole("identification", 0..=65_535)?.map(word);
    let dont_fragment = reader.flag("dont_fragment")?;
    let given = [
        ("identification", identification.map(|number| number.to_string())),
        ("dont_fragment", dont_fragment.map(|flag| flag.to_string())),
    ];
    if let (false, Some((key, value))) =
        (is_ipv4, given.into_iter().find_map(|(key, value)| Some((key, value?))))
    {
        return Err(reader.refuse(key, value, "a header of IPv6 has no such field: leave it out"));
    }
    let mut made = Made {
        kind,
        source,
        destination,
        source_port: choice::read(reader, "source_port", Of::Ports)?
            .unwrap_or(Choice::one(1024_u16)),
        destination_port: choice::read(reader, "destination_port", Of::Ports)?
            .unwrap_or(Choice::one(9_u16)),
        ttl,
        flows: None,
        window: word(reader.whole("window", 0..=65_535)?.unwrap_or(TCP_WINDOW)),
        sequence: reader.whole("sequence", 0..=u64::from(u32::MAX))?.map(long),
        acknowledgment: reader.whole("acknowledgment", 0..=u64::from(u32::MAX))?.map(long),
        identification,
        dont_fragment: dont_fragment.unwrap_or(true),
        is_stamped: reader.flag("stamp")?.unwrap_or(true),
        sizes: size::read(reader)?
            .unwrap_or_else(|| vec![default_size(kind, is_ipv4, text.as_ref())])
            .into(),
        text,
    };
    made.flows = flows(reader, &made)?;
    made.check().map_err(|why| {
        let sizes = made.sizes.iter().map(|size| size + FCS_BYTES);
        reader.refuse("frame_bytes", sizes.min().unwrap_or(0), why)
    })?;
    Ok(made)
}

fn missing(reader: &Reader, key: &str, allowed: &str) -> ProfileError {
    ProfileError::Missing {
        file: reader.file().to_owned(),
        key: reader.key(key),
        allowed: allowed.to_owned(),
    }
}

/// The shortest frame that bears a stamp; with a text, one that has room for it.
fn default_size(kind: Kind, is_ipv4: bool, text: Option<&Text>) -> usize {
    let ip = if is_ipv4 { 34 } else { 54 };
    let (headers, stamp) =
        if kind.transport_is_tcp() { (ip + 20, 0) } else { (ip + 8, STAMP_BYTES) };
    text.map_or(headers + stamp, |text| headers + text.len()).max(FRAME_BYTES_MIN)
}

fn flows(reader: &mut Reader, made: &Made) -> Result<Option<(u64, Order)>, ProfileError> {
    let order = reader.word("flow_order", &[(Order::Walk, "walk"), (Order::Random, "random")])?;
    let Some(flows) = reader.whole("flows", 1..=u64::from(u32::MAX))? else {
        return match order {
            None => Ok(None),
            Some(_) => Err(missing(reader, "flows", "how many flows to take in this order")),
        };
    };
    let most = made.ranges(0).combinations();
    if u128::from(flows) > most {
        let allowed = format!("these addresses and ports have only {most} combinations");
        return Err(reader.refuse("flows", flows, allowed));
    }
    Ok(Some((flows, order.unwrap_or_default())))
}

fn word(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn long(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
