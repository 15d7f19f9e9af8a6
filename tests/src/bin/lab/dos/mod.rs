//! `cargo lab dos`: what legitimate users get while a server is flooded, behind one protection after the other.
//!
//! ```text
//!   for each round:  for each flood:  for each peer:      the peers' order turns by one every round
//!       set the peer up, run `weirgen` for some seconds, keep its result as a file, take the peer down
//!   at the end:      one page of all results by `weirgen report`
//! ```
//!
//! The same users, the same paced floods and the same generator meet every peer, in turns, so what the machine's other
//! work does falls on all alike. A peer that this machine, or this Weir, has not is skipped with the reason.

mod kind;
mod peer;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use weir_tests::console::Console;
use weir_tests::{Error, Result};

use crate::street::{EVERYWHERE, Street};
use crate::tools::{Tools, write};
use kind::Kind;
use peer::Peer;
use summary::Summary;

/// What stands, in words.
const STREET: &str = "weirgen is on both sides of the firewall: users and flood (198.18.0.0/16 on g0), the server \
    (198.19.0.2 on s0), on core 0. The firewall has its own namespace; the kernel's forwarding and Weir have the other cores.";

/// How much longer than its duration a run may take: sockets are opened, the last packets awaited.
const RUN_EXTRA: Duration = Duration::from_secs(60);

/// The users' ports while they come alone, and later: a port that is taken again while its last connection is
/// remembered is another question.
const CALM_PORTS: &str = "1024-32767";
const PORTS: &str = "32768-65535";

/// Floods a server behind one protection after the other, and says what its users got
#[derive(Clone, Debug, Args)]
pub(crate) struct DosArgs {
    /// What the flood consists of
    #[arg(long, value_enum, default_value = "syn")]
    kind: Kind,
    /// Its packets a second, one study each; 0 is the calm before
    #[arg(long, value_name = "PPS", value_delimiter = ',', default_value = "0,10000,50000,150000")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    flood: Vec<u32>,
    /// Where the flood comes from
    #[arg(long, value_enum, default_value = "many")]
    sources: Sources,
    /// Users' connections a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    /// Length of each run
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How long users come alone, four times as many, before each flood: nobody counts them, but whoever stands between
    /// may get to know them
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=600))]
    calm: u32,
    /// How often every peer meets every flood
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only these peers [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Folder for the results and the page
    #[arg(long, value_name = "FOLDER", default_value = "target/dos")]
    output: PathBuf,
}

/// Where a flood comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sources {
    /// 32,766 of them, at random: 198.18.0.0/17
    Many,
    /// One: 198.18.0.1
    One,
    /// A net: 198.18.0.0/24
    Net,
    /// Half a thousand million, at random: 64.0.0.0/3
    Everywhere,
}

impl Sources {
    /// As a profile says it.
    fn value(self) -> String {
        let random = |net: &str| format!("{{ in = \"{net}\", order = \"random\" }}");
        match self {
            Self::Many => random("198.18.0.0/17"),
            Self::One => "\"198.18.0.1\"".to_owned(),
            Self::Net => random("198.18.0.0/24"),
            Self::Everywhere => random(EVERYWHERE),
        }
    }
}

/// What the study needs that stays the same for all runs.
struct Study<'a> {
    args: &'a DosArgs,
    tools: Tools,
    street: Street,
}

/// Plays the study. Says whether every run could be used.
pub(crate) fn run(args: &DosArgs, console: &Console) -> Result<bool> {
    let tools = Tools::prepare(&args.output, console)?;
    let study = Study { args, tools, street: Street::build("dos")? };
    console.heading("The street");
    console.paragraph("   ", STREET);
    let peers = study.able_peers(console)?;
    let (files, summary) = study.rounds(console, &peers)?;
    summary.print(console);
    let title = format!("Users of a web server under {}", args.kind.words());
    study.tools.page(console, "dos", &title, &files, &[])?;
    Ok(summary.is_sound())
}

impl Study<'_> {
    /// The peers that can be had here; the others are named with the reason.
    fn able_peers(&self, console: &Console) -> Result<Vec<Peer>> {
        let all = Peer::all();
        let wanted = if self.args.peers.is_empty() { &all } else { &self.args.peers };
        let mut able = Vec::new();
        for peer in wanted {
            match peer.start(&self.tools.binaries, &self.street, &self.tools.folder) {
                Ok(running) => {
                    running.stop()?;
                    console.line(&format!("   {:<18} {}", peer.to_string(), peer.about()));
                    able.push(*peer);
                }
                Err(Error::Command { output, .. }) => {
                    let why = output.lines().next().unwrap_or_default();
                    console.line(&format!("   {:<18} SKIPPED: {why}", peer.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(able)
    }

    /// All runs, interleaved.
    fn rounds(&self, console: &Console, peers: &[Peer]) -> Result<(Vec<PathBuf>, Summary)> {
        let (mut files, mut summary) = (Vec::new(), Summary::default());
        for round in 0..self.args.rounds {
            for flood in &self.args.flood {
                let turn = usize::try_from(round).unwrap_or(0) % peers.len().max(1);
                for peer in peers[turn..].iter().chain(&peers[..turn]) {
                    let what = format!("round {}, {flood} packets/s, {peer}", round + 1);
                    let file = console.working(&what, || self.trial(*peer, *flood, round))?;
                    let line = summary.add(&file)?;
                    console.line(&format!("   {what}: {line}"));
                    files.push(file);
                }
            }
        }
        Ok((files, summary))
    }

    /// One run; returns the file of its result.
    fn trial(&self, peer: Peer, flood: u32, round: u32) -> Result<PathBuf> {
        let DosArgs { users, seconds, calm, .. } = *self.args;
        let seed = 0x5eed + u64::from(round);
        let file = self.tools.folder.join(format!("{peer}-{flood}-{round}.json"));
        let running = peer.start(&self.tools.binaries, &self.street, &self.tools.folder)?;
        if calm > 0 {
            let before = self.tools.folder.join("calm.toml");
            write(&before, &self.profile(peer, users.saturating_mul(4), calm, 0, CALM_PORTS))?;
            self.generate(&["run", &before.to_string_lossy()], !seed, calm)?;
        }
        let profile = self.tools.folder.join("dos.toml");
        write(&profile, &self.profile(peer, users, seconds, flood, PORTS))?;
        let (profile, result) = (profile.to_string_lossy(), file.to_string_lossy());
        let label = peer.to_string();
        self.generate(&["run", &profile, "--label", &label, "--json", &result], seed, seconds)?;
        running.stop()?;
        Ok(file)
    }

    /// Has `weirgen` do something on both sides.
    fn generate(&self, what: &[&str], seed: u64, seconds: u32) -> Result<()> {
        let within = Duration::from_secs(seconds.into()) + RUN_EXTRA;
        self.tools.generate(&self.street, what, seed, within)
    }

    /// What `weirgen` is to send: the users, and the flood beside them.
    fn profile(&self, peer: Peer, users: u32, seconds: u32, flood: u32, ports: &str) -> String {
        let cookies = if peer.server_sends_cookies() { "when-full" } else { "off" };
        let users = format!(
            "about = \"Users of a web server under a flood\"\nduration_s = {seconds}\nsettle_s = 2\n\n[users]\n\
             rate = {users}\nclients = \"198.18.128.0/20\"\nshared_address = \"198.18.144.1\"\nshared_share = 0.2\n\
             servers = \"198.19.0.2\"\nbacklog = 1024\nsyn_cookies = \"{cookies}\"\nclient_ports = \"{ports}\"\n",
        );
        let source = self.args.sources.value();
        let stream = format!(
            "\n[[stream]]\nname = \"flood\"\nexpect = \"either\"\nrate = {flood}\nsource = {source}\n\
             destination = \"198.19.0.2\"\n{}",
            self.args.kind.lines(),
        );
        if flood == 0 { users } else { users + &stream }
    }
}
