//! What a TCP is set to, with what Linux and the RFCs take when nobody says otherwise.

/// A millisecond in nanoseconds.
const MS: u64 = 1_000_000;

/// A second in nanoseconds.
const SECOND: u64 = 1_000 * MS;

/// See the module. The same for all connections of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// The largest segment we take, in bytes of data and options (the MSS option).
    pub mss: u16,
    /// What we are ready to receive, in bytes. Data is taken up at once, so it never becomes less.
    pub window_bytes: u32,
    /// Whether we offer window scaling (RFC 7323).
    pub window_scale: bool,
    /// Whether we offer selective acknowledgments (RFC 2018). They are sent; our own recovery goes without (RFC 6582).
    pub sack: bool,
    /// Whether we offer timestamps (RFC 7323).
    pub timestamps: bool,
    /// The first window of congestion, in segments (RFC 6928).
    pub initial_window: u32,
    /// Wait for an answer before anything of the round trip is known (RFC 6298 section 2: 1 s).
    pub rto_initial_ns: u64,
    /// The wait is never shorter. RFC 6298 says 1 s, Linux 200 ms.
    pub rto_min_ns: u64,
    /// Nor longer.
    pub rto_max_ns: u64,
    /// How often a SYN is sent again before the connection is given up (`tcp_syn_retries`).
    pub syn_retries: u8,
    /// So many of these repetitions wait as long as the first, before they back off (`tcp_syn_linear_timeouts`: 4
    /// since Linux 6.5; RFC 6298 has none).
    pub syn_linear: u8,
    /// How often a SYN-ACK is sent again (`tcp_synack_retries`).
    pub synack_retries: u8,
    /// How often anything else is sent again in a row (`tcp_retries2`), zero window probes too.
    pub data_retries: u8,
    /// An acknowledgment waits so long for data to travel with, or a second segment to acknowledge.
    pub delayed_ack_ns: u64,
    /// How long the end that closed first remembers the connection: twice the life of a segment.
    pub time_wait_ns: u64,
    /// How long an end that has closed waits for the other to close (`tcp_fin_timeout`).
    pub fin_wait_ns: u64,
}

impl Default for TcpSettings {
    fn default() -> Self {
        Self {
            mss: 1460,
            window_bytes: 256 << 10,
            window_scale: true,
            sack: true,
            timestamps: true,
            initial_window: 10,
            rto_initial_ns: SECOND,
            rto_min_ns: 200 * MS,
            rto_max_ns: 120 * SECOND,
            syn_retries: 6,
            syn_linear: 0,
            synack_retries: 5,
            data_retries: 15,
            delayed_ack_ns: 40 * MS,
            time_wait_ns: 60 * SECOND,
            fin_wait_ns: 60 * SECOND,
        }
    }
}

impl TcpSettings {
    /// The shift of our windows if the peer scales, too: the least with which the window can be said.
    #[must_use]
    pub fn window_shift(&self) -> u8 {
        let shift = (0..14).find(|shift| self.window_bytes >> shift <= u32::from(u16::MAX));
        shift.unwrap_or(14)
    }

    /// The window as a field says it, shifted by `shift`.
    #[must_use]
    pub fn window_field(&self, shift: u8) -> u16 {
        u16::try_from(self.window_bytes >> shift).unwrap_or(u16::MAX)
    }
}
