//! The options that say which flows are meant, named as by conntrack(8).

use clap::Args;

use weir_control::protocol::{FilterError, FlowFilter, TcpState, TupleFilter};
use weir_control::rule::{IpNet, Mark, Names, Protocol};

/// Which flows are meant: those that meet all options given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which flows")]
pub(crate) struct FilterArgs {
    /// Protocol: tcp, udp, icmp, or another name or number
    #[arg(short, long, visible_alias = "proto", value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<u8>,

    /// Source of the first packet: an address or a net such as 10.0.0.0/8
    #[arg(short = 's', long, visible_alias = "src", value_name = "ADDRESS", value_parser = IpNet::from_prefix)]
    orig_src: Option<IpNet>,

    /// Destination of the first packet
    #[arg(short = 'd', long, visible_alias = "dst", value_name = "ADDRESS", value_parser = IpNet::from_prefix)]
    orig_dst: Option<IpNet>,

    /// Source of the answers
    #[arg(short, long, value_name = "ADDRESS", value_parser = IpNet::from_prefix)]
    reply_src: Option<IpNet>,

    /// Destination of the answers
    #[arg(short = 'q', long, value_name = "ADDRESS", value_parser = IpNet::from_prefix)]
    reply_dst: Option<IpNet>,

    /// Source port of the first packet
    #[arg(long, visible_alias = "orig-port-src", value_name = "PORT")]
    sport: Option<u16>,

    /// Destination port of the first packet
    #[arg(long, visible_alias = "orig-port-dst", value_name = "PORT")]
    dport: Option<u16>,

    /// Source port of the answers
    #[arg(long, value_name = "PORT")]
    reply_port_src: Option<u16>,

    /// Destination port of the answers
    #[arg(long, value_name = "PORT")]
    reply_port_dst: Option<u16>,

    /// TCP state, such as ESTABLISHED; other protocols have none
    #[arg(long, value_name = "STATE", value_parser = tcp_state)]
    state: Option<TcpState>,

    /// Only flows that are kept when the table is full
    #[arg(long)]
    assured: bool,

    /// Only flows that were never answered
    #[arg(long)]
    unreplied: bool,

    /// Mark that rules gave the flow, of all bits or those of a mask
    #[arg(short, long, value_name = "VALUE[/MASK]")]
    mark: Option<Mark>,
}

impl FilterArgs {
    /// The filter.
    ///
    /// # Errors
    /// If no flow can meet it.
    pub(crate) fn filter(&self) -> Result<FlowFilter, FilterError> {
        let filter = FlowFilter {
            protocol: self.protocol,
            original: TupleFilter {
                source: self.orig_src,
                destination: self.orig_dst,
                source_port: self.sport,
                destination_port: self.dport,
            },
            reply: TupleFilter {
                source: self.reply_src,
                destination: self.reply_dst,
                source_port: self.reply_port_src,
                destination_port: self.reply_port_dst,
            },
            tcp_state: self.state,
            assured: self.assured.then_some(true),
            seen_reply: self.unreplied.then_some(false),
            mark: self.mark,
        };
        filter.validate()?;
        Ok(filter)
    }
}

fn protocol(text: &str) -> Result<u8, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let name = text.to_ascii_lowercase();
    match Names::system().protocol(&name) {
        Some(Protocol::ALL) => Err("to mean all protocols, leave the option out".to_owned()),
        Some(protocol) => Ok(protocol.0),
        None => Err("neither a number from 0 to 255 nor a protocol's name".to_owned()),
    }
}

fn tcp_state(text: &str) -> Result<TcpState, String> {
    let names = TcpState::ALL.map(TcpState::name);
    let known = TcpState::ALL.into_iter().find(|state| state.name() == text);
    // The name it had before 2.6.31, which conntrack(8) takes too.
    let known = known.or_else(|| (text == "LISTEN").then_some(TcpState::SynSent2));
    known.ok_or_else(|| format!("the states are {}", names.join(", ")))
}
