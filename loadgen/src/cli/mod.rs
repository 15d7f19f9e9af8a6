//! The command line: one file a command.

pub(crate) mod compare;
pub(crate) mod connections;
mod outputs;
pub(crate) mod profiles;
pub(crate) mod report;
pub(crate) mod rfc2544;
pub(crate) mod run;
pub(crate) mod search;
mod send;
mod sides;
mod sink;
pub(crate) mod sweep;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::error::Error;

pub(crate) use send::SendOptions;
pub(crate) use sink::SinkOptions;

/// Sends packets over AF_XDP at an exact rate, and counts what arrives.
#[derive(Debug, Parser)]
#[command(name = "weirgen", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a profile: send its streams from two sides, and say what became of them.
    ///
    /// The box under test is between the two interfaces. Exit status 3 means that the run is void: the
    /// generator could not keep up, an interface went away, nothing arrived.
    Run(Box<run::RunOptions>),
    /// List the profiles that come with the program, with what each sends.
    Profiles(profiles::ProfilesOptions),
    /// Send packets.
    ///
    /// Ends after --duration or --count, whichever comes first, or at Ctrl-C. Exit status 3 means
    /// that the run is void: the requested rate was not reached, or the interface went away.
    Send(SendOptions),
    /// Count the packets that arrive on an interface, and drop them.
    ///
    /// While it runs, nothing but ARP and multicast reaches the machine itself by this interface.
    /// Afterwards nothing is left on it.
    Sink(SinkOptions),
    /// Search for what a box carries: NDR, PDR, as RFC 9971 does.
    ///
    /// Short trials at many loads. A load is good or bad when the sum of their durations has decided; the answer is a
    /// pair of bounds, with how sure each is.
    Search(Box<search::SearchOptions>),
    /// Search for the connections a second that a box carries, and the connections that it holds at once.
    ///
    /// As RFC 9411 (7.2, 7.5) and RFC 3511 (5.2, 5.3) have it: one in 100,000 connections may fail. The users of a
    /// profile connect, ask, are answered and close; what is held is proved by an answer on each connection at the end.
    Connections(Box<connections::ConnectionsOptions>),
    /// Make the tests of RFC 2544: throughput, latency, loss, back-to-back frames.
    ///
    /// For each frame size. What is shorter than the document asks for is said.
    #[command(name = "rfc2544")]
    Rfc2544(Box<rfc2544::Rfc2544Options>),
    /// Run a profile with one stream at rising rates, in rounds whose order is drawn.
    ///
    /// With --label for each protection in turn, the files make one study: weirgen report a.json b.json -o x.html
    Sweep(Box<sweep::SweepOptions>),
    /// Show results again: as text, as CSV, or as a page with plots.
    ///
    /// Runs of one label and one flood rate are repeats: of several, medians with intervals are drawn. Runs of
    /// several labels (--label) and rates make the page of a study.
    Report(report::ReportOptions),
    /// Say what differs between runs beyond noise.
    ///
    /// Ends with status 0 if nothing does, 4 if something does, and 5 if there are too few runs to tell: five on each
    /// side are the least. Runs of different profiles, rates or lengths are refused.
    Compare(compare::CompareOptions),
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Writes to standard output. A reader that has gone is no error of ours.
pub(crate) fn write_out(text: &[u8]) -> Result<(), Error> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// A rate of packets a second.
fn rate(text: &str) -> Result<f64, String> {
    rate_of("packets", text)
}

/// A rate of connections a second.
fn connection_rate(text: &str) -> Result<f64, String> {
    rate_of("connections", text)
}

fn rate_of(what: &str, text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("must be 0.001 to 1000000000 {what} a second")),
    }
}

/// A rate of packets a second, or 0.
fn rate_or_none(text: &str) -> Result<f64, String> {
    if text.trim() == "0" { Ok(0.0) } else { rate(text) }
}

/// A share, from percent.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=99.9).contains(&percent) => Ok(percent / 100.0),
        _ => Err("must be 0 to 99.9 percent".to_owned()),
    }
}

/// Seconds, a millisecond to a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be 0.001 to 86400 seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const SEND: &str = "weirgen send --interface v0 --destination-mac 02:00:00:00:00:01 \
                        --source 10.0.0.1 --destination 10.0.0.2";

    fn parse(more: &str) -> Result<Cli, String> {
        let line = format!("{SEND} {more}");
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_run_is_bounded() {
        let Ok(Cli { command: Command::Send(options) }) = parse("--flood") else { panic!() };
        assert_eq!((options.count, options.duration, options.length), (1_000_000, 10.0, 60));
        assert!(!options.allow_default_route);
    }

    #[test]
    fn rates_are_refused_as_what_they_count() {
        for (command, options, unit) in [
            ("connections", ["--min", "--max", "--ramp"].as_slice(), "connections a second"),
            ("search imix", &["--min", "--max"], "packets a second"),
            ("rfc2544 imix", &["--min", "--max"], "packets a second"),
        ] {
            for option in options {
                let line = format!("weirgen {command} --left v0 --right v1 {option} 0");
                let said =
                    Cli::try_parse_from(line.split_whitespace()).expect_err(&line).to_string();
                let expected = format!("{option} <");
                assert!(said.contains(&expected) && said.contains("must be 0.001"), "{said}");
                assert!(said.contains(&format!("to 1000000000 {unit}")), "{said}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cases = [
            ("", "--rate"),
            ("--rate 1 --flood", "--flood"),
            ("--rate 0", "0 is not in 1..=1000000000"),
            ("--rate 1000000001", "1..=1000000000"),
            ("--flood --count 0", "1..=1000000000000"),
            ("--flood --duration 0", "0.001 to 86400"),
            ("--flood --duration NaN", "0.001 to 86400"),
            ("--flood --protocol icmp", "tcp-syn"),
            ("--flood --mode fast", "fast"),
            ("--flood --source-port 9-7", "9-7"),
        ];
        for (more, expected) in cases {
            let message = parse(more).expect_err(more);
            assert!(message.contains(expected), "{more}: {message}");
        }
    }
}
