//! That every reason for which a packet can be dropped is reached.

use weir_dataplane::batch::Batch;
use weir_dataplane::frame::{Frame, FramePool};
use weir_dataplane::port::{MemoryPort, Port, PortIndex};
use weir_dataplane::verdict::{DropReason, Verdict};

use crate::packet::Packet;
use crate::six;
use crate::world::*;

/// How to have a packet dropped for a reason: sizes of the world, and what to do in it.
enum Way {
    By(Sizes, fn(&mut World)),
    /// Why no test can reach it.
    None(&'static str),
}

fn send(world: &mut World, packet: &Packet) {
    world.inject_packet(0, EAST, packet);
}

fn to(world: &mut World, destination: &str) {
    send(world, &Packet::ping(ALICE, destination.parse().expect("an address"), b""));
}

fn ping() -> Packet {
    Packet::ping(ALICE, BOB, b"")
}

/// A new reason does not compile until it stands here.
// long: one arm for each reason
fn way(reason: DropReason) -> Way {
    use DropReason as Reason;
    use Way::By;
    const ONE: Sizes = Sizes::ONE;
    match reason {
        Reason::Unclassified => Way::None("every stage decides; it would be a defect of Weir"),
        Reason::Truncated => By(ONE, |w| w.inject(0, EAST, vec![0; 13])),
        Reason::MultiBuffer => By(ONE, multi_buffer),
        Reason::OtherHost => By(ONE, |w| w.inject(0, EAST, ping().frame([2; 6], [2; 6]))),
        Reason::L2Group => By(ONE, |w| w.inject(0, EAST, ping().frame([0xff; 6], [2; 6]))),
        Reason::EtherType => By(ONE, |w| {
            w.inject(0, EAST, crate::packet::ethernet(mac(EAST), [2; 6], 0x0806, &[0; 28]));
        }),
        Reason::IpHeader => By(ONE, |w| send(w, &Packet { version_ihl: Some(0x65), ..ping() })),
        Reason::IpChecksum => By(ONE, |w| send(w, &Packet { checksum: Some(0), ..ping() })),
        Reason::SourceRoute => {
            By(ONE, |w| send(w, &Packet { options: vec![131, 3, 4, 0], ..ping() }))
        }
        Reason::Martian => By(ONE, |w| to(w, "127.0.0.1")),
        Reason::HandOverFull => By(Sizes { inbox: 1, ..Sizes::TWO }, |w| {
            for port in 0..64 {
                send(w, &Packet::udp((ALICE, port), (BOB, 1), b""));
            }
            w.poll(0);
        }),
        Reason::Raw => By(ONE, |w| {
            w.raw(&["-A PREROUTING -p icmp -j DROP"]);
            send(w, &ping());
        }),
        Reason::LocalAddress => By(ONE, |w| to(w, "10.0.2.1")),
        Reason::TtlExceeded => By(ONE, |w| send(w, &Packet { ttl: 1, ..ping() })),
        Reason::BeyondScope => By(ONE, |w| {
            w.forwarding.publish(six::network6());
            let packet = six::Packet6::udp((six::ip6("fe80::2"), 1), (six::BOB6, 2), b"");
            w.inject(0, EAST, packet.frame(mac(EAST), [2; 6]));
        }),
        Reason::NoRoute => By(ONE, |w| to(w, "192.0.2.1")),
        Reason::RouteUnreachable => By(ONE, |w| to(w, "10.68.0.1")),
        Reason::NotAPort => By(ONE, |w| to(w, "10.69.0.1")),
        Reason::MtuExceeded => By(ONE, |w| {
            let large = Packet::ping(ALICE, CAROL, &[0; 700]);
            send(w, &Packet { dont_fragment: true, ..large });
        }),
        Reason::Rule => By(ONE, |w| {
            w.rules(&["-A FORWARD -p icmp -j DROP"]);
            send(w, &ping());
        }),
        Reason::Synproxy => By(Sizes { synproxy: true, ..ONE }, |w| {
            w.rules(&["-A FORWARD -p tcp -j SYNPROXY"]);
            send(w, &Packet::tcp((ALICE, 1), (BOB, 80), crate::packet::ACK, b""));
        }),
        Reason::RuleReject => By(ONE, |w| {
            w.rules(&["-A FORWARD -p icmp -j REJECT"]);
            send(w, &ping());
        }),
        Reason::RulePolicy => By(ONE, |w| {
            w.rules(&["-P FORWARD DROP"]);
            send(w, &ping());
        }),
        Reason::RuleHotdrop => By(ONE, |w| {
            w.rules(&["-A FORWARD -p tcp --dport 80 -j DROP"]);
            send(w, &Packet { payload: vec![0; 19], ..Packet::new(ALICE, BOB, 6) });
        }),
        Reason::Reassembly => By(Sizes { always_track: true, ..ONE }, |w| {
            send(w, &Packet { more_fragments: true, payload: vec![0; 8], ..ping() });
            w.settle();
            w.now_ns += 30_000_000_000;
        }),
        Reason::FlowTableFull => By(Sizes { flows: 0, always_track: true, ..ONE }, |w| {
            send(w, &ping());
        }),
        Reason::HalfOpenFull => By(Sizes { half_open: 0, always_track: true, ..ONE }, |w| {
            send(w, &Packet::tcp((ALICE, 1), (BOB, 80), crate::packet::SYN, b""));
        }),
        Reason::PortDown => By(ONE, |w| {
            w.engine(0).close(WEST);
            send(w, &ping());
        }),
        Reason::NeighbourUnresolved => By(ONE, |w| {
            to(w, "10.0.2.99");
            w.settle();
            w.now_ns += 4_000_000_000;
        }),
        Reason::HoldFull => By(ONE, |w| (0..65).for_each(|_| to(w, "10.0.2.99"))),
        Reason::TxRingFull => By(Sizes { tx: 1, ..ONE }, |w| (0..3).for_each(|_| send(w, &ping()))),
        Reason::NoFrame => By(Sizes { chunks: 97, fill: 32, ..ONE }, |w| {
            send(w, &Packet::ping(ALICE, CAROL, &[0; 700]));
        }),
    }
}

#[test]
fn every_reason_is_reached() {
    for &reason in DropReason::ALL {
        let (sizes, provoke) = match way(reason) {
            Way::By(sizes, provoke) => (sizes, provoke),
            Way::None(why) => {
                eprintln!("not reached: {}: {why}", reason.name());
                continue;
            }
        };
        let mut world = World::new(sizes);
        provoke(&mut world);
        world.settle();
        let counters = world.counters();
        assert!(counters.dropped(reason) > 0, "{} is not reached", reason.name());
        assert_eq!(counters.dropped(reason), counters.dropped_all(), "only {}", reason.name());
        world.shut_down();
    }
}

/// A port that has decided about its packets already, as the AF_XDP port has about those that span
/// several chunks.
struct Decided(MemoryPort);

impl Port for Decided {
    fn index(&self) -> PortIndex {
        self.0.index()
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        let received = self.0.receive(batch);
        for i in 0..received {
            batch.verdict[i] = Verdict::Drop(DropReason::MultiBuffer);
        }
        received
    }

    fn transmit(&mut self, outbox: &mut Vec<weir_dataplane::frame::Frame>) -> usize {
        self.0.transmit(outbox)
    }

    fn kick(&mut self) {
        self.0.kick();
    }

    fn recycle(&mut self, pool: &mut FramePool) {
        self.0.recycle(pool);
    }

    fn lent(&self) -> usize {
        self.0.lent()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        Box::new(self.0).close(give_back);
    }
}

fn multi_buffer(world: &mut World) {
    world.engine(0).close(EAST);
    let port = MemoryPort::new(EAST, world.wire(0, EAST), 32, 32);
    world.open_as(0, Box::new(Decided(port)));
    send(world, &ping());
}
