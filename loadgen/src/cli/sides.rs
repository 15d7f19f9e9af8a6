//! What every command that sends by two sides is told: the sides, and how.

use std::net::IpAddr;
use std::time::Duration;

use af_xdp::ModeChoice;
use clap::Args;
use weir_dataplane::wire::MacAddr;

use crate::address::Address;
use crate::clock::Clock;
use crate::device::own_addresses;
use crate::engine::{Choice, Idle, Options, Ports, SEED, Sides};
use crate::environment;
use crate::error::Error;
use crate::neighbour::{Residents, find_next_hops};
use crate::profile::{Profile, Side};
use crate::stop::Stop;

/// How long a question waits for its answer before it is looked for again.
const REST: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Args)]
pub(crate) struct SideOptions {
    /// Interface of attackers and users.
    #[arg(long, value_name = "IF")]
    pub(crate) left: String,
    /// Interface of the server.
    #[arg(long, value_name = "IF")]
    pub(crate) right: String,
    /// Address of the box on the left, one of each family at most: who has it is asked (ARP, neighbour discovery).
    /// Without it, what is sent to is asked for, as on a cable or through a bridge.
    #[arg(long, value_name = "IP", value_delimiter = ',', conflicts_with = "left_mac")]
    pub(crate) left_gateway: Vec<IpAddr>,
    /// The same on the right.
    #[arg(long, value_name = "IP", value_delimiter = ',', conflicts_with = "right_mac")]
    pub(crate) right_gateway: Vec<IpAddr>,
    /// MAC address of the next hop on the left: then nobody is asked.
    #[arg(long, value_name = "MAC")]
    pub(crate) left_mac: Option<MacAddr>,
    /// The same on the right.
    #[arg(long, value_name = "MAC")]
    pub(crate) right_mac: Option<MacAddr>,
    /// Addresses to answer for on the left beside those of the profile's hosts, and to ask in the name of: what the box
    /// has for a gateway to them.
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub(crate) left_address: Vec<IpAddr>,
    /// The same on the right.
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub(crate) right_address: Vec<IpAddr>,
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
    /// Opens the interfaces, and finds the next hops for what a profile sends.
    pub(crate) fn open(&self, profile: &Profile, stop: &Stop) -> Result<Ports, Error> {
        let residents = self.residents()?;
        let interfaces = [self.left.clone(), self.right.clone()];
        let next_hops = [self.left_mac, self.right_mac];
        let mut ports = Ports::open(&Sides {
            interfaces: interfaces.clone(),
            next_hops,
            mode: self.mode,
            threads: usize::from(self.threads),
            allow_default_route: self.allow_default_route.clone(),
        })?;
        ports.residents = residents;
        let (asked, clock) = (next_hops.map(|mac| mac.is_none()), Clock::start());
        let mut now = || {
            std::thread::sleep(REST);
            (!stop.requested()).then(|| clock.now_ns())
        };
        for said in find_next_hops(profile, &mut ports, &interfaces, asked, &mut now)? {
            eprintln!("weirgen: {said}");
        }
        Ok(ports)
    }

    /// Who is on the links beside the profile's hosts.
    fn residents(&self) -> Result<[Residents; 2], Error> {
        let one_a_family = |option: &'static str, all: &[IpAddr]| -> Result<(), Error> {
            let twice =
                |is_ipv4| all.iter().filter(|address| address.is_ipv4() == is_ipv4).count() > 1;
            if !twice(true) && !twice(false) {
                return Ok(());
            }
            let value = all.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
            let allowed = "one address of IPv4 and one of IPv6 at most".to_owned();
            Err(Error::Value { option, value, allowed })
        };
        one_a_family("--left-gateway", &self.left_gateway)?;
        one_a_family("--right-gateway", &self.right_gateway)?;
        let side = |interface: &str, own: &[IpAddr], gateways: &[IpAddr]| Residents {
            own: own.iter().copied().map(Address::from).collect(),
            kernel: own_addresses(interface).into_iter().map(Address::from).collect(),
            gateways: gateways.iter().copied().map(Address::from).collect(),
        };
        Ok([
            side(&self.left, &self.left_address, &self.left_gateway),
            side(&self.right, &self.right_address, &self.right_gateway),
        ])
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
