//! A lane: one stream on one thread, on its way out.

use weir_dataplane::wire::MacAddr;

use crate::pace::{Pace, Schedule};
use crate::packet::{Fields, Generator, Key, Kind, Sign, Stamp, Template};
use crate::profile::{Content, Side, Stream};

use super::way::Way;

/// Nothing is known of what a chunk has behind its headers.
pub(super) const NO_TAG: u32 = 0;

/// Where a lane stands among those of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Its number: stream times threads plus thread.
    pub(super) lane: u8,
    /// Its stream's.
    pub(super) stream: usize,
    /// Its thread's.
    pub(super) thread: usize,
    /// How many threads there are.
    pub(super) threads: usize,
    /// Where its templates' tags begin.
    pub(super) first_tag: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) seat: Seat,
    pub(super) side: Side,
    /// Which engine sends it.
    pub(super) way: Way,
    pub(super) pace: Pace,
    generator: Option<Generator>,
    templates: Vec<Template>,
    /// Templates that are parts of one datagram.
    parts: usize,
    /// The next one's place.
    at: usize,
    step: usize,
    fields: Fields,
    /// Packets made so far; the next one's number.
    pub(super) made: u64,
    /// Packets that the device took, and their bytes.
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    /// Packets that were made, and that the device did not take: they are not on their way.
    pub(super) refused: u64,
    /// The same in each second of the run.
    pub(super) seconds: Box<[u64]>,
}

impl Lane {
    /// Makes it, with all memory that it will need for a run of so many seconds.
    pub(super) fn new(
        stream: &Stream,
        seat: Seat,
        macs: [MacAddr; 2],
        seed: u64,
        wall_s: i64,
        seconds: usize,
    ) -> Result<Self, String> {
        let (thread, threads) = (seat.thread as u64, seat.threads as u64);
        let own_seed = crate::packet::mix(seed ^ (u64::from(seat.lane) << 32));
        let stream_seed = crate::packet::mix(seed ^ seat.stream as u64);
        let (generator, templates, parts) = match &stream.content {
            Content::Made(made) => {
                let ranges = made.ranges(stream_seed);
                let generator = Generator::new(ranges, thread, threads, own_seed);
                let templates = made.templates(macs, stream.tag, wall_s)?;
                (Some(generator), templates, made.kind.parts().len())
            }
            Content::Replay(replay) => {
                let templates = replay.templates(macs, stream.tag);
                (None, templates.map_err(|no_room| no_room.to_string())?, 1)
            }
        };
        let is_replay = generator.is_none();
        Ok(Self {
            seat,
            side: stream.from,
            way: Way::Socket,
            pace: Pace::new(stream.schedule.clone(), thread, threads, own_seed),
            generator,
            parts,
            // The threads share the packets of a recording; lengths and parts each goes through for itself.
            at: if is_replay { seat.thread % templates.len() } else { 0 },
            step: if is_replay { seat.threads % templates.len() } else { 1 },
            templates,
            fields: Fields::default(),
            made: 0,
            sent: 0,
            sent_bytes: 0,
            refused: 0,
            seconds: vec![0; seconds].into(),
        })
    }

    /// How many tags its templates take.
    pub(super) fn tags(&self) -> u32 {
        u32::try_from(self.templates.len()).unwrap_or(u32::MAX)
    }

    /// Makes the text of its packets tell another time; whether there is any that does.
    pub(super) fn tell(&mut self, wall_s: i64) -> bool {
        self.templates.iter_mut().fold(false, |any, template| template.tell(wall_s) | any)
    }

    /// Bytes of the next packet.
    #[inline]
    pub(super) fn next_len(&self) -> usize {
        self.templates[self.at].len()
    }

    /// Makes the next packet, which was due at `due_ns`, in `out`, which is as long as [`next_len`](Self::next_len).
    /// `tag` says whose bytes this place in memory has behind its headers.
    #[inline]
    pub(super) fn make(&mut self, due_ns: u64, key: Key, out: &mut [u8], tag: &mut u32) {
        if let Some(generator) = &mut self.generator
            && (self.parts == 1 || self.at.is_multiple_of(self.parts))
        {
            self.fields = generator.draw();
        }
        let template = &self.templates[self.at];
        let own_tag = self.seat.first_tag + u32::try_from(self.at).unwrap_or(0);
        let stamp = Stamp { lane: self.seat.lane, number: self.made, due_ns };
        let written = template.write(&self.fields, stamp, key, out, *tag != own_tag);
        debug_assert!(written, "the window is as long as the frame");
        *tag = own_tag;
        self.made += 1;
        self.at += self.step;
        if self.at >= self.templates.len() {
            self.at -= self.templates.len();
        }
        self.pace.advance();
    }

    /// A frame of it has been taken by the device.
    #[inline]
    pub(super) fn count_sent(&mut self, second: usize, bytes: usize) {
        self.sent += 1;
        self.sent_bytes += bytes as u64;
        if let Some(count) = self.seconds.get_mut(second) {
            *count += 1;
        }
    }

    /// Packets that were due before a time and have not been made, at most a billion of them.
    pub(super) fn owed(&self, until_ns: u64) -> u64 {
        let mut pace = self.pace.clone();
        let mut owed = 0;
        while !pace.is_flood() && pace.due_ns() < until_ns && owed < 1_000_000_000 {
            pace.advance();
            owed += 1;
        }
        owed
    }
}

/// What a receiver has to know of a stream.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) from: Side,
    /// Whether its checksums are right when it leaves.
    is_checkable: bool,
    content: Content,
    /// Addresses and ports that it may bear; only for what is made.
    ranges: Option<crate::packet::Ranges>,
    /// Whether some of its packets bear no stamp.
    has_unstamped: bool,
}

impl Known {
    /// `lane` is one of the stream's.
    pub(super) fn new(stream: &Stream, seed: u64, lane: &Lane) -> Self {
        let made = match &stream.content {
            Content::Made(made) => Some(made),
            Content::Replay(_) => None,
        };
        Self {
            from: stream.from,
            is_checkable: made.is_some_and(|made| made.kind.is_checkable()),
            ranges: made.map(|made| made.ranges(seed)),
            content: stream.content.clone(),
            has_unstamped: lane.templates.iter().any(|template| template.sign() == Sign::Not),
        }
    }

    /// Whether its packets show damage by their checksums.
    pub(super) fn is_checkable(&self) -> bool {
        self.is_checkable
    }

    /// Whether a frame that bears no stamp of ours may be of this stream; `Some(true)`: as it was sent; `Some(false)`:
    /// its stamp is destroyed.
    pub(super) fn claims(&self, frame: &[u8]) -> Option<bool> {
        use crate::packet::Place;
        let place = Place::of(frame)?;
        let is_own = match (&self.content, &self.ranges) {
            (Content::Made(made), Some(ranges)) => {
                let (source, destination) = place.addresses(frame);
                let ports = if made.kind == Kind::FragmentTiny { None } else { place.ports(frame) };
                place.protocol == made.kind.protocol(place.is_ipv4)
                    && ranges.may_be(source, destination, ports)
            }
            (Content::Replay(replay), _) => replay.may_be(frame),
            _ => false,
        };
        is_own.then_some(self.has_unstamped)
    }
}

/// Whether a schedule is as fast as they go.
pub(super) fn is_flood(schedule: &Schedule) -> bool {
    *schedule == Schedule::Flood
}
