//! `weirgen`: a packet generator over AF_XDP, and a sink that counts what arrives.
//!
//! It is the second user of what Weir is built from (sockets, frames, ledgers, packet views) and
//! so shows that none of it knows what a firewall is:
//!
//! ```text
//!   cli ──► profile ──► engine: pace (when), packet (what), users (both ends), measure (what arrived)
//!             └──► ports of either side ──► result.rs     neighbour: who is the next hop, and who are we?
//!
//!   cli ──► flow     which addresses and ports, in which order
//!           template the frame, and how the next one differs
//!           schedule when each packet is due
//!           device   may and can this interface be used?
//!           send     ──► transmitter ──► tx ring        sink ◄── rx rings ◄── Weir's XDP program
//!             └──────────────► report (text, or JSON for programs) ◄───────────────┘
//!
//!   files of results (result.rs) ──► report: text, CSV, a page with plots
//!                                └► compare: what differs beyond noise
//!   search: loads tried on the engine (RFC 9971, RFC 2544), until the answer is narrow
//! ```
//!
//! # Promises
//!
//! * It says what it will send, and where, before the first packet.
//! * Every run is bounded: 10 s and 1,000,000 packets unless told otherwise.
//! * An interface that holds the default route is refused unless `--allow-default-route` is given.
//! * Ctrl-C ends it within a second, with a report of what was sent until then.
//! * A run that could not keep up with the requested rate is marked void and ends with status 3.
//! * Nothing is left on the interface.

#![deny(unsafe_code)]

pub mod address;
mod cli;
pub mod clock;
pub mod compare;
mod device;
pub mod engine;
pub mod environment;
pub mod error;
pub mod faulty;
mod flow;
mod live;
pub mod live_frames;
pub mod measure;
pub mod neighbour;
pub mod pace;
pub mod packet;
pub mod profile;
pub mod report;
pub mod result;
mod schedule;
pub mod search;
mod send;
mod sink;
pub mod statistics;
pub mod stop;
mod template;
mod transmitter;
pub mod users;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command, write_out};
use compare::Outcome;
use error::Error;

/// The exit status of a run whose result must not be used.
const EXIT_VOID: u8 = 3;

/// The exit status of a comparison in which something differs.
const EXIT_DIFFERS: u8 = 4;

/// The exit status of a comparison that cannot tell.
const EXIT_UNKNOWN: u8 = 5;

/// The program `weirgen`: reads the command line, does what it says, and returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weirgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Send(options) => {
            let stop = stop::on_signal()?;
            let report = send::run(&options, &stop)?;
            print(options.json, &report)?;
            Ok(if report.is_void() { ExitCode::from(EXIT_VOID) } else { ExitCode::SUCCESS })
        }
        Command::Run(options) => {
            let stop = stop::on_signal()?;
            let result = cli::run::run(&options, &stop)?;
            options.outputs.print(&report::text::show(&result))?;
            Ok(if result.void.is_some() { ExitCode::from(EXIT_VOID) } else { ExitCode::SUCCESS })
        }
        Command::Profiles(options) => {
            write_out(cli::profiles::run(&options)?.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Sink(options) => {
            let stop = stop::on_signal()?;
            let report = sink::run(&options, &stop)?;
            print(options.json, &report)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Search(options) => {
            cli::search::run(&options, &stop::on_signal()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Connections(options) => {
            cli::connections::run(&options, &stop::on_signal()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rfc2544(options) => {
            cli::rfc2544::run(&options, &stop::on_signal()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Sweep(options) => {
            let results = cli::sweep::run(&options, &stop::on_signal()?)?;
            let texts: Vec<String> = results.iter().map(report::text::show).collect();
            options.outputs.print(&texts.join("\n\n"))?;
            let is_void = results.iter().any(|result| result.void.is_some());
            Ok(if is_void { ExitCode::from(EXIT_VOID) } else { ExitCode::SUCCESS })
        }
        Command::Report(options) => {
            cli::report::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare(options) => Ok(match cli::compare::run(&options)? {
            Outcome::Same => ExitCode::SUCCESS,
            Outcome::Differs => ExitCode::from(EXIT_DIFFERS),
            Outcome::Unknown => ExitCode::from(EXIT_UNKNOWN),
        }),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "weirgen", &mut text);
            write_out(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let mut text = Vec::new();
            let page = clap_mangen::Man::new(Cli::command());
            page.render(&mut text).map_err(Error::Output)?;
            write_out(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints a report on standard output: one line of JSON, or text for people.
fn print<R: serde::Serialize + std::fmt::Display>(json: bool, report: &R) -> Result<(), Error> {
    let mut text = if json {
        serde_json::to_string(report).map_err(|error| Error::Output(error.into()))?
    } else {
        report.to_string()
    };
    text.push('\n');
    write_out(text.as_bytes())
}
