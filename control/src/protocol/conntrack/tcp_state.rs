//! The states of a TCP connection.

use serde::{Deserialize, Serialize};

/// The state of a TCP connection, named and numbered as netfilter does (`enum tcp_conntrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
pub enum TcpState {
    /// No segment has been taken in yet.
    None = 0,
    /// A SYN was seen.
    SynSent = 1,
    /// The SYN was answered by a SYN and ACK.
    SynRecv = 2,
    /// The handshake is over.
    Established = 3,
    /// One side has sent its FIN.
    FinWait = 4,
    /// The FIN was acknowledged.
    CloseWait = 5,
    /// Both sides have sent their FIN.
    LastAck = 6,
    /// The last FIN was acknowledged.
    TimeWait = 7,
    /// A reset was seen.
    Close = 8,
    /// Both sides have sent a SYN: a simultaneous open (RFC 9293 3.5).
    #[serde(rename = "SYN_SENT2")]
    SynSent2 = 9,
}

impl TcpState {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// All states, in the kernel's order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The name that conntrack(8) prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }

    /// The state of this number; [`TcpState::None`] for numbers that are none.
    #[must_use]
    #[inline]
    pub fn from_index(index: usize) -> Self {
        Self::ALL.get(index).copied().unwrap_or(Self::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_one_name_in_text_and_json() {
        for state in TcpState::ALL {
            let json = serde_json::to_string(&state).expect("JSON");
            assert_eq!(json, format!("{:?}", state.name()));
            assert_eq!(serde_json::from_str::<TcpState>(&json).expect("a state"), state);
        }
    }
}
