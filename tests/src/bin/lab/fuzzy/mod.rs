//! `cargo lab fuzzy`: what the plain rule `-m fuzzy` accepts of a stream at rising rates, beside the module of 2002.
//!
//! ```text
//!   weirgen sweep: each rate once a round, in an order that is drawn anew  ──►  results as JSON  ──►  page, lines
//! ```
//!
//! One daemon has the rule throughout. Every run begins after a silence, so its first window passes otherwise than what
//! follows, as it does with the module ([`curve`]); longer runs have less of that.

mod curve;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use weir_tests::console::{Console, Tone};
use weir_tests::weir::Daemon;
use weir_tests::{Error, Result};

use crate::street::{Street, config};
use crate::tools::{Tools, write};
use curve::{Level, Limits, Outcome, Run};

/// The seed of the order of rates.
const SEED: u64 = 0x5eed;

/// How much longer than its duration a run may take, and the whole sweep besides.
const RUN_EXTRA: Duration = Duration::from_secs(5);
const SWEEP_EXTRA: Duration = Duration::from_secs(60);

/// Offers the plain rule `-m fuzzy` a stream at rising rates, and compares what it accepts with the module of 2002
#[derive(Clone, Debug, Args)]
pub(crate) struct FuzzyArgs {
    /// Packets a second that are offered
    #[arg(long, value_name = "PPS", value_delimiter = ',')]
    #[arg(default_value = "50,100,200,500,1000,2000,5000,10000,20000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=200_000))]
    rates: Vec<u32>,
    /// --lower-limit and --upper-limit of the rule
    #[arg(long, value_name = "LOWER:UPPER", default_value = "100:1000")]
    limits: Limits,
    /// Length of each run
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often every rate is offered
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Folder for the results and the page
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzzy")]
    output: PathBuf,
    /// Print what it came to as JSON on standard output, everything else on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// Plays the study. Says whether all rates that could be measured were accepted as they should be.
pub(crate) fn run(args: &FuzzyArgs, console: &Console) -> Result<bool> {
    let tools = Tools::prepare(&args.output, console)?;
    let street = Street::build("fuzzy")?;
    let daemon = Daemon::start(&tools.binaries, &street.firewall, &config(""), &tools.folder)?;
    let Limits { lower_pps, upper_pps } = args.limits;
    let rule =
        format!("-A FORWARD -m fuzzy --lower-limit {lower_pps} --upper-limit {upper_pps} -j DROP");
    console.heading("The curve of fuzzy");
    console.line(&format!("   weirctl iptables {rule}"));
    daemon.iptables(&rule)?;
    let runs = args.rounds as usize * args.rates.len();
    let what = format!("{runs} runs of {} s", args.seconds);
    let file = console.working(&what, || args.sweep(&tools, &street))?;
    let lost = lost_elsewhere(&daemon.stats()?);
    daemon.stop()?;
    let outcome = Outcome { levels: args.levels(&file)?, lost_elsewhere: lost };
    outcome.print(console);
    let limits = format!("{lower_pps}:{upper_pps}");
    let title = "What -m fuzzy accepts";
    tools.page(console, "fuzzy", title, &[file], &["--fuzzy", &limits])?;
    if args.json {
        crate::print_json(&outcome.report())?;
    }
    Ok(outcome.is_as_expected())
}

impl FuzzyArgs {
    /// All runs; returns the file of their results.
    fn sweep(&self, tools: &Tools, street: &Street) -> Result<PathBuf> {
        let (profile, file) = (tools.folder.join("fuzzy.toml"), tools.folder.join("fuzzy.json"));
        write(
            &profile,
            "about = \"A stream before a limit\"\n\n[[stream]]\nname = \"stream\"\nkind = \"udp\"\n\
             expect = \"either\"\nrate = 100\nsource = \"198.18.0.1\"\nsource_port = 5000\n\
             destination = \"198.19.0.2\"\ndestination_port = 53\n",
        )?;
        let rates: Vec<String> = self.rates.iter().map(u32::to_string).collect();
        let (rounds, seconds) = (self.rounds.to_string(), self.seconds.to_string());
        let (profile, result) = (profile.to_string_lossy(), file.to_string_lossy());
        let mut what = vec!["sweep", &*profile, "--label", "weir", "--json", &*result];
        let rates = rates.join(",");
        what.extend(["--rates", &rates, "--rounds", &rounds, "--duration", &seconds]);
        // Nobody asks for latencies, so nobody has to spin.
        what.push("--sleep");
        // A run that is void is made once more.
        let runs = 2 * self.rounds * u32::try_from(self.rates.len()).unwrap_or(u32::MAX);
        let one = Duration::from_secs(self.seconds.into()) + RUN_EXTRA;
        tools.generate(street, &what, SEED, one * runs + SWEEP_EXTRA)?;
        Ok(file)
    }

    /// What the results say of each rate.
    fn levels(&self, file: &PathBuf) -> Result<Vec<Level>> {
        let text =
            fs::read_to_string(file).map_err(Error::io(format!("read {}", file.display())))?;
        let unreadable = || Error::Unreadable {
            what: format!("the results in {}", file.display()),
            text: text.clone(),
        };
        let runs: Option<Vec<Run>> =
            text.lines().map(|line| Run::of(&serde_json::from_str(line).ok()?)).collect();
        let runs = runs.ok_or_else(unreadable)?;
        let mut rates = self.rates.clone();
        rates.sort_unstable();
        rates.dedup();
        let level = |offered_pps: &u32| {
            let runs = runs.iter().filter(|run| run.is_of(*offered_pps));
            Level::new(self.limits, *offered_pps, self.seconds, runs)
        };
        Ok(rates.iter().map(level).collect())
    }
}

/// Packets that were lost, and not by the rule.
fn lost_elsewhere(stats: &Value) -> u64 {
    let list = |key: &str| stats[key].as_array().cloned().unwrap_or_default();
    let drops = list("drops").into_iter().filter(|drop| drop["reason"] != "rule");
    let drops = drops.filter_map(|drop| drop["packets"].as_u64());
    let kernel = ["rx_dropped", "rx_ring_full", "rx_fill_ring_empty_descs"];
    let ports = list("ports");
    let before =
        ports.iter().flat_map(|port| kernel.iter().filter_map(|key| port["kernel"][*key].as_u64()));
    drops.sum::<u64>() + before.sum::<u64>()
}

impl Outcome {
    /// A line for each rate.
    fn print(&self, console: &Console) {
        let header = format!(
            "{:>12}{:>12}{:>16}{:>12}{:>12}",
            "offered", "accepted", "the module", "apart", "at most"
        );
        console.line(&format!("   {header}"));
        for level in &self.levels {
            console.line(&format!("   {}", level.line(console)));
        }
        let tone = if self.is_as_expected() { Tone::Good } else { Tone::Bad };
        let most = self.most_apart();
        console.line(&console.paint(tone, &format!("   {most:.4} apart at most")));
        if self.lost_elsewhere > 0 {
            let lost = format!("   {} packets were lost elsewhere", self.lost_elsewhere);
            console.line(&console.paint(Tone::Note, &lost));
        }
    }
}
