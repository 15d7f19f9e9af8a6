//! The packets of floods, as `weirgen` makes them: what it sends is taken down over ports in memory.

use std::sync::Arc;

use af_xdp::{Area, AreaConfig};
use weir_dataplane::frame::{FramePool, Memory};
use weir_dataplane::port::{MemoryPort, PortIndex, Wire};
use weir_dataplane::wire::ethernet::MacAddr;
use weir_loadgen::engine::{Choice, Equipment, Idle, Nothing, Options, Ports, simulate};
use weir_loadgen::environment;
use weir_loadgen::profile::Profile;

use crate::traffic::{DESTINATION, FIREWALL_MAC};

/// Packets of this kind (`kind` of a profile's stream) from half a thousand million sources, at random, to port 80 of
/// the receiver of all benchmarks, where the kind has ports.
///
/// # Panics
/// If there is no such kind, or no memory.
#[must_use]
pub fn flood(kind: &str, packets: usize) -> Arc<[Vec<u8>]> {
    let ports = match kind {
        "icmp-echo" | "fragment-first" | "fragment-later" => "",
        _ => "source_port = { in = \"1024-65535\", order = \"random\" }\ndestination_port = 80\n",
    };
    let text = format!(
        "packets_max = {packets}\nsettle_s = 0\n[[stream]]\nname = \"flood\"\nkind = \"{kind}\"\nexpect = \"either\"\n\
         rate = \"flood\"\nsource = {{ in = \"64.0.0.0/3\", order = \"random\" }}\ndestination = \"{DESTINATION}\"\n{ports}"
    );
    let folder = std::path::Path::new(".");
    let profile = Profile::parse("flood", "flood.toml", &text, folder)
        .unwrap_or_else(|error| panic!("{error}"));
    let wire = Wire::default();
    let mut taken = Vec::with_capacity(packets);
    let result = simulate(&profile, &mut memory_ports(&wire), &options(), 1_000, &mut |_| {
        taken.extend(wire.take_sent());
    });
    result.expect("it runs");
    taken.extend(wire.take_sent());
    assert_eq!(taken.len(), packets, "what was asked for is sent");
    taken.into()
}

/// Ports of one thread; what it sends by the first goes to `wire`.
fn memory_ports(wire: &Wire) -> Ports {
    const CHUNKS: u32 = 2048;
    let config = AreaConfig { chunk_bytes: 2048, chunks: CHUNKS, huge_pages: false };
    let (_, frames) = Memory::new(Area::new(&config).expect("4 MiB of memory"));
    let pool = FramePool::split(frames, 1).pop().expect("one pool");
    let other = Wire::default();
    let port = |index, wire: &Wire| MemoryPort::new(PortIndex(index), wire.clone(), 512, 256);
    let ports = [vec![Box::new(port(0, wire)) as _], vec![Box::new(port(1, &other)) as _]];
    let macs = [[MacAddr([2, 0, 0, 0, 0, 9]), FIREWALL_MAC]; 2];
    Ports::new(vec![Equipment::new(ports, pool, CHUNKS)], macs, Box::new(Nothing))
}

fn options() -> Options {
    Options {
        seed: 0x5eed,
        label: String::new(),
        command: Vec::new(),
        environment: environment::read(Vec::new()),
        cores: Vec::new(),
        idle: Idle::Spin,
        engine: Choice::Auto,
    }
}
