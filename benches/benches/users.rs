//! The users of `weirgen` in memory: connections a second of one core, at each end.
//!
//! ```text
//!   cargo bench -p weir-benches --bench users
//! ```
//!
//! Whole connections: handshake, a request of 100 bytes, an answer of 1,000, close from both sides; seven segments.
//! Time is the thread's own. Frames are written and read, checksums and contents included; nothing is between the
//! ends but a copy. Nanoseconds a connection, best and median of samples of 4,096 connections, with 1 k to 1 M
//! connections in the server's table (those in TIME-WAIT, which stay for as long as it takes to have so many). The
//! handshake alone is what both ends do until the server has accepted.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use weir_benches::statistics::Summary;
use weir_dataplane::wire::MacAddr;
use weir_loadgen::users::{
    Actor, CLIENT_CONNECTION_BYTES, Clients, Link, SERVER_CONNECTION_BYTES, Server, Settings,
    UsersConfig,
};

const SIZES: [u32; 3] = [1_000, 65_536, 1_000_000];

/// Connections of a sample, samples, and connections that are on their way at once.
const SAMPLE: u64 = 1 << 12;
const SAMPLES: usize = 64;
const BATCH: u64 = 64;

/// Frames on their way at most: a connection has two at once, its client's third segment and its request.
const FRAMES: usize = 256;

/// A connection begins every so many nanoseconds of the virtual clock.
const GAP_NS: u64 = 10_000;

fn main() {
    println!(
        "bytes a connection: client {CLIENT_CONNECTION_BYTES}, server {SERVER_CONNECTION_BYTES}"
    );
    println!("ns a connection, best / median; remembered: server's table");
    SIZES.into_iter().for_each(measure);
}

/// Both ends, the frames on their way, and the time that each end has taken.
struct Bench {
    clients: Clients,
    server: Server,
    now_ns: u64,
    frames: Vec<(usize, [u8; 2_048])>,
    client: Duration,
    server_time: Duration,
    handshake: Duration,
}

fn settings(remembered: u32) -> Settings {
    let seconds = f64::from(remembered) * 1e-9 * GAP_NS as f64;
    let text = format!(
        "rate = {}\nspacing = 'constant'\nclients = '198.18.0.0/16'\nservers = '198.19.0.2'\nrequest_bytes = 100\n\
         response_bytes = 1000\nconnections_max = {}\ntcp.time_wait_s = {seconds}",
        1e9 / GAP_NS as f64,
        remembered + 65_536,
    );
    let config: UsersConfig = toml::from_str(&text).expect("settings");
    config.check().expect("settings")
}

impl Bench {
    fn new(remembered: u32) -> Self {
        let settings = settings(remembered);
        let link = Link {
            source: MacAddr([2, 0, 0, 0, 0, 1]),
            destination: MacAddr([2, 0, 0, 0, 0, 2]),
            tag: None,
        };
        let mut clients = Clients::new(&settings, link, 0x5eed);
        clients.begin(0);
        Self {
            clients,
            server: Server::new(&settings, link, 0x5eed),
            now_ns: 0,
            frames: vec![(0, [0; 2_048]); FRAMES],
            client: Duration::ZERO,
            server_time: Duration::ZERO,
            handshake: Duration::ZERO,
        }
    }

    /// So many connections, from the first segment to the last.
    fn play(&mut self, connections: u64) {
        for _ in 0..connections / BATCH {
            self.now_ns += GAP_NS * BATCH;
            let accepted = self.server.result().accepted + BATCH;
            loop {
                let start = own_time();
                let sent = pass(&mut self.clients, &mut self.frames, self.now_ns);
                let middle = own_time();
                take(&mut self.server, &self.frames[..sent], self.now_ns);
                let answered = pass(&mut self.server, &mut self.frames, self.now_ns);
                let end = own_time();
                take(&mut self.clients, &self.frames[..answered], self.now_ns);
                let client = middle - start + (own_time() - end);
                self.client += client;
                self.server_time += end - middle;
                if self.server.result().accepted < accepted {
                    self.handshake += client + (end - middle);
                }
                if sent + answered == 0 {
                    break;
                }
            }
        }
    }
}

/// Processor time of this thread: what a busy neighbour takes does not count.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time since the start")
}

/// What an end has to send.
fn pass(actor: &mut impl Actor, frames: &mut [(usize, [u8; 2_048])], now_ns: u64) -> usize {
    let mut count = 0;
    while let Some((length, frame)) = frames.get_mut(count)
        && let Some(written) = actor.send(now_ns, frame)
    {
        *length = written;
        count += 1;
    }
    count
}

/// What the other has sent.
fn take(actor: &mut impl Actor, frames: &[(usize, [u8; 2_048])], now_ns: u64) {
    for (length, frame) in frames {
        let frame = &frame[..*length];
        if actor.owns(frame) {
            actor.receive(now_ns, frame);
        }
    }
}

fn measure(remembered: u32) {
    let mut bench = Bench::new(remembered);
    let ends = bench.clients.ends();
    assert_eq!(ends.not_begun, 0);
    // Until as many have entered TIME-WAIT as leave it.
    bench.play(u64::from(remembered) + SAMPLE);
    let mut samples: [Vec<f64>; 3] = Default::default();
    for _ in 0..SAMPLES {
        (bench.client, bench.server_time, bench.handshake) = Default::default();
        bench.play(SAMPLE);
        let each = |time: Duration| time.as_nanos() as f64 / SAMPLE as f64;
        samples[0].push(each(bench.client));
        samples[1].push(each(bench.server_time));
        samples[2].push(each(bench.handshake));
    }
    let ends = bench.clients.ends();
    assert_eq!(
        (ends.completed, ends.not_begun),
        (ends.attempted, 0),
        "a connection was lost in memory"
    );
    let remembered = bench.server.remembered();
    let [client, server, handshake] = samples.map(|samples| {
        let best = samples.iter().copied().fold(f64::INFINITY, f64::min);
        (best, Summary::of(&samples).expect("samples").median)
    });
    println!(
        "{remembered:9} remembered: client {:4.0} / {:4.0}, server {:4.0} / {:4.0}, handshake of both {:4.0} / {:4.0}; \
         {:.2} million connections a second and core of both ends, {:.2} million handshakes",
        client.0,
        client.1,
        server.0,
        server.1,
        handshake.0,
        handshake.1,
        1e3 / (client.1 + server.1),
        1e3 / handshake.1,
    );
}
