//! What netfilter lets an operator set by `net.netfilter.nf_conntrack_*`, under the same names and with the
//! same defaults (`net/netfilter/nf_conntrack_proto_*.c`).

use super::clock::Ticks;
use super::tcp::TcpState;

/// The longest timeout that can be set, in seconds: the clock of the flow table wraps after 24.8 days, and a
/// deadline must be nearer than half of that.
pub const TIMEOUT_S_MAX: u32 = 1_000_000;

/// All settings of connection tracking. Timeouts are in seconds, 1 to [`TIMEOUT_S_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `tcp_timeout_*`, by state; see [`Settings::tcp_timeout_s`].
    pub tcp_timeouts_s: [u32; TcpState::COUNT],
    /// `tcp_timeout_max_retrans`: at most this long after [`Settings::tcp_max_retrans`] equal segments, or with
    /// a window of zero.
    pub tcp_timeout_max_retrans_s: u32,
    /// `tcp_timeout_unacknowledged`: at most this long while data is not acknowledged.
    pub tcp_timeout_unacknowledged_s: u32,
    /// `tcp_loose`: whether a connection is taken up in its middle.
    pub tcp_loose: bool,
    /// `tcp_be_liberal`: whether only resets outside of the window are invalid.
    pub tcp_be_liberal: bool,
    /// `tcp_ignore_invalid_rst`: whether a reset with a sequence number below what its receiver has
    /// acknowledged is taken for valid.
    pub tcp_ignore_invalid_rst: bool,
    /// `tcp_max_retrans`.
    pub tcp_max_retrans: u8,
    /// `udp_timeout`: before the flow is a stream.
    pub udp_timeout_s: u32,
    /// `udp_timeout_stream`: answered, and older than two seconds.
    pub udp_timeout_stream_s: u32,
    /// `gre_timeout`.
    pub gre_timeout_s: u32,
    /// `gre_timeout_stream`: answered.
    pub gre_timeout_stream_s: u32,
    /// `icmp_timeout`.
    pub icmp_timeout_s: u32,
    /// `icmpv6_timeout`.
    pub icmpv6_timeout_s: u32,
    /// `generic_timeout`: every other protocol.
    pub generic_timeout_s: u32,
    /// `checksum`: whether a wrong transport checksum makes a packet INVALID.
    pub checksum: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let mut tcp_timeouts_s = [120; TcpState::COUNT];
        for (state, seconds) in [
            (TcpState::SynSent, 120),
            (TcpState::SynRecv, 60),
            (TcpState::Established, 432_000),
            (TcpState::FinWait, 120),
            (TcpState::CloseWait, 60),
            (TcpState::LastAck, 30),
            (TcpState::TimeWait, 120),
            (TcpState::Close, 10),
            (TcpState::SynSent2, 120),
        ] {
            tcp_timeouts_s[state as usize] = seconds;
        }
        Self {
            tcp_timeouts_s,
            tcp_timeout_max_retrans_s: 300,
            tcp_timeout_unacknowledged_s: 300,
            tcp_loose: true,
            tcp_be_liberal: false,
            tcp_ignore_invalid_rst: false,
            tcp_max_retrans: 3,
            udp_timeout_s: 30,
            udp_timeout_stream_s: 120,
            gre_timeout_s: 30,
            gre_timeout_stream_s: 180,
            icmp_timeout_s: 30,
            icmpv6_timeout_s: 30,
            generic_timeout_s: 600,
            checksum: true,
        }
    }
}

impl Settings {
    /// The timeout of a TCP state, in seconds. The kernel exports none for SYN_SENT2: it stays 120.
    #[must_use]
    pub fn tcp_timeout_s(&self, state: TcpState) -> u32 {
        self.tcp_timeouts_s[state as usize]
    }
}

/// The timeouts in the table's unit, worked out once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) tcp: [Ticks; TcpState::COUNT],
    pub(super) tcp_max_retrans: Ticks,
    pub(super) tcp_unacknowledged: Ticks,
    pub(super) udp: Ticks,
    pub(super) udp_stream: Ticks,
    pub(super) gre: Ticks,
    pub(super) gre_stream: Ticks,
    pub(super) icmp: Ticks,
    pub(super) icmpv6: Ticks,
    pub(super) generic: Ticks,
}

impl Timeouts {
    pub(super) fn new(settings: &Settings) -> Self {
        let ticks = Ticks::from_seconds;
        Self {
            tcp: settings.tcp_timeouts_s.map(ticks),
            tcp_max_retrans: ticks(settings.tcp_timeout_max_retrans_s),
            tcp_unacknowledged: ticks(settings.tcp_timeout_unacknowledged_s),
            udp: ticks(settings.udp_timeout_s),
            udp_stream: ticks(settings.udp_timeout_stream_s),
            gre: ticks(settings.gre_timeout_s),
            gre_stream: ticks(settings.gre_timeout_stream_s),
            icmp: ticks(settings.icmp_timeout_s),
            icmpv6: ticks(settings.icmpv6_timeout_s),
            generic: ticks(settings.generic_timeout_s),
        }
    }
}
