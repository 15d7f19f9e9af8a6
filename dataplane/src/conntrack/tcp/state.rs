//! States, classes of segments, and which class leads where.

use super::super::Direction;

/// The state of a TCP connection, as netfilter names them (`enum tcp_conntrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    /// Whether the connection is on its way out, so that it may give way when the table is full
    /// (`tcp_can_early_drop`).
    #[must_use]
    #[inline]
    pub fn is_closing(self) -> bool {
        matches!(
            self,
            Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Close
        )
    }
}

/// What kind of segment it is to the state table (`get_conntrack_index`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum Class {
    Syn = 0,
    SynAck = 1,
    Fin = 2,
    Ack = 3,
    Rst = 4,
    None = 5,
}

impl Class {
    pub(in super::super) const COUNT: usize = 6;

    #[inline]
    pub(in super::super) fn from_index(index: usize) -> Self {
        match index {
            0 => Self::Syn,
            1 => Self::SynAck,
            2 => Self::Fin,
            3 => Self::Ack,
            4 => Self::Rst,
            _ => Self::None,
        }
    }
}

/// What the table says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// If it lies in the window, the state is this.
    To(TcpState),
    /// It passes, and changes nothing.
    Ignore,
    /// It is part of no connection.
    Invalid,
}

/// Where a segment leads (`tcp_conntracks`). The reason of an entry that surprises: a SYN in an established
/// connection is ignored, not invalid, for the ends may have forgotten the connection, and their answer tells.
#[inline]
pub(super) fn step(direction: Direction, class: Class, state: TcpState) -> Step {
    TABLE[direction as usize][class as usize][state as usize]
}

#[rustfmt::skip] // A table is read by its columns.
const TABLE: [[[Step; TcpState::COUNT]; Class::COUNT]; 2] = {
    const SS: Step = Step::To(TcpState::SynSent);
    const SR: Step = Step::To(TcpState::SynRecv);
    const ES: Step = Step::To(TcpState::Established);
    const FW: Step = Step::To(TcpState::FinWait);
    const CW: Step = Step::To(TcpState::CloseWait);
    const LA: Step = Step::To(TcpState::LastAck);
    const TW: Step = Step::To(TcpState::TimeWait);
    const CL: Step = Step::To(TcpState::Close);
    const S2: Step = Step::To(TcpState::SynSent2);
    const IG: Step = Step::Ignore;
    const IV: Step = Step::Invalid;
    [
        // Original direction
        [
            //         NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
            /* syn  */ [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
            /* s+a  */ [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
            /* fin  */ [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
            /* ack  */ [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
            /* rst  */ [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
            /* none */ [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
        ],
        // Reply direction
        [
            /* syn  */ [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
            /* s+a  */ [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
            /* fin  */ [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
            /* ack  */ [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
            /* rst  */ [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
            /* none */ [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
        ],
    ]
};
