//! Errands: what control threads want of a worker's flows, one bounded piece at a time.
//!
//! Only the worker touches its flow table. So whoever wants to see flows, or delete some, sends an [`Errand`]
//! ([`crate::worker::Worker::errand`]); the worker carries it out between two polls, into a buffer that the errand
//! brings along, and sends it back. It looks at [`ERRAND_PLACES`] places at most, however large the table is, and
//! allocates nothing; there is one errand a worker, so many clients do not take more of its time than one.

use std::net::IpAddr;

use weir_control::protocol::{self, FlowCounts, FlowEntry, FlowFilter, FlowPart, FlowTuple};

use crate::conntrack::{Conntrack, FlowCount, FlowId, FlowView, Stats, Tuple};
use crate::wire::IpProtocol;

/// Places of the flow table that an errand looks at: some 10 us if no flow is meant, 20 us if all are.
pub const ERRAND_PLACES: u32 = 512;

/// Places of the flow table that an errand looks at which deletes: taking a flow out of a large table costs some
/// 200 ns, so this is some 27 us.
pub const ERRAND_PLACES_DELETE: u32 = 128;

const GRE: u8 = 47;
const SCTP: u8 = 132;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Show the flows that meet a filter, in the places from one on.
    List {
        /// Which flows.
        filter: FlowFilter,
        /// The first place.
        from: u32,
    },
    /// Delete them, and show what was deleted.
    Delete {
        /// Which flows.
        filter: FlowFilter,
        /// The first place.
        from: u32,
    },
    /// Tell how full the table is and what was counted.
    Report,
}

/// How full a worker's flow table is and what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// What was counted.
    pub stats: Stats,
    /// Flows in the table.
    pub flows: u64,
    /// For how many there is room.
    pub flows_max: u64,
    /// Connections in the table whose handshake is not over.
    pub half_open: u64,
    /// Bytes of memory of the table.
    pub bytes: u64,
}

/// A task and, when it comes back, its result.
#[derive(Debug)]
pub struct Errand {
    task: Task,
    /// Has room for as many flows as places are looked at.
    flows: Vec<FlowEntry>,
    next: Option<u32>,
    report: Report,
}

impl Default for Errand {
    fn default() -> Self {
        let flows = Vec::with_capacity(ERRAND_PLACES as usize);
        Self { task: Task::Report, flows, next: None, report: Report::default() }
    }
}

impl Errand {
    /// Gives it another task.
    pub fn set(&mut self, task: Task) {
        self.task = task;
        self.flows.clear();
        self.next = None;
    }

    /// The flows shown, or deleted.
    #[must_use]
    pub fn flows(&self) -> &[FlowEntry] {
        &self.flows
    }

    /// The place to go on at; `None` if the table ends here.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// The result of [`Task::Report`].
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Does it: the worker's part.
    pub fn carry_out(&mut self, worker: u32, conntrack: &mut Conntrack) {
        self.flows.clear();
        match self.task {
            Task::List { filter, from } => {
                self.look(worker, conntrack, &filter, from, ERRAND_PLACES);
            }
            Task::Delete { filter, from } => {
                self.look(worker, conntrack, &filter, from, ERRAND_PLACES_DELETE);
                self.flows.retain(|flow| {
                    conntrack.remove(FlowId { place: flow.slot, generation: flow.generation })
                });
            }
            Task::Report => {
                self.report = Report {
                    stats: *conntrack.stats(),
                    flows: conntrack.len() as u64,
                    flows_max: conntrack.places().into(),
                    half_open: conntrack.half_open(),
                    bytes: conntrack.bytes() as u64,
                };
            }
        }
    }

    fn look(
        &mut self,
        worker: u32,
        conntrack: &Conntrack,
        filter: &FlowFilter,
        from: u32,
        places: u32,
    ) {
        let flows = &mut self.flows;
        self.next = conntrack.scan(from, places, &mut |id, view| {
            let entry = entry(worker, id, &view);
            if filter.matches(&entry) {
                flows.push(entry);
            }
        });
    }
}

/// A flow as the control protocol shows it.
#[must_use]
pub fn entry(worker: u32, id: FlowId, view: &FlowView) -> FlowEntry {
    FlowEntry {
        worker,
        slot: id.place,
        generation: id.generation,
        protocol: view.original.protocol,
        tcp_state: view.tcp_state,
        timeout_s: u32::try_from(view.expires_ms / 1_000).unwrap_or(u32::MAX),
        original: tuple(&view.original),
        reply: tuple(&view.reply),
        seen_reply: view.seen_reply,
        assured: view.assured,
        mark: view.mark,
        counts: view
            .counts
            .map(|[original, reply]| FlowCounts { original: count(original), reply: count(reply) }),
    }
}

fn count(FlowCount { packets, bytes }: FlowCount) -> protocol::FlowCount {
    protocol::FlowCount { packets, bytes }
}

fn tuple(tuple: &Tuple) -> FlowTuple {
    let Tuple { source, destination, source_port, destination_port, protocol } = *tuple;
    let ports = FlowPart::Ports { source: source_port, destination: destination_port };
    let part = match (IpProtocol(protocol), source) {
        (IpProtocol::TCP | IpProtocol::UDP | IpProtocol(SCTP), _) => ports,
        (IpProtocol::ICMP, IpAddr::V4(_)) | (IpProtocol::ICMPV6, IpAddr::V6(_)) => {
            let [kind, code] = destination_port.to_be_bytes();
            FlowPart::Icmp { kind, code, id: source_port }
        }
        (IpProtocol(GRE), _) => {
            FlowPart::Keys { source: source_port, destination: destination_port }
        }
        _ => FlowPart::None,
    };
    FlowTuple { source, destination, part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{ConntrackConfig, Packet};

    /// A table with this many UDP flows, from ports 0, 1, 2 and on.
    fn table(flows: u16) -> Conntrack {
        let mut conntrack = Conntrack::new(&ConntrackConfig::default());
        conntrack.set_time(0);
        for port in 0..flows {
            let [high, low] = port.to_be_bytes();
            let udp = [high, low, 0, 53, 0, 8, 0, 0];
            let (source, destination) = ([10, 0, 0, 2].into(), [192, 168, 0, 2].into());
            let packet = Packet::new(source, destination, 17, &udp);
            let tracked = conntrack.track(&packet);
            conntrack.confirm(&tracked).expect("there is room");
        }
        conntrack
    }

    /// Sends an errand through the whole table; the ports of the flows, and how many errands it took.
    fn through(conntrack: &mut Conntrack, task: impl Fn(u32) -> Task) -> (Vec<u16>, usize) {
        let (mut ports, mut errands) = (Vec::new(), 0);
        let mut errand = Errand::default();
        let mut from = Some(0);
        while let Some(place) = from {
            errand.set(task(place));
            let room = errand.flows.capacity();
            errand.carry_out(7, conntrack);
            assert_eq!(errand.flows.capacity(), room, "the worker does not allocate");
            for flow in errand.flows() {
                assert_eq!((flow.worker, flow.protocol, flow.timeout_s), (7, 17, 30));
                let FlowPart::Ports { source, destination: 53 } = flow.original.part else {
                    panic!("{flow:?}");
                };
                ports.push(source);
            }
            from = errand.next();
            errands += 1;
        }
        ports.sort_unstable();
        (ports, errands)
    }

    #[test]
    fn a_table_is_shown_whole_in_bounded_pieces() {
        let mut conntrack = table(5_000);
        let list = |from| Task::List { filter: FlowFilter::default(), from };
        let (ports, errands) = through(&mut conntrack, list);
        assert_eq!(ports, (0..5_000).collect::<Vec<u16>>());
        assert_eq!(errands, 65_536 / ERRAND_PLACES as usize);
        let tcp = FlowFilter { protocol: Some(6), ..FlowFilter::default() };
        let (ports, _) = through(&mut conntrack, |from| Task::List { filter: tcp, from });
        assert!(ports.is_empty());
    }

    #[test]
    fn what_is_meant_is_deleted_and_the_rest_stays() {
        let mut conntrack = table(1_000);
        let mut filter = FlowFilter::default();
        filter.original.source_port = Some(77);
        let delete = |from| Task::Delete { filter, from };
        assert_eq!(through(&mut conntrack, delete).0, [77]);
        assert_eq!(conntrack.len(), 999);
        assert_eq!(through(&mut conntrack, delete).0, [0_u16; 0], "it is gone");
        let all = |from| Task::Delete { filter: FlowFilter::default(), from };
        let (ports, errands) = through(&mut conntrack, all);
        assert_eq!((ports.len(), errands), (999, 65_536 / ERRAND_PLACES_DELETE as usize));
        assert!(conntrack.is_empty());
        let mut errand = Errand::default();
        errand.set(Task::Report);
        errand.carry_out(7, &mut conntrack);
        let report = errand.report();
        assert_eq!((report.flows, report.flows_max, report.half_open), (0, 65_536, 0));
        assert_eq!((report.stats.insert, report.stats.delete), (1_000, 1_000));
        assert!(report.bytes / report.flows_max < 96, "{report:?}");
    }

    #[test]
    fn flows_have_the_fields_of_their_protocol() {
        let tuple = |protocol, source: &str| {
            let address: IpAddr = source.parse().expect("an address");
            let (source, destination) = (address, address);
            tuple(&Tuple {
                source,
                destination,
                source_port: 9,
                destination_port: 0x0803,
                protocol,
            })
            .part
        };
        let ports = FlowPart::Ports { source: 9, destination: 0x0803 };
        assert_eq!([6, 17, 132].map(|protocol| tuple(protocol, "1.1.1.1")), [ports; 3]);
        let icmp = FlowPart::Icmp { kind: 8, code: 3, id: 9 };
        assert_eq!([tuple(1, "1.1.1.1"), tuple(58, "::1")], [icmp; 2]);
        let keys = FlowPart::Keys { source: 9, destination: 0x0803 };
        assert_eq!(tuple(47, "1.1.1.1"), keys);
        for (protocol, source) in [(89, "1.1.1.1"), (58, "1.1.1.1"), (1, "::1"), (136, "1.1.1.1")] {
            assert_eq!(tuple(protocol, source), FlowPart::None);
        }
    }
}
