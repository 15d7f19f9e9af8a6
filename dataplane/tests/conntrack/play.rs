//! Plays sequences through both, thousands at once in lockstep: the first packet of each, all entries, the second
//! of each...

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::{Kernel, Sent};
use crate::seen::{Entry, Seen};
use crate::shot::{Event, Sequence, Side};
use crate::weir::Weir;

/// Longer than two seconds (a UDP flow becomes a stream), and than what is tolerated of timeouts.
const PAUSE: Duration = Duration::from_secs(4);

/// Sequences at once: their entries are read after each step.
const TOGETHER: usize = 5000;

/// Settings, by the kernel's names, with its defaults.
pub(crate) const DEFAULTS: &[(&str, u32)] = &[
    ("tcp_timeout_syn_sent", 120),
    ("tcp_timeout_syn_recv", 60),
    ("tcp_timeout_established", 432_000),
    ("tcp_timeout_fin_wait", 120),
    ("tcp_timeout_close_wait", 60),
    ("tcp_timeout_last_ack", 30),
    ("tcp_timeout_time_wait", 120),
    ("tcp_timeout_close", 10),
    ("tcp_timeout_max_retrans", 300),
    ("tcp_timeout_unacknowledged", 300),
    ("tcp_loose", 1),
    ("tcp_be_liberal", 0),
    ("tcp_ignore_invalid_rst", 0),
    ("tcp_max_retrans", 3),
    ("udp_timeout", 30),
    ("udp_timeout_stream", 120),
    ("gre_timeout", 30),
    ("gre_timeout_stream", 180),
    ("icmp_timeout", 30),
    ("generic_timeout", 600),
    ("checksum", 1),
];

/// What both said to each packet of a sequence, up to the first difference.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The kernel's, Weir's.
    pub(crate) seen: Vec<(Seen, Seen)>,
    pub(crate) differs: bool,
}

/// How much was done.
#[derive(Debug, Default, Clone)]
pub(crate) struct Work {
    pub(crate) sequences: usize,
    pub(crate) packets: usize,
    /// Packets whose state was compared, and entries.
    pub(crate) states: usize,
    pub(crate) entries: usize,
    /// How often the kernel named each state: of packets, of TCP connections.
    pub(crate) reached: BTreeMap<&'static str, usize>,
}

impl Work {
    fn count(&mut self, kernel: &Seen) {
        self.packets += 1;
        self.states += usize::from(kernel.verdict.is_some());
        self.entries += kernel.entries.len().max(1);
        let tcp = kernel.entries.iter().filter_map(|entry| Some(entry.tcp_state?.name()));
        let packets = kernel.verdict.iter().map(|verdict| verdict.name());
        tcp.chain(packets).for_each(|name| *self.reached.entry(name).or_default() += 1);
    }
}

/// Both ends under the same settings.
pub(crate) struct Pair {
    kernel: Kernel,
    settings: Vec<(&'static str, u32)>,
    /// See [`Weir`].
    lies: bool,
    pub(crate) work: Work,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self { kernel: Kernel::new(), settings: Vec::new(), lies: false, work: Work::default() }
    }

    /// From here on Weir's answers are wrong.
    pub(crate) fn lie(&mut self) {
        self.lies = true;
    }

    /// Changes settings from their defaults.
    pub(crate) fn set(&mut self, settings: &[(&'static str, u32)]) {
        self.settings = settings.to_vec();
        let all: Vec<_> = DEFAULTS
            .iter()
            .map(|(name, default)| {
                let changed = settings.iter().find(|(changed, _)| changed == name);
                (*name, changed.map_or(*default, |(_, value)| *value))
            })
            .collect();
        self.kernel.set(&all);
    }

    pub(crate) fn play(&mut self, sequences: &[Sequence]) -> Vec<Course> {
        sequences.chunks(TOGETHER).flat_map(|chunk| self.together(chunk)).collect()
    }

    fn together(&mut self, sequences: &[Sequence]) -> Vec<Course> {
        self.kernel.flush();
        let mut weir = Weir::new(&self.settings, self.lies);
        let mut courses: Vec<Course> = sequences.iter().map(|_| Course::default()).collect();
        let mut next = vec![0; sequences.len()];
        loop {
            let played = self.step(sequences, &mut next, &mut courses, &mut weir);
            if played > 0 {
                continue;
            }
            // All are over, or wait.
            let waiting = |(place, at): (usize, &mut usize)| {
                let waits = !courses[place].differs && *at < sequences[place].events.len();
                *at += usize::from(waits);
                waits
            };
            if next.iter_mut().enumerate().map(waiting).filter(|waits| *waits).count() == 0 {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.work.sequences += sequences.len();
        courses
    }

    /// Plays the next packet of all that have one, and looks at all entries. Returns how many it played.
    fn step(
        &mut self,
        sequences: &[Sequence],
        next: &mut [usize],
        courses: &mut [Course],
        weir: &mut Weir,
    ) -> usize {
        let mut places = Vec::new();
        let mut packets = Vec::new();
        for (place, sequence) in sequences.iter().enumerate() {
            if courses[place].differs {
                continue;
            }
            let Some(Event::Shot(shot)) = sequence.events.get(next[place]) else { continue };
            let mut packet = shot.packet(u32::try_from(place).expect("few"));
            packet.identification = u16::try_from(packets.len()).expect("few");
            let bytes = packet.bytes();
            packets.push(Sent { from: shot.from, dropped: shot.dropped, bytes });
            places.push(place);
            next[place] += 1;
        }
        if packets.is_empty() {
            return 0;
        }
        let verdicts = self.kernel.play(&packets);
        let mut seen: Vec<(Seen, Seen)> = Vec::new();
        for (sent, (time, verdict)) in packets.iter().zip(verdicts) {
            let weirs = Seen { verdict: Some(weir.play(time, sent)), entries: Vec::new() };
            seen.push((Seen { verdict, entries: Vec::new() }, weirs));
        }
        let (time, kernels) = self.kernel.entries();
        let mut kernels = by_place(kernels, sequences.len());
        let mut weirs = by_place(weir.entries(time), sequences.len());
        for (place, mut pair) in places.iter().copied().zip(seen) {
            pair.0.entries = std::mem::take(&mut kernels[place]);
            pair.1.entries = std::mem::take(&mut weirs[place]);
            self.work.count(&pair.0);
            courses[place].differs = !pair.0.agrees(&pair.1);
            courses[place].seen.push(pair);
        }
        packets.len()
    }
}

fn by_place(entries: Vec<Entry>, places: usize) -> Vec<Vec<Entry>> {
    let mut found = vec![Vec::new(); places];
    for entry in entries {
        let std::net::IpAddr::V4(address) = entry.original.source else { continue };
        let place = Side::place(address).map(|place| usize::try_from(place).expect("it fits"));
        let flows = place.and_then(|place| found.get_mut(place));
        flows.unwrap_or_else(|| panic!("whose flow is this? {entry:?}")).push(entry);
    }
    found
}
