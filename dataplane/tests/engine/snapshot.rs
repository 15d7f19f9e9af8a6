//! Flows that go on in another process: another seed of the hash, other workers, another clock.

use std::io::Cursor;
use std::net::Ipv4Addr;

use weir_dataplane::conntrack::snapshot::{self, Header};
use weir_dataplane::conntrack::{Conntrack, Settings, TcpState};
use weir_dataplane::telemetry::Counter;

use crate::packet::{ACK, FIN, Packet, SYN};
use crate::world::*;

const SERVER: (Ipv4Addr, u16) = (BOB, 80);
const CLIENTS: u16 = 40;

fn strict() -> Settings {
    Settings { tcp_loose: false, ..Settings::default() }
}

const RULES: [&str; 3] = [
    "-P FORWARD DROP",
    "-A FORWARD -m state --state ESTABLISHED -j ACCEPT",
    "-A FORWARD -p tcp --syn -m state --state NEW -j ACCEPT",
];

fn passes(world: &mut World, packet: &Packet) -> bool {
    let port = if packet.source == ALICE { EAST } else { WEST };
    // By a queue of any worker: the hash decides whose it is.
    let worker = usize::from(packet.payload[1]) % world.engines.len();
    world.inject_packet(worker, port, packet);
    world.settle();
    !world.left().is_empty()
}

fn from_client(client: u16, flags: u8, numbers: (u32, u32), data: &[u8]) -> Packet {
    Packet::segment((ALICE, 40_000 + client), SERVER, flags, numbers, data)
}

fn from_server(client: u16, flags: u8, numbers: (u32, u32), data: &[u8]) -> Packet {
    Packet::segment(SERVER, (ALICE, 40_000 + client), flags, numbers, data)
}

/// A world in which everybody is connected, written down at its end.
fn lived(sizes: Sizes) -> Vec<u8> {
    let mut world = World::with(sizes, network().build(), sizes.tables(strict()));
    world.rules(&RULES);
    for client in 0..CLIENTS {
        assert!(passes(&mut world, &from_client(client, SYN, (100, 0), b"")));
        assert!(passes(&mut world, &from_server(client, SYN | ACK, (500, 101), b"")));
        assert!(passes(&mut world, &from_client(client, ACK, (101, 501), b"GET /")));
    }
    let engines: Vec<_> = world.engines.iter_mut().filter_map(Option::take).collect();
    let (mut pools, tables): (Vec<_>, Vec<_>) = engines
        .into_iter()
        .map(|engine| engine.shut_down())
        .map(|remains| (remains.pool, remains.conntrack))
        .unzip();
    pools.iter_mut().for_each(|pool| pool.collect_returns());
    let frames: usize = pools.iter().map(|pool| pool.available()).sum();
    assert_eq!(frames, sizes.chunks as usize, "the flows keep no frame");
    let mut bytes = Vec::new();
    let tables: Vec<&Conntrack> = tables.iter().collect();
    let flows = snapshot::write(&mut bytes, 5000, &tables).expect("written");
    assert_eq!(flows, u64::from(CLIENTS));
    bytes
}

/// A world that begins with those flows.
fn revived(sizes: Sizes, bytes: &[u8]) -> World {
    let mut tables = sizes.tables(strict());
    let hash = sizes.flow_hash();
    let read = snapshot::read(&mut Cursor::new(bytes), &mut |_, record| {
        tables[hash.worker(&record.tuple())].import(record, 2000).expect("room");
    });
    assert_eq!(read.expect("right"), Header { flows: CLIENTS.into(), taken_ms: 5000 });
    World::with(sizes, network().build(), tables)
}

fn goes_on(mut world: World) {
    // Nobody has given rules yet, and segments move the windows already: some by more than two of them.
    let sent = |client| if client % 8 == 0 { 200_000 } else { 1000 };
    for client in 0..CLIENTS {
        for at in (0..sent(client)).step_by(1000) {
            assert!(passes(&mut world, &from_server(client, ACK, (501 + at, 106), &[b'!'; 1000])));
            assert!(passes(&mut world, &from_client(client, ACK, (106, 1501 + at), b"")));
        }
    }
    world.rules(&RULES);
    let stranger = from_client(CLIENTS, ACK, (101, 501), b"");
    assert!(!passes(&mut world, &stranger), "no connection is taken up in its middle");
    for client in 0..CLIENTS {
        let next = 501 + sent(client);
        assert!(passes(&mut world, &from_server(client, ACK, (next, 106), b"more")));
        let lost = from_client(client, ACK, (2_000_000_000, next + 4), b"");
        assert!(!passes(&mut world, &lost), "its windows are known");
        assert!(passes(&mut world, &from_client(client, FIN | ACK, (106, next + 4), b"")));
    }
    let mut states = Vec::new();
    for worker in 0..world.engines.len() {
        let conntrack = world.engine(worker).conntrack();
        assert!(!conntrack.is_empty(), "spread over the workers");
        conntrack.scan(0, u32::MAX, &mut |_, view| states.push((view.tcp_state, view.assured)));
    }
    assert_eq!(states, [(Some(TcpState::FinWait), true); CLIENTS as usize]);
    world.shut_down();
}

#[test]
fn connections_go_on_under_another_hash_on_more_workers() {
    let bytes = lived(Sizes::ONE);
    goes_on(revived(Sizes { seed: 77, ..Sizes::TWO }, &bytes));
}

#[test]
fn connections_go_on_under_another_hash_on_fewer_workers() {
    let bytes = lived(Sizes::TWO);
    goes_on(revived(Sizes { seed: 78, ..Sizes::ONE }, &bytes));
}

#[test]
fn without_a_snapshot_they_do_not() {
    let sizes = Sizes { seed: 77, ..Sizes::TWO };
    let mut world = World::with(sizes, network().build(), sizes.tables(strict()));
    world.rules(&RULES);
    assert!(!passes(&mut world, &from_server(0, ACK, (501, 106), b"!")));
    assert_eq!(world.counters().get(Counter::Transmitted), 0);
    world.shut_down();
}
