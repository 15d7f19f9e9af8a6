//! That users allocate nothing once they are made, whatever happens to them.
//!
//! A target of its own, because the allocator that counts is the whole program's.

use weir_dataplane::wire::MacAddr;
use weir_loadgen::users::{Actor, Clients, Link, Server, UsersConfig};

/// Frames on their way, at most.
const WAY: usize = 256;

/// A way of fixed size that loses every `lossy`-th frame, and what finds no room.
struct Way {
    frames: Vec<(usize, [u8; 2_048])>,
    count: usize,
    lossy: usize,
}

impl Way {
    fn carry(&mut self, now_ns: u64, from: &mut dyn Actor, to: &mut dyn Actor) {
        let mut used = 0;
        while let Some((length, frame)) = self.frames.get_mut(used)
            && let Some(written) = from.send(now_ns, frame)
        {
            *length = written;
            used += 1;
        }
        for (length, frame) in &self.frames[..used] {
            self.count += 1;
            if !self.count.is_multiple_of(self.lossy) && to.owns(&frame[..*length]) {
                to.receive(now_ns, &frame[..*length]);
            }
        }
    }
}

#[test]
fn a_run_allocates_nothing() {
    let text = "rate = 2000\nclients = '198.18.0.0/24'\nservers = '198.19.0.2'\nbacklog = 64\nconnections_max = 1024\n\
                patience_s = 3\nclient_ports = '1000-1020'\ncloses_first = 'client'\n\
                shared_address = '198.18.1.1'\nshared_share = 0.5\ntcp.time_wait_s = 1";
    let settings =
        toml::from_str::<UsersConfig>(text).expect("settings").check().expect("settings");
    let link = Link {
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        destination: MacAddr([2, 0, 0, 0, 0, 2]),
        tag: None,
    };
    let mut clients = Clients::new(&settings, link, 1);
    let mut server = Server::new(&settings, link, 1);
    let mut way = Way { frames: vec![(0, [0; 2_048]); WAY], count: 0, lossy: 7 };
    let counted = allocation_counter::measure(|| {
        clients.begin(0);
        for turn in 0..20_000_u64 {
            let now_ns = turn * 500_000;
            way.carry(now_ns, &mut clients, &mut server);
            way.carry(now_ns, &mut server, &mut clients);
            if turn == 10_000 {
                clients.wind_down(now_ns);
            }
        }
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    let (ends, seen) = (clients.ends(), server.result());
    // It was no easy life: ports ran out, the backlog was full, segments were repeated.
    assert!(
        ends.completed > 1_000 && ends.not_begun > 100 && seen.cookies_sent > 0,
        "{ends:?} {seen:?}"
    );
    let mut result = weir_loadgen::result::UsersResult::default();
    server.tell(&mut result);
    assert!(result.server_retransmissions > 100, "{result:?}");
}
