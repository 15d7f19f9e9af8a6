//! Classes of segments, and from which state they lead where.

use weir_control::protocol::TcpState;

use super::super::Direction;

/// Whether a connection of this state is on its way out, so that it may give way when the table is full
/// (`tcp_can_early_drop`).
#[inline]
pub(in super::super) fn is_closing(state: TcpState) -> bool {
    use TcpState::{Close, CloseWait, FinWait, LastAck, TimeWait};
    matches!(state, FinWait | CloseWait | LastAck | TimeWait | Close)
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
