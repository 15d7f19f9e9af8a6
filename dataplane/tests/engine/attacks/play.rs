//! One attack on one rung: a flood, users and a server around the firewall, in virtual time.

use std::net::Ipv4Addr;

use weir_dataplane::conntrack::{Settings, TcpState};
use weir_dataplane::port::PortIndex;
use weir_dataplane::route::{Forwarding, Target};

use crate::attacks::flood::{Attack, BEGINS_NS, ENDS_NS, Flood};
use crate::attacks::rung::Rung;
use crate::attacks::segment::Segment;
use crate::attacks::server::Server;
use crate::attacks::users::{Group, Users};
use crate::attacks::{ENDS_ALL_NS, STEP_NS};
use crate::packet::Packet;
use crate::world::*;

/// Flows that there is room for.
const FLOWS: u32 = 2048;
/// Half-open ones among them.
const HALF_OPEN: u32 = 1024;
/// How long a connection tracker remembers a SYN that nobody answers, and one that nobody acknowledges; shorter than by
/// default, so that a play sees their end.
pub(crate) const HALF_OPEN_S: u32 = 6;

/// What became of everybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Of a hundred users of each group who came during the attack: served in the end, and at once.
    pub(crate) served: [(usize, usize); 3],
    /// For how long after an attack, or a pulse of it, SYNs of users were lost in the firewall.
    pub(crate) locked_out_ns: u64,
    /// Of a thousand SYNs of the attack, those that came to the server.
    pub(crate) passed_permille: u64,
    /// The most flows at any time before the attack, and from its beginning on.
    pub(crate) flows: [usize; 2],
}

struct Street {
    world: World,
    users: Users,
    flood: Flood,
    server: Server,
    /// SYNs of the attack that came to the server.
    passed: u64,
}

/// The attackers and users behind a router at one port, the server at the other.
fn network_of_all() -> Forwarding {
    let everybody = Target::Forward { port: EAST, gateway: Some(ALICE), mtu: None, source: None };
    network().route(Ipv4Addr::UNSPECIFIED, 0, everybody).build()
}

impl Street {
    fn new(rung: Rung, attack: Attack, seed: u64) -> Self {
        let sizes = Sizes {
            flows: FLOWS,
            half_open: HALF_OPEN,
            synproxy: rung.proxies(),
            seed,
            ..Sizes::ONE
        };
        let mut settings = Settings { tcp_loose: !rung.proxies(), ..Settings::default() };
        for state in [TcpState::SynSent, TcpState::SynRecv, TcpState::SynSent2] {
            settings.tcp_timeouts_s[state as usize] = HALF_OPEN_S;
        }
        let mut world = World::with(sizes, network_of_all(), sizes.tables(settings));
        rung.raw().iter().for_each(|line| _ = world.raw(&[line]));
        rung.filter().iter().for_each(|line| _ = world.rules(&[line]));
        let (users, flood) = (Users::new(seed), Flood::new(attack, seed));
        Self { world, users, flood, server: Server::default(), passed: 0 }
    }

    /// Puts packets on the wire of a port, and whatever is said to what leaves, until nobody says anything more.
    fn talk(&mut self, said: Vec<(PortIndex, Packet)>) {
        let (mut said, now_ns) = (said, self.world.now_ns);
        while !said.is_empty() {
            for (port, packet) in &said {
                self.world.inject(0, *port, packet.frame(mac(*port), host_mac(packet.source)));
            }
            self.world.settle();
            said.clear();
            for (port, frame) in self.world.left_by_port() {
                let heard = Segment::read(&frame).expect("TCP alone is sent here");
                if port == WEST {
                    self.passed += u64::from(Flood::is_syn_of(&heard));
                    self.users.is_served(heard.from, now_ns);
                    let answers = self.server.hear(&heard, now_ns);
                    said.extend(answers.into_iter().map(|packet| (WEST, packet)));
                } else {
                    let answers = self.users.hear(&heard, now_ns).into_iter();
                    said.extend(
                        answers.chain(self.flood.hear(&heard)).map(|packet| (EAST, packet)),
                    );
                }
            }
        }
    }

    fn step(&mut self) {
        let now_ns = self.world.now_ns;
        let users = self.users.wait(now_ns);
        let mut east = self.flood.wait(now_ns);
        // Users among the flood, not before it.
        let middle = east.len() / 2;
        east.splice(middle..middle, users);
        let east = east.into_iter().map(|packet| (EAST, packet));
        let west = self.server.wait(now_ns).into_iter().map(|packet| (WEST, packet));
        self.talk(east.chain(west).collect());
        self.world.now_ns += STEP_NS;
    }
}

/// Plays it to its end.
pub(crate) fn play(rung: Rung, attack: Attack, seed: u64) -> Outcome {
    let mut street = Street::new(rung, attack, seed);
    let mut flows = [0; 2];
    street.world.now_ns = STEP_NS;
    while street.world.now_ns < ENDS_ALL_NS {
        street.step();
        let kept = street.world.engine(0).conntrack().len();
        let now = usize::from(street.world.now_ns >= BEGINS_NS);
        flows[now] = flows[now].max(kept);
        // Whatever the rung: what it throws away costs no flow.
        let let_in = street.users.came() + usize::try_from(street.passed).expect("few");
        assert!(kept <= let_in, "{kept} flows of {let_in} that passed");
    }
    let users = &street.users;
    let served = Group::ALL.map(|group| users.served_percent(group, &(BEGINS_NS..ENDS_NS)));
    let times = attack.times_ns();
    let ends = times.iter().enumerate().map(|(n, pulse)| {
        let next = times.get(n + 1).map_or(ENDS_ALL_NS, |next| next.start);
        users.locked_out_ns(&(pulse.end..next))
    });
    let outcome = Outcome {
        served,
        locked_out_ns: ends.max().unwrap_or(0),
        passed_permille: street.passed * 1000 / street.flood.sent().max(1),
        flows,
    };
    street.world.shut_down();
    outcome
}
