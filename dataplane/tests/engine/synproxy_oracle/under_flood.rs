//! SYNPROXY only under flood: limits in table raw say which SYNs it answers, and connections of both kinds go on side
//! by side. The limits are of an hour, so that the kernel's clock and the test's come to the same.

use super::*;

const LIMIT: &str = "-A PREROUTING -p tcp --syn -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 3 \
                     --hashlimit-mode dstip --hashlimit-name syn";

/// One connection, as far as it has come.
#[derive(Debug, Clone, Copy)]
struct Open {
    port: u16,
    chosen: [Chosen; 2],
    proxied: bool,
}

impl Talk<'_> {
    /// The connection of a client to the server that this speaks for now.
    fn turn_to(&mut self, open: Open) {
        (self.port, self.chosen) = (open.port, open.chosen);
    }

    /// A client's SYN: whether the server hears it, or a firewall has answered.
    fn open(&mut self, port: u16) -> Open {
        self.turn_to(Open { port, chosen: [Chosen::default(); 2], proxied: false });
        let syn = Segment { flags: SYN, seq: 1000, window: 29_200, ..Segment::default() };
        let outs = self.send(true, |_| syn.clone());
        assert_eq!(outs[1].len(), 1);
        Open { port, chosen: self.chosen, proxied: outs[1][0].port == CLIENT }
    }

    /// The rest of it, with data both ways.
    fn go_on(&mut self, open: Open) {
        self.turn_to(open);
        let server = 77_000_u32;
        let accepted = Segment {
            flags: SYN | ACK,
            seq: server,
            ack: 1001,
            window: 28_960,
            ..Segment::default()
        };
        let from_client = |chosen: Chosen, (seq, ack): (u32, u32), data: &[u8]| {
            let first = if open.proxied { chosen.cookie } else { server };
            let (seq, ack) = (1000 + seq, first.wrapping_add(ack));
            Segment { flags: ACK, seq, ack, window: 500, data: data.to_vec(), ..Segment::default() }
        };
        if !open.proxied {
            self.send(false, |_| accepted.clone());
        }
        self.send(true, |chosen| from_client(chosen, (1, 1), b""));
        if open.proxied {
            assert_eq!(self.send(false, |_| accepted.clone())[1].len(), 2);
        }
        let asked = self.send(true, |chosen| from_client(chosen, (1, 1), b"GET"));
        assert_eq!(asked[1].len(), 1);
        let (seq, ack, data) = (server + 1, 1004, b"the page".to_vec());
        let page = Segment { flags: PSH | ACK, seq, ack, window: 400, data, ..Segment::default() };
        assert_eq!(self.send(false, |_| page.clone())[1].len(), 1);
        assert_eq!(self.send(true, |chosen| from_client(chosen, (4, 9), b""))[1].len(), 1);
    }
}

/// Puts these lines into table raw, and SYNPROXY behind it, on both sides.
fn begin(raw: &[&str]) -> (Kernel, World) {
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let sizes = Sizes { synproxy: true, ..Sizes::ONE };
    let settings = Settings { tcp_loose: false, ..Settings::default() };
    let mut world = World::with(sizes, network().build(), sizes.tables(settings));
    assert_eq!(kernel.ask("set netfilter/nf_conntrack_tcp_loose 0"), "ok\n");
    let filter = [
        "-A FORWARD -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460",
        "-A FORWARD -m state --state INVALID -j DROP",
    ];
    world.raw(raw);
    world.rules(&filter);
    let (raw, filter) = (raw.join("\n"), filter.join("\n"));
    kernel.restore(&format!("*raw\n{raw}\nCOMMIT\n*filter\n{filter}\nCOMMIT\n"));
    (kernel, world)
}

/// Connections to the server, of which the first three are within the limit; which were proxied.
fn connections(raw: &[&str], (kernel, world): (&mut Kernel, &mut World)) -> Vec<bool> {
    let (family, chosen, story) = (Family::V4, [Chosen::default(); 2], format!("{raw:?}\n"));
    let mut talk = Talk { kernel, world, family, chosen, port: 0, story };
    // The first begins once more when the limit is reached, and goes on as if it never had.
    let open: Vec<Open> = [1, 2, 3, 4, 5, 6, 1].map(|port| talk.open(port)).into();
    open.iter().filter(|open| open.port != 1).for_each(|open| talk.go_on(*open));
    open.iter().map(|open| open.proxied).collect()
}

#[test]
fn what_is_over_a_limit_is_proxied_and_nothing_else() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let raw = [format!("{LIMIT} -j CT --notrack")];
    let raw: Vec<&str> = raw.iter().map(String::as_str).collect();
    let (mut kernel, mut world) = begin(&raw);
    let proxied = connections(&raw, (&mut kernel, &mut world));
    assert_eq!(proxied, [false, false, false, true, true, true, true]);
    assert_eq!(world.raw_counts(Family::V4), kernel.counted("raw"), "Weir, kernel");
    assert_eq!(world.counters().get(Counter::SynproxyConnections), 3);
    world.shut_down();
}

/// With `recent` between, a destination stays proxied for a while after its limit was exceeded last.
#[test]
fn a_flood_switches_it_on_and_quiet_off() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let note = format!("{LIMIT} -m recent --name flood --rdest --set");
    let check = "-A PREROUTING -p tcp --syn -m recent --name flood --rdest --rcheck --seconds 600 \
                 -j CT --notrack";
    let raw = [note.as_str(), check];
    let (mut kernel, mut world) = begin(&raw);
    let proxied = connections(&raw, (&mut kernel, &mut world));
    assert_eq!(proxied, [false, false, false, true, true, true, true]);
    assert_eq!(world.raw_counts(Family::V4), kernel.counted("raw"), "Weir, kernel");
    // The burst is there again, but the flood is still noted for ten minutes; then not any more, until the next.
    let minute = 60_000_000_000;
    let steps = [(5, true), (5, true), (60, false), (0, false), (0, false), (0, true)];
    for (later_ns, proxied) in steps.map(|(minutes, proxied)| (minutes * minute, proxied)) {
        world.now_ns += later_ns;
        let syn = Packet::segment((ALICE, 999), (BOB, 80), SYN, (1, 0), b"");
        world.inject_packet(0, EAST, &syn);
        world.settle();
        let left: Vec<_> = world.left().iter().map(|sent| sent.port).collect();
        assert_eq!(left, [if proxied { EAST } else { WEST }], "{later_ns}");
    }
    world.shut_down();
}
