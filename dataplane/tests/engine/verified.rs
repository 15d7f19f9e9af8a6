//! Sources that have completed a handshake, and rules that hold back all others: over whole connections, and with
//! several workers. The arithmetic is for the tests of `weir_dataplane::limit`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use weir_control::rule::Family;
use weir_dataplane::conntrack::Settings;
use weir_dataplane::limit::jiffies;
use weir_dataplane::limit::kept::TableKey;
use weir_dataplane::limit::verified::{VERIFIED, Verified};
use weir_dataplane::telemetry::Counter;

use crate::chance::Chance;
use crate::packet::{ACK, FIN, Packet, SYN};
use crate::six::{ALICE6, BOB6, Packet6, network6};
use crate::world::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// Nets 12:40 and 48:160 packets a second, destination 192:640.
const LIMIT: &str =
    "-A FORWARD -p tcp --syn -m fuzzy --lower-limit 3 --upper-limit 10 --fuzzy-unverified -j DROP";

/// What chance begins with: printed, so that a failure can be played again.
fn seed() -> u64 {
    let asked = std::env::var("WEIR_VERIFIED_SEED");
    let seed = asked.map_or(0x5eed, |text| text.parse().expect("a number"));
    println!("WEIR_VERIFIED_SEED={seed}");
    seed
}

fn client(port: u16, flags: u8, (seq, ack): (u32, u32)) -> Packet {
    Packet::segment((ALICE, port), (BOB, 80), flags, (seq, ack), b"")
}

fn server(port: u16, flags: u8, (seq, ack): (u32, u32)) -> Packet {
    Packet::segment((BOB, 80), (ALICE, port), flags, (seq, ack), b"")
}

/// Sends a packet; the frames that leave, with their ports.
fn send(world: &mut World, worker: usize, packet: &Packet) -> Vec<(u8, Vec<u8>)> {
    let port = if packet.source == BOB { WEST } else { EAST };
    world.inject_packet(worker, port, packet);
    world.settle();
    world.left_by_port().into_iter().map(|(port, frame)| (port.0, frame)).collect()
}

fn verified(world: &World) -> Option<Arc<Verified>> {
    verified_of(world, Family::V4)
}

fn verified_of(world: &World, family: Family) -> Option<Arc<Verified>> {
    let key = TableKey { of: VERIFIED, family: Some(family), name: String::new() };
    world.tables().find(&key)
}

fn knows(world: &World, source: Ipv4Addr) -> bool {
    verified(world).expect("a rule asks").knows4(source, jiffies(world.now_ns))
}

/// A handshake whose last segment acknowledges this.
fn shake_hands(world: &mut World, worker: usize, port: u16, last: u32) {
    for packet in [
        client(port, SYN, (100, 0)),
        server(port, SYN | ACK, (500, 101)),
        client(port, ACK, (101, last)),
    ] {
        assert_eq!(send(world, worker, &packet).len(), 1, "{packet:?}");
    }
}

/// A SYN from anywhere; none of these has a route back.
fn forged(chance: &mut Chance) -> Packet {
    let [a, b, c] = [(); 3].map(|()| u8::try_from(chance.below(256)).expect("a byte"));
    Packet::segment((Ipv4Addr::new(11, a, b, c), 1024), (BOB, 80), SYN, (7, 0), b"")
}

/// So many seconds of 4,000 forged SYNs a second, with a SYN of `visitor` ten times a second; how many of each leave
/// towards the server, but for those of the first tenth of a second.
fn flood(
    world: &mut World,
    chance: &mut Chance,
    seconds: u64,
    visitor: impl Fn(u16) -> Packet,
) -> (usize, usize) {
    let (mut of_flood, mut of_visitor) = (0, 0);
    for ms in 0..seconds * 1000 {
        for _ in 0..4 {
            let packet = forged(chance);
            world.inject_packet(0, EAST, &packet);
        }
        world.settle();
        let passed = world.left().iter().filter(|sent| sent.port == WEST).count();
        of_flood += if ms < 200 { 0 } else { passed };
        if ms % 100 == 50 && ms >= 200 {
            let port = u16::try_from(1000 + ms / 100).expect("few");
            let left = send(world, 0, &visitor(port));
            of_visitor += left.iter().filter(|(port, _)| *port == WEST.0).count();
        }
        world.now_ns += MS;
    }
    (of_flood, of_visitor)
}

#[test]
fn the_clients_acknowledgment_verifies_it_and_nothing_before_or_less_does() {
    let mut world = World::new(Sizes::ONE);
    assert!(verified(&world).is_none());
    world.rules(&[LIMIT]);
    for packet in [client(1, SYN, (100, 0)), server(1, SYN | ACK, (500, 101))] {
        send(&mut world, 0, &packet);
        assert!(!knows(&world, ALICE));
    }
    send(&mut world, 0, &client(1, ACK, (101, 501)));
    assert!(knows(&world, ALICE) && !knows(&world, BOB));
    world.now_ns += 86_401 * S;
    assert!(!knows(&world, ALICE), "after a day");
    // One of the 66,000 numbers that make a connection established.
    shake_hands(&mut world, 0, 2, 500);
    assert!(!knows(&world, ALICE));
    send(&mut world, 0, &client(2, ACK, (101, 501)));
    assert!(!knows(&world, ALICE), "there is no second guess");
    // Picked up in the middle, and answered.
    send(&mut world, 0, &client(3, ACK, (900, 800)));
    send(&mut world, 0, &server(3, ACK, (800, 900)));
    send(&mut world, 0, &client(3, ACK, (900, 800)));
    assert!(!knows(&world, ALICE));
    // Closed before it was open.
    send(&mut world, 0, &client(4, SYN, (100, 0)));
    send(&mut world, 0, &server(4, SYN | ACK, (500, 101)));
    send(&mut world, 0, &client(4, FIN | ACK, (101, 501)));
    assert!(!knows(&world, ALICE));
    shake_hands(&mut world, 0, 5, 501);
    assert!(knows(&world, ALICE));
    world.shut_down();
}

#[test]
fn of_ipv6_the_net_of_a_client_is_verified() {
    let mut world = World::over(Sizes { flows6: 512, ..Sizes::ONE }, network6());
    world.rules6(&[LIMIT]);
    let segment = |flags, numbers: (u32, u32)| {
        let (client, server) = ((ALICE6, 1024), (BOB6, 80));
        let (from, to) =
            if flags & ACK != 0 && flags & SYN != 0 { (server, client) } else { (client, server) };
        let mut packet = Packet6::tcp(from, to, flags, b"");
        let numbers = [numbers.0, numbers.1].map(u32::to_be_bytes).concat();
        packet.payload[4..12].copy_from_slice(&numbers);
        packet.resummed(16)
    };
    let known = |world: &World, address: Ipv6Addr| {
        let verified = verified_of(world, Family::V6).expect("a rule asks");
        verified.knows6(address, jiffies(world.now_ns))
    };
    for (flags, numbers) in [(SYN, (100, 0)), (SYN | ACK, (500, 101)), (ACK, (101, 501))] {
        assert!(!known(&world, ALICE6));
        let port = if flags == SYN | ACK { WEST } else { EAST };
        world.inject(0, port, segment(flags, numbers).frame(mac(port), host_mac(ALICE)));
        world.settle();
        assert_eq!(world.left().len(), 1);
    }
    let neighbour = Ipv6Addr::from_bits(ALICE6.to_bits() ^ 0xffff);
    assert!(known(&world, ALICE6) && known(&world, neighbour) && !known(&world, BOB6));
    assert!(verified(&world).is_none(), "of IPv4 nobody asks");
    world.shut_down();
}

#[test]
fn a_flood_of_forged_sources_holds_back_strangers_as_well() {
    let (mut world, mut chance) = (World::new(Sizes::ONE), Chance::new(seed()));
    world.rules(&["-A FORWARD -m state --state ESTABLISHED -j ACCEPT", LIMIT]);
    let visitor = |port| client(port, SYN, (100, 0));
    let stranger = flood(&mut world, &mut chance, 2, visitor);
    assert!(stranger.0 < 200 && stranger.1 <= 4, "of 7,200 and 18: {stranger:?}");
    // In peace he comes in and is known from then on.
    world.now_ns += 10 * S;
    shake_hands(&mut world, 0, 1, 501);
    assert!(knows(&world, ALICE));
    world.shut_down();
}

#[test]
fn a_reader_who_is_verified_is_served_beside_a_flood() {
    let (mut world, mut chance) = (World::new(Sizes::ONE), Chance::new(seed()));
    let rule = LIMIT.replace("limit 3", "limit 20").replace("limit 10", "limit 100");
    let rule = rule.replace("--fuzzy-unverified", "--fuzzy-net 12:40 --fuzzy-dst 192:640");
    world.rules(&["-A FORWARD -m state --state ESTABLISHED -j ACCEPT", &rule]);
    shake_hands(&mut world, 0, 1, 501);
    world.now_ns += S;
    let reader = flood(&mut world, &mut chance, 3, |port| client(port, SYN, (100, 0)));
    assert!(reader.0 < 300, "of 11,200: {reader:?}");
    assert_eq!(reader.1, 28, "all of them");
    // Whatever else changes, he is still known.
    world.rules(&["-A FORWARD -p udp -j DROP", &rule]);
    world.rules(&["-D FORWARD 2"]);
    assert!(knows(&world, ALICE));
    world.rules(&["-F"]);
    assert!(verified(&world).is_none(), "nobody asks any more");
    world.shut_down();
}

/// As the module of `limit::unverified` says: proof is asked of strangers while there is a flood, and only then.
#[test]
fn with_synproxy_a_stranger_shows_that_he_is_real_in_the_midst_of_a_flood() {
    let sizes = Sizes { synproxy: true, ..Sizes::ONE };
    let settings = Settings { tcp_loose: false, ..Settings::default() };
    let mut world = World::with(sizes, network().build(), sizes.tables(settings));
    world.rules(&[
        "-A FORWARD -m state --state ESTABLISHED -j ACCEPT",
        &LIMIT.replace("-j DROP", "-j SYNPROXY --mss 1460"),
        "-A FORWARD -p tcp -m state --state INVALID -j SYNPROXY --mss 1460",
    ]);
    // In peace the server answers.
    assert_eq!(send(&mut world, 0, &client(1, SYN, (100, 0)))[0].0, WEST.0);
    assert_eq!(world.counters().get(Counter::SynproxySyns), 0);
    let mut chance = Chance::new(seed());
    flood(&mut world, &mut chance, 1, |port| client(port, SYN, (100, 0)));
    let asked = world.counters().get(Counter::SynproxySyns);
    assert!(asked > 3_000, "{asked}");
    // He is asked by a cookie, acknowledges it, and then the server is.
    let word =
        |frame: &[u8], at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("4"));
    let mut port = 5000;
    let cookie = loop {
        port += 1;
        let left = send(&mut world, 0, &client(port, SYN, (100, 0)));
        // One of a hundred passes.
        if left[0].0 == EAST.0 {
            break word(&left[0].1, 38);
        }
    };
    assert!(!knows(&world, ALICE));
    let to_server = send(&mut world, 0, &client(port, ACK, (101, cookie.wrapping_add(1))));
    assert_eq!((to_server[0].0, word(&to_server[0].1, 38)), (WEST.0, 100));
    assert!(!knows(&world, ALICE));
    send(&mut world, 0, &server(port, SYN | ACK, (500, 101)));
    assert!(knows(&world, ALICE));
    // From now on he is not proxied any more, whatever the flood does.
    let before = world.counters().get(Counter::SynproxyConnections);
    let (_, direct) =
        flood(&mut world, &mut chance, 1, |port| client(6000 + port / 1020, SYN, (100, 0)));
    assert!(direct >= 2, "{direct}");
    assert_eq!(world.counters().get(Counter::SynproxyConnections), before);
    world.shut_down();
}

#[test]
fn who_is_verified_on_one_worker_is_so_on_all() {
    let mut world = World::new(Sizes::TWO);
    world.rules(&[LIMIT]);
    shake_hands(&mut world, 0, 1, 501);
    assert!(knows(&world, ALICE));
    // Who holds what, of both workers' packets: sixteen connections at once are within the first window.
    let passed: usize = (10..30)
        .map(|port| send(&mut world, usize::from(port % 2), &client(port, SYN, (1, 0))).len())
        .sum();
    assert_eq!(passed, 16);
    world.now_ns += 200 * MS;
    let passed: usize = (30..60)
        .map(|port| send(&mut world, usize::from(port % 2), &client(port, SYN, (1, 0))).len())
        .sum();
    assert!(passed <= 3, "the controller of the one source, for both: {passed}");
    world.shut_down();
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let mut world = World::new(Sizes::ONE);
    let many = vec![LIMIT; 19];
    let error = world.refused(&many);
    assert!(
        error.contains("rule 19 of chain FORWARD") && error.contains("2097152 keys"),
        "{error}"
    );
    world.shut_down();
}
