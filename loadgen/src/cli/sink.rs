//! The options of `weirgen sink`.

use af_xdp::ModeChoice;
use clap::Args;

use super::seconds;

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
