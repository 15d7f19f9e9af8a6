//! What every command that sends by two sides is told: the sides, and how.

use af_xdp::ModeChoice;
use clap::Args;
use weir_dataplane::wire::MacAddr;

use crate::engine::{Choice, Idle, Options, Ports, SEED, Sides};
use crate::environment;
use crate::error::Error;
use crate::profile::{Profile, Side};

#[derive(Clone, Debug, Args)]
pub(crate) struct SideOptions {
    /// Interface of attackers and users.
    #[arg(long, value_name = "IF")]
    pub(crate) left: String,
    /// Interface of the server.
    #[arg(long, value_name = "IF")]
    pub(crate) right: String,
    /// MAC address of the next hop on the left [default: that of the interface on the right].
    #[arg(long, value_name = "MAC")]
    pub(crate) left_mac: Option<MacAddr>,
    /// MAC address of the next hop on the right [default: that of the interface on the left].
    #[arg(long, value_name = "MAC")]
    pub(crate) right_mac: Option<MacAddr>,
    /// Seed of everything that is drawn at random.
    #[arg(long, value_name = "N", default_value_t = SEED)]
    pub(crate) seed: u64,
    /// Threads; each needs a queue of either interface.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) threads: u16,
    /// Cores for the threads, as in 0,2.
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
    /// Sleep when nothing is due, instead of keeping a core busy. Wake-ups show in latencies.
    #[arg(long)]
    pub(crate) sleep: bool,
    /// How packets reach the devices: auto, zero-copy, copy or skb.
    #[arg(long, default_value_t = ModeChoice::Auto)]
    pub(crate) mode: ModeChoice,
    /// What sends streams: AF_XDP sockets, live frames of the kernel, or the latter for floods where possible.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: Choice,
    /// Use this interface even if it holds the default route: its name, once more.
    #[arg(long, value_name = "IF")]
    pub(crate) allow_default_route: Vec<String>,
    /// What results call the run [default: the profile's name].
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
}

impl SideOptions {
    /// Opens the interfaces.
    pub(crate) fn open(&self) -> Result<Ports, Error> {
        Ports::open(&Sides {
            interfaces: [self.left.clone(), self.right.clone()],
            next_hops: [self.left_mac, self.right_mac],
            mode: self.mode,
            threads: usize::from(self.threads),
            allow_default_route: self.allow_default_route.clone(),
        })
    }

    /// Says on standard error why floods did not go by live frames, if that was tried.
    pub(crate) fn explain(&self, ports: &Ports) {
        for refusal in Side::BOTH.into_iter().filter_map(|side| ports.live_refusal(side)) {
            eprintln!("weirgen: sent by sockets instead: {refusal}");
        }
    }

    /// How runs are done.
    pub(crate) fn run_options(&self, profile: &Profile) -> Options {
        Options {
            seed: self.seed,
            label: self.label.clone().unwrap_or_else(|| profile.name.clone()),
            command: std::env::args().collect(),
            environment: environment::read(Vec::new()),
            cores: self.cores.clone(),
            idle: if self.sleep { Idle::Sleep } else { Idle::Spin },
            engine: self.engine,
        }
    }

    /// Says what will be sent, and where, on standard error. Without `rates` they vary.
    pub(crate) fn announce(&self, profile: &Profile, ports: &Ports, rates: bool) {
        for side in Side::BOTH {
            let [own, next_hop] = ports.macs[side.index()];
            let name = [&self.left, &self.right][side.index()];
            for stream in profile.streams.iter().filter(|stream| stream.from == side) {
                let rate = match stream.schedule.mean_pps(profile.duration_ns) {
                    _ if !rates => "at many rates".to_owned(),
                    Some(pps) => format!("{pps:.0} a second"),
                    None => "as fast as they go".to_owned(),
                };
                eprintln!("weirgen: {name} {own} -> {next_hop}: {}: {stream}, {rate}", stream.name);
            }
        }
        if let Some(users) = &profile.users {
            let (left, right) = (&self.left, &self.right);
            eprintln!("weirgen: {left} <-> {right}: users: {} connections a second", users.rate);
        }
    }
}
