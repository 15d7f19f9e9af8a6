//! The options of `weirgen send`.

use af_xdp::ModeChoice;
use clap::Args;
use weir_dataplane::wire::MacAddr;

use super::seconds;
use crate::flow::{Addresses, Span};
use crate::template::Kind;

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
