//! Two ends, a way between them, and a clock that leaps from event to event.

use weir_dataplane::wire::MacAddr;

use super::middlebox::Middlebox;
use crate::result::UsersResult;
use crate::users::arrivals::Spacing;
use crate::users::frame::Link;
use crate::users::pipe::{Pipe, Weather};
use crate::users::{Actor, Clients, Server, Settings, UsersConfig};

/// What tests begin with: 200 connections a second, a fifth of them from one address.
pub(super) fn config() -> UsersConfig {
    let text = r#"
        rate = 200.0
        clients = "198.18.0.0/24"
        shared_address = "198.18.1.1"
        shared_share = 0.2
        servers = "198.19.0.2"
        connections_max = 4096
    "#;
    let mut config: UsersConfig = toml::from_str(text).expect("a configuration");
    config.spacing = Spacing::Poisson;
    config
}

pub(super) struct World {
    pub(super) clients: Clients,
    pub(super) server: Server,
    pub(super) settings: Settings,
    /// From then on nothing arrives.
    pub(super) dies_at_ns: Option<u64>,
    pipe: Pipe<Vec<u8>>,
}

/// The world's clock does not begin at 0.
const START_NS: u64 = 123_456_789;

impl World {
    pub(super) fn new(settings: &Settings, weather: Weather, seed: u64) -> Self {
        let link = Link {
            source: MacAddr([2, 0, 0, 0, 0, 1]),
            destination: MacAddr([2, 0, 0, 0, 0, 2]),
            tag: None,
        };
        Self {
            clients: Clients::new(settings, link, seed),
            server: Server::new(settings, link, seed),
            settings: settings.clone(),
            dies_at_ns: None,
            pipe: Pipe::new(weather, seed),
        }
    }

    /// What both ends tell.
    pub(super) fn result(&self) -> UsersResult {
        let mut result = UsersResult::default();
        self.clients.tell(&mut result);
        self.server.tell(&mut result);
        result
    }

    /// Plays for so long, then until all is over; returns how long that took.
    pub(super) fn play(&mut self, middlebox: &mut dyn Middlebox, duration_ns: u64) -> u64 {
        let mut now_ns = START_NS;
        let mut buffer = [0; 2_048];
        self.clients.begin(now_ns);
        self.server.begin(now_ns);
        for _ in 0..3_000_000 {
            let dead = self.dies_at_ns.is_some_and(|at_ns| now_ns >= START_NS + at_ns);
            if now_ns > START_NS + duration_ns {
                self.clients.wind_down(now_ns);
            }
            let ends: [(&mut dyn Actor, bool); 2] =
                [(&mut self.clients, true), (&mut self.server, false)];
            for (actor, to_right) in ends {
                while let Some(length) = actor.send(now_ns, &mut buffer) {
                    for (to_right, frame) in middlebox.pass(to_right, &buffer[..length]) {
                        self.pipe.put(now_ns, to_right, &frame);
                    }
                }
            }
            let due = [self.clients.due_ns(), self.server.due_ns(), self.pipe.due_ns()];
            let Some(due_ns) = due.into_iter().flatten().min() else { return now_ns - START_NS };
            now_ns = now_ns.max(due_ns);
            while let Some((to_right, frame)) = self.pipe.take(now_ns) {
                let actor: &mut dyn Actor =
                    if to_right { &mut self.server } else { &mut self.clients };
                assert!(actor.owns(&frame), "a frame of nobody");
                if !dead {
                    actor.receive(now_ns, &frame);
                }
            }
        }
        panic!("it does not end: {:?}", self.clients.ends());
    }
}
