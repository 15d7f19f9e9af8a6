//! Weir beside a bare l2fwd and the kernel, over veth pairs, in network namespaces of its own.
//!
//! ```text
//!   cargo run --release -p weir-benches --bin veth -- all
//!   ... -- forward --contenders weir,l2fwd --pairs 10 --seconds 3
//!   ... -- forward --contenders l2fwd,l2fwd      is the method honest? the ratio must be 1
//!   ... -- drop                                a flood that ends in user space, beside a bare loop that drops
//!   ... -- rtt | iperf | rules
//!
//!   On a machine that others use too: --urgent, more --pairs, shorter --seconds. Two l2fwd then
//!   differ by 20 % within a pair (median of eight pairs: 4 %); without it, by a factor of two.
//! ```
//!
//! # Method
//!
//! All contenders stand in the same namespaces, get the same traffic from the same generator (a process of its own) and
//! deliver to the same sink: Weir's XDP program without sockets, which drops and counts in the driver. A round runs
//! each of them once; every second round runs them backwards. So whatever else the machine does, and it does much,
//! meets all of them alike. A result is the median over rounds of the *ratio within a round*, with a 95 %
//! interval from order statistics. The order of contenders decides what is compared: the first with each of the others.
//!
//! Cores are user and system time of the process over the time that passed. What the kernel forwards, it forwards on
//! the core of the sender and on the sender's account, so `per core` counts generator and forwarder together.

mod contender;
mod drop;
mod environment;
mod forward;
mod generator;
mod iperf;
mod programs;
mod rounds;
mod rtt;
mod rules;
mod sink;
mod topology;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use weir_benches::Urgency;
use weir_tests::console::{Console, Stream, Tone};
use weir_tests::{Error, Result, interrupt, netns, packages, skip};

use crate::environment::Environment;
use crate::programs::Programs;

/// Compares Weir with a bare AF_XDP forwarder and with the kernel, over veth.
#[derive(Debug, Parser)]
#[command(name = "veth")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results as JSON on standard output, everything else on standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Take weir, weirctl, weirgen and l2fwd from this folder instead of building them.
    #[arg(long, global = true, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Let Weir's worker never sleep (`always_spin`), as l2fwd never does. Otherwise it runs as
    /// configured by default.
    #[arg(long, global = true)]
    always_spin: bool,
    /// Go before what other sessions of this machine do (autogroup nice -20): for a shared machine.
    #[arg(long, global = true)]
    urgent: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Packets delivered a second.
    Forward(forward::Options),
    /// Packets of a flood dropped in user space a second.
    Drop(drop::Options),
    /// Round-trip time of ping.
    Rtt(rtt::Options),
    /// Throughput of one TCP connection (iperf3), default offloads.
    Iperf(iperf::Options),
    /// Rule changes under traffic: packets lost (must be 0), and how long a change takes.
    Rules(rules::Options),
    /// Everything that is measured for a release, one after the other.
    All(AllOptions),
}

#[derive(Clone, Debug, Args)]
struct AllOptions {
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
}

/// One result with what it was obtained on.
#[derive(Debug, Serialize)]
struct Results {
    environment: Environment,
    results: Vec<serde_json::Value>,
}

/// What every measurement gets.
struct Bench {
    console: Console,
    programs: Programs,
    always_spin: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(if cli.json { Stream::Error } else { Stream::Output });
    match run(cli, console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Interrupted) => {
            eprintln!("veth: interrupted; everything is cleaned up");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("veth: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli, console: Console) -> Result<()> {
    if !skip::is_root() {
        return Err(Error::Unmet(
            "network namespaces and XDP take root: run it as root".to_owned(),
        ));
    }
    interrupt::install()?;
    packages::install(&console, packages::KERNEL.iter().chain(packages::TESTS).copied())?;
    netns::remove_stale()?;
    let programs = match &cli.programs {
        Some(folder) => Programs::in_folder(folder)?,
        None => Programs::build(&console)?,
    };
    let bench = Bench { console, programs, always_spin: cli.always_spin };
    let _urgency = cli.urgent.then(Urgency::take).transpose()?;
    let environment = Environment::read();
    bench.console.line(&bench.console.paint(Tone::Dim, &environment.to_string()));
    let mut results = Vec::new();
    for command in commands(cli.command) {
        results.push(match &command {
            Command::Forward(options) => to_json(&forward::run(&bench, options)?)?,
            Command::Drop(options) => to_json(&drop::run(&bench, options)?)?,
            Command::Rtt(options) => to_json(&rtt::run(&bench, options)?)?,
            Command::Iperf(options) => to_json(&iperf::run(&bench, options)?)?,
            Command::Rules(options) => to_json(&rules::run(&bench, options)?)?,
            Command::All(_) => continue,
        });
    }
    if cli.json {
        println!("{}", to_json(&Results { environment, results })?);
    }
    Ok(())
}

/// The measurements that a command stands for.
fn commands(command: Command) -> Vec<Command> {
    let Command::All(AllOptions { pairs }) = command else { return vec![command] };
    let forward = |contenders: &str, rate| {
        let options = forward::Options::of(contenders, pairs, rate);
        Command::Forward(options)
    };
    vec![
        forward("weir,l2fwd", None),
        forward("weir-rules,kernel-rules,kernel", None),
        forward("weir,l2fwd,kernel", Some(200_000)),
        Command::Drop(drop::Options::of(pairs)),
        Command::Rtt(rtt::Options::of(pairs)),
        Command::Iperf(iperf::Options::of(pairs)),
        Command::Rules(rules::Options::default()),
    ]
}

fn to_json<T: Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| Error::Unreadable {
        what: "a result of ours".to_owned(),
        text: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let all = commands(Command::All(AllOptions { pairs: 3 }));
        assert_eq!(all.len(), 7);
    }
}
