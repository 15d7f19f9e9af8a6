//! SYNPROXY, directed: what the kernel cannot be asked, or does otherwise.

use weir_dataplane::conntrack::Settings;
use weir_dataplane::port::PortIndex;
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;

use crate::packet::{ACK, FIN, Packet, RST, SYN};
use crate::world::*;

const CLIENT: u32 = 1000;
const SERVER: u32 = 77_000;

fn world(sizes: Sizes) -> World {
    let sizes = Sizes { synproxy: true, ..sizes };
    let settings = Settings { tcp_loose: false, ..Settings::default() };
    let mut world = World::with(sizes, network().build(), sizes.tables(settings));
    world.raw(&["-A PREROUTING -i east -p tcp --syn -j CT --notrack"]);
    world.rules(&[
        "-A FORWARD -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460 \
         --timestamp",
        "-A FORWARD -m state --state INVALID -j DROP",
    ]);
    world
}

fn client(port: u16, flags: u8, (seq, ack): (u32, u32)) -> Packet {
    Packet::segment((ALICE, port), (BOB, 80), flags, (seq, ack), b"")
}

fn server(port: u16, flags: u8, (seq, ack): (u32, u32)) -> Packet {
    Packet::segment((BOB, 80), (ALICE, port), flags, (seq, ack), b"")
}

/// Numbers of a segment that left: sequence and acknowledgment.
fn numbers(frame: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("four"));
    (word(38), word(42))
}

fn pass(world: &mut World, worker: usize, packet: &Packet) -> Vec<(PortNumber, Vec<u8>)> {
    let port = if packet.source == ALICE { EAST } else { WEST };
    world.inject_packet(worker, port, packet);
    world.settle();
    world.left_by_port().into_iter().map(|(port, frame)| (port.0, frame)).collect()
}

type PortNumber = u8;

/// The cookie of a connection to be.
fn cookie(world: &mut World, worker: usize, port: u16) -> u32 {
    let left = pass(world, worker, &client(port, SYN, (CLIENT, 0)));
    assert_eq!((left.len(), left[0].0), (1, EAST.0));
    numbers(&left[0].1).0
}

fn flows(world: &mut World) -> usize {
    let workers = world.sizes.workers;
    (0..workers).map(|worker| world.engine(worker).conntrack().len()).sum()
}

#[test]
fn a_flood_of_syns_takes_no_flow_and_no_frame() {
    let mut world = world(Sizes { chunks: 400, ..Sizes::ONE });
    for port in 0..2_000 {
        cookie(&mut world, 0, port);
    }
    let counters = world.counters();
    assert_eq!(counters.get(Counter::SynproxySyns), 2_000);
    assert_eq!(
        (counters.get(Counter::Absorbed), counters.get(Counter::Originated)),
        (2_000, 2_000)
    );
    assert_eq!((counters.dropped_all(), flows(&mut world)), (0, 0));
    // Whoever guesses finds nothing.
    for guess in 0..1_000 {
        assert_eq!(pass(&mut world, 0, &client(1, ACK, (CLIENT + 1, guess * 7919))), []);
    }
    assert_eq!(world.counters().dropped(DropReason::Synproxy), 1_000);
    assert_eq!(flows(&mut world), 0);
    world.shut_down();
}

/// Connections are made and go on on every worker, whichever receives their packets.
#[test]
fn connections_go_on_on_the_worker_of_their_flow() {
    let mut world = world(Sizes::TWO);
    for port in 1..=40_u16 {
        let (one, other) = (usize::from(port % 2), usize::from(port / 2 % 2));
        let cookie = cookie(&mut world, one, port);
        let asked = pass(&mut world, other, &client(port, ACK, (CLIENT + 1, cookie + 1)));
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].0, numbers(&asked[0].1).0), (WEST.0, CLIENT));
        let answer = server(port, SYN | ACK, (SERVER, CLIENT + 1));
        assert_eq!(pass(&mut world, one, &answer).len(), 2);
        let data =
            Packet::segment((BOB, 80), (ALICE, port), ACK, (SERVER + 1, CLIENT + 1), b"page");
        let heard = pass(&mut world, other, &data);
        assert_eq!(numbers(&heard[0].1), (cookie.wrapping_add(1), CLIENT + 1));
        let got = client(port, ACK, (CLIENT + 1, cookie.wrapping_add(5)));
        let told = pass(&mut world, one, &got);
        assert_eq!(numbers(&told[0].1), (CLIENT + 1, SERVER + 5));
    }
    assert_eq!(world.counters().get(Counter::SynproxyConnections), 40);
    assert_eq!(flows(&mut world), 40);
    world.shut_down();
}

/// Here Weir is not the kernel, which gives the reset the number with which the connection began.
#[test]
fn a_server_may_reset_what_it_has_accepted() {
    let mut world = world(Sizes::ONE);
    let cookie = cookie(&mut world, 0, 1);
    pass(&mut world, 0, &client(1, ACK, (CLIENT + 1, cookie + 1)));
    pass(&mut world, 0, &server(1, SYN | ACK, (SERVER, CLIENT + 1)));
    let data = Packet::segment((BOB, 80), (ALICE, 1), ACK, (SERVER + 1, CLIENT + 1), &[0; 100]);
    pass(&mut world, 0, &data);
    pass(&mut world, 0, &client(1, ACK, (CLIENT + 1, cookie.wrapping_add(101))));
    let left = pass(&mut world, 0, &server(1, RST | ACK, (SERVER + 101, CLIENT + 1)));
    assert_eq!(numbers(&left[0].1), (cookie.wrapping_add(101), CLIENT + 1));
    world.shut_down();
}

#[test]
fn where_there_is_no_room_for_a_connection_none_is_begun() {
    let mut world = world(Sizes { half_open: 0, ..Sizes::ONE });
    let cookie = cookie(&mut world, 0, 1);
    assert_eq!(pass(&mut world, 0, &client(1, ACK, (CLIENT + 1, cookie + 1))), []);
    assert_eq!(world.counters().dropped(DropReason::HalfOpenFull), 1);
    assert_eq!(world.counters().get(Counter::SynproxyCookiesValid), 1);
    world.shut_down();
}

/// The machine itself is the server: what is for it and what it says pass through all the same.
#[test]
fn connections_to_the_machine_itself_are_made_in_chain_input() {
    let sizes = Sizes { synproxy: true, ..Sizes::ONE };
    let settings = Settings { tcp_loose: false, ..Settings::default() };
    let mut world = World::with(sizes, hosted_network().build(), sizes.tables(settings));
    world.raw(&["-A PREROUTING -i east -p tcp --syn -j CT --notrack"]);
    world.rules(&[
        "-A INPUT -i east -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460",
        "-A INPUT -m state --state INVALID -j DROP",
        "-A OUTPUT -m state --state INVALID -j DROP",
    ]);
    let host = (address(EAST), 80);
    let client =
        |flags, numbers, data: &[u8]| Packet::segment((ALICE, 1), host, flags, numbers, data);
    let server =
        |flags, numbers, data: &[u8]| Packet::segment(host, (ALICE, 1), flags, numbers, data);
    let mut pass = |port: PortIndex, packet: &Packet| {
        // The device of the machine itself knows no MAC addresses.
        let to = if port == HOST { [0; 6] } else { mac(port) };
        world.inject(0, port, packet.frame(to, host_mac(packet.source)));
        world.settle();
        let told = |(port, frame): (PortIndex, Vec<u8>)| (port, frame[47], numbers(&frame));
        world.left_by_port().into_iter().map(told).collect::<Vec<_>>()
    };
    let answered = pass(EAST, &client(SYN, (CLIENT, 0), b""));
    let [(EAST, flags, (cookie, _))] = answered[..] else { panic!("{answered:?}") };
    assert_eq!(flags, SYN | ACK);
    // Nobody without a cookie comes to the machine.
    assert_eq!(pass(EAST, &client(ACK, (CLIENT + 1, cookie + 77_777), b"")), []);
    let asked = pass(EAST, &client(ACK, (CLIENT + 1, cookie + 1), b""));
    assert_eq!(asked, [(HOST, SYN, (CLIENT, cookie))]);
    let both = pass(HOST, &server(SYN | ACK, (SERVER, CLIENT + 1), b""));
    let shaken = (HOST, ACK, (CLIENT + 1, SERVER + 1));
    let told = (EAST, ACK, (cookie + 1, CLIENT + 1));
    assert!(both.len() == 2 && both.contains(&shaken) && both.contains(&told), "{both:?}");
    let data = pass(EAST, &client(ACK, (CLIENT + 1, cookie + 1), b"GET"));
    assert_eq!(data, [(HOST, ACK, (CLIENT + 1, SERVER + 1))]);
    let page = pass(HOST, &server(ACK, (SERVER + 1, CLIENT + 4), b"page"));
    assert_eq!(page, [(EAST, ACK, (cookie + 1, CLIENT + 4))]);
    assert_eq!(world.counters().get(Counter::SynproxyConnections), 1);
    assert_eq!(flows(&mut world), 1);
    world.shut_down();
}

#[test]
fn a_flow_in_the_place_of_a_proxied_one_is_not() {
    let mut world = world(Sizes { flows: 1, half_open: 1, ..Sizes::ONE });
    let cookie = cookie(&mut world, 0, 1);
    pass(&mut world, 0, &client(1, ACK, (CLIENT + 1, cookie + 1)));
    assert_eq!(flows(&mut world), 1);
    // Bob's own connection takes the place of the half-open one; nothing of it is translated.
    let begun = pass(&mut world, 0, &server(9, SYN, (SERVER, 0)));
    assert_eq!(numbers(&begun[0].1), (SERVER, 0));
    let answered = pass(&mut world, 0, &client(9, SYN | ACK, (CLIENT, SERVER + 1)));
    assert_eq!(numbers(&answered[0].1), (CLIENT, SERVER + 1));
    world.shut_down();
}

/// What left: by which port, flags and numbers.
fn told(left: &[(PortNumber, Vec<u8>)]) -> Vec<(PortNumber, u8, (u32, u32))> {
    left.iter().map(|(port, frame)| (*port, frame[47], numbers(frame))).collect()
}

/// A connection by that port which the server closes first, so that all remember it; what the client began with.
fn come_and_go(world: &mut World, port: u16, first: u32) {
    let cookie = connect(world, port, first);
    let (next, last) = (first.wrapping_add(1), SERVER + 1);
    for packet in [
        server(port, FIN | ACK, (last, next)),
        client(port, FIN | ACK, (next, cookie.wrapping_add(2))),
        server(port, ACK, (last + 1, next.wrapping_add(1))),
    ] {
        assert_eq!(pass(world, 0, &packet).len(), 1);
    }
}

/// A connection by that port, and its cookie.
fn connect(world: &mut World, port: u16, first: u32) -> u32 {
    let next = first.wrapping_add(1);
    let answered = told(&pass(world, 0, &client(port, SYN, (first, 0))));
    let [(_, _, (cookie, _))] = answered[..] else { panic!("{answered:?}") };
    let asked = told(&pass(world, 0, &client(port, ACK, (next, cookie.wrapping_add(1)))));
    assert_eq!(asked, [(WEST.0, SYN, (first, cookie))], "port {port} {first}");
    let both = told(&pass(world, 0, &server(port, SYN | ACK, (SERVER, next))));
    let (to_server, to_client) = ((next, SERVER + 1), (cookie.wrapping_add(1), next));
    let shaken = [(WEST.0, ACK, to_server), (EAST.0, ACK, to_client)];
    assert!(both.len() == 2 && shaken.iter().all(|one| both.contains(one)), "{both:?}");
    cookie
}

/// Whatever numbers the new connection has, none of its segments is taken for one of the old.
#[test]
fn a_port_may_be_taken_again_while_its_last_connection_is_remembered() {
    let mut world = world(Sizes::ONE);
    for port in 1..=40 {
        come_and_go(&mut world, port, CLIENT);
        // As by hosts behind one address, or after a restart; a quarter of these look like old data.
        let first = CLIENT.wrapping_sub(u32::from(port) * 50_000_000);
        connect(&mut world, port, first);
        // The client forgets that it is connected, and begins once more.
        connect(&mut world, port, first.wrapping_sub(1 << 20));
    }
    assert_eq!(world.counters().get(Counter::SynproxyConnections), 120);
    assert_eq!((flows(&mut world), world.counters().dropped_all()), (40, 0));
    world.shut_down();
}

/// Of a connection that has come to its end something may still be on its way.
#[test]
fn what_belongs_to_the_last_connection_does_not_begin_another() {
    let mut world = world(Sizes::ONE);
    let cookie = connect(&mut world, 1, CLIENT);
    let acknowledgment = client(1, ACK, (CLIENT + 1, cookie.wrapping_add(1)));
    for packet in [
        server(1, FIN | ACK, (SERVER + 1, CLIENT + 1)),
        client(1, FIN | ACK, (CLIENT + 1, cookie.wrapping_add(2))),
        server(1, ACK, (SERVER + 2, CLIENT + 2)),
    ] {
        pass(&mut world, 0, &packet);
    }
    // Its third segment, once more.
    let left = told(&pass(&mut world, 0, &acknowledgment));
    assert_eq!(left, [(WEST.0, ACK, (CLIENT + 1, SERVER + 1))]);
    assert_eq!(world.counters().get(Counter::SynproxyCookiesValid), 1);
    world.shut_down();
}

/// A server in TIME-WAIT, or with a connection that its client has lost, answers a SYN with what it knows. Who sends a
/// SYN resets that and tries again; here nobody but Weir knows that there was one.
#[test]
fn a_challenge_of_the_server_is_answered_in_the_clients_name() {
    let mut world = world(Sizes::ONE);
    come_and_go(&mut world, 1, CLIENT);
    let first = CLIENT - 500;
    let answered = pass(&mut world, 0, &stamped(1, SYN, (first, 0), (70, 0)));
    let cookie = numbers(&answered[0].1).0;
    let clock = u32::from_be_bytes(answered[0].1[58..62].try_into().expect("four"));
    let acknowledged = stamped(1, ACK, (first + 1, cookie.wrapping_add(1)), (77, clock));
    let asked = pass(&mut world, 0, &acknowledged);
    assert_eq!(told(&asked), [(WEST.0, SYN, (first, cookie))]);
    let challenge = server(1, ACK, (SERVER + 2, CLIENT + 2));
    let left = pass(&mut world, 0, &challenge);
    assert_eq!(told(&left), [(WEST.0, RST, (CLIENT + 2, 0)), (WEST.0, SYN, (first, cookie))],);
    assert_eq!(left[1], asked[0], "the same SYN");
    // Once is enough: two who do not understand each other would never end.
    assert_eq!(pass(&mut world, 0, &challenge), []);
    assert_eq!(world.counters().dropped(DropReason::Synproxy), 1);
    // The client asks whether its window is open: the server may be challenged once more.
    let probe = stamped(1, ACK, (first, cookie.wrapping_add(1)), (90, clock));
    assert_eq!(told(&pass(&mut world, 0, &probe)), [(WEST.0, SYN, (first, cookie))]);
    assert_eq!(pass(&mut world, 0, &challenge).len(), 2);
    // What acknowledges the SYN alone says that it is on its way.
    assert_eq!(pass(&mut world, 0, &server(1, ACK, (SERVER, first + 1))), []);
    let both = pass(&mut world, 0, &server(1, SYN | ACK, (9_000, first + 1)));
    assert_eq!(both.len(), 2);
    let page = Packet::segment((BOB, 80), (ALICE, 1), ACK, (9_001, first + 1), b"page");
    let heard = told(&pass(&mut world, 0, &page));
    assert_eq!(heard, [(EAST.0, ACK, (cookie.wrapping_add(1), first + 1))]);
    world.shut_down();
}

/// A connection of the same ports that is not proxied any more.
#[test]
fn a_connection_without_proxy_may_take_the_place_of_one_with() {
    let mut world = world(Sizes::ONE);
    connect(&mut world, 1, CLIENT);
    world.raw(&["-F"]);
    let next = CLIENT + (1 << 24);
    let begun = told(&pass(&mut world, 0, &client(1, SYN, (next, 0))));
    assert_eq!(begun, [(WEST.0, SYN, (next, 0))]);
    let answered = told(&pass(&mut world, 0, &server(1, SYN | ACK, (5, next + 1))));
    assert_eq!(answered, [(EAST.0, SYN | ACK, (5, next + 1))]);
    let third = told(&pass(&mut world, 0, &client(1, ACK, (next + 1, 6))));
    assert_eq!(third, [(WEST.0, ACK, (next + 1, 6))]);
    world.shut_down();
}

/// The client has heard that its window is closed, and asks whether that is still so. Whatever became of the SYN that
/// the server was sent, it is sent once more.
#[test]
fn a_client_that_waits_has_the_server_asked_again() {
    let mut world = world(Sizes::ONE);
    let mss = [2, 4, 5, 180];
    let left = pass(&mut world, 0, &with_options(client(1, SYN, (CLIENT, 0)), &mss));
    let cookie = numbers(&left[0].1).0;
    let asked = pass(&mut world, 0, &client(1, ACK, (CLIENT + 1, cookie + 1)));
    assert_eq!(told(&asked), [(WEST.0, SYN, (CLIENT, cookie))]);
    assert_eq!(asked[0].1[54..58], mss);
    let waits = client(1, ACK, (CLIENT, cookie + 1));
    assert_eq!(pass(&mut world, 0, &waits), asked);
    // Also if the flow is there no more.
    crate::flow_oracle::forget(&mut world, 1);
    assert_eq!(pass(&mut world, 0, &waits), asked);
    assert_eq!(pass(&mut world, 0, &server(1, SYN | ACK, (SERVER, CLIENT + 1))).len(), 2);
    let counters = world.counters();
    assert_eq!(counters.get(Counter::SynproxyCookiesRepeated), 1);
    assert_eq!(counters.get(Counter::SynproxyConnections), 1);
    world.shut_down();
}

/// A client's segment with timestamps.
fn stamped(port: u16, flags: u8, numbers: (u32, u32), (value, echo): (u32, u32)) -> Packet {
    let option = [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat();
    with_options(client(port, flags, numbers), &option)
}

/// A segment with these options, whole words of them.
fn with_options(mut segment: Packet, options: &[u8]) -> Packet {
    segment.payload[12] += u8::try_from(options.len() / 4).expect("few") << 4;
    segment.payload.splice(20..20, options.iter().copied());
    segment.with_right_checksum()
}
