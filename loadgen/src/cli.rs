//! The command line.

use af_xdp::ModeChoice;
use clap::{Args, Parser, Subcommand};
use weir_dataplane::wire::MacAddr;

use crate::flow::{Addresses, Span};
use crate::template::Kind;

/// Sends packets over AF_XDP at an exact rate, and counts what arrives.
#[derive(Debug, Parser)]
#[command(name = "weirgen", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SendOptions {
    /// Interface to send on.
    #[arg(long, value_name = "IF")]
    pub(crate) interface: String,
    /// MAC address to send to: the next hop's.
    #[arg(long, value_name = "MAC")]
    pub(crate) destination_mac: MacAddr,
    /// MAC address to send from [default: the interface's].
    #[arg(long, value_name = "MAC")]
    pub(crate) source_mac: Option<MacAddr>,
    /// Source addresses: A, A-B or A/length.
    #[arg(long, value_name = "IP")]
    pub(crate) source: Addresses,
    /// Destination addresses: A, A-B or A/length.
    #[arg(long, value_name = "IP")]
    pub(crate) destination: Addresses,
    /// Source ports: P or P-Q.
    #[arg(long, value_name = "PORT", default_value = "1024")]
    pub(crate) source_port: Span<u16>,
    /// Destination ports: P or P-Q.
    #[arg(long, value_name = "PORT", default_value = "9")]
    pub(crate) destination_port: Span<u16>,
    /// What to send.
    #[arg(long, value_enum, default_value = "udp")]
    pub(crate) protocol: Kind,
    /// Length of a frame in bytes, Ethernet header included, frame check sequence not.
    #[arg(long, value_name = "BYTES", default_value_t = 60)]
    pub(crate) length: usize,
    /// Packets a second, on an absolute schedule.
    #[arg(long, value_name = "PPS", required_unless_present = "flood", conflicts_with = "flood")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) rate: Option<u64>,
    /// As fast as they go.
    #[arg(long)]
    pub(crate) flood: bool,
    /// Packets to send at most.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) count: u64,
    /// Seconds to send at most.
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub(crate) duration: f64,
    /// Transmit queue.
    #[arg(long, value_name = "Q", default_value_t = 0)]
    pub(crate) queue: u32,
    /// How packets reach the device: auto, zero-copy, copy or skb.
    #[arg(long, default_value_t = ModeChoice::Auto)]
    pub(crate) mode: ModeChoice,
    /// Use the interface even if it holds the default route.
    #[arg(long)]
    pub(crate) allow_default_route: bool,
    /// Report in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SinkOptions {
    /// Interface to receive on, by all of its queues.
    #[arg(long, value_name = "IF")]
    pub(crate) interface: String,
    /// Seconds to count for at most.
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub(crate) duration: f64,
    /// How packets come from the device: auto, zero-copy, copy or skb.
    #[arg(long, default_value_t = ModeChoice::Auto)]
    pub(crate) mode: ModeChoice,
    /// Use the interface even if it holds the default route.
    #[arg(long)]
    pub(crate) allow_default_route: bool,
    /// Report in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
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
