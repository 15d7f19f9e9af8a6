//! Why a port cannot be opened.

use af_xdp::SetupError;

use crate::program::{ProgramError, QUEUES_MAX};

/// Fewest frames that a queue may have to receive with: a batch.
pub(super) const FILL_FRAMES_MIN: u32 = 64;

/// Why a port, or the set of ports, could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The sockets or their memory.
    #[error("{interface}: {source}")]
    Socket {
        /// The interface.
        interface: String,
        /// Why.
        source: SetupError,
    },
    /// A living Weir has the queues.
    #[error(
        "{interface}: another weir serves it (XDP program {id}): stop that one, or give this one other ports; {source}"
    )]
    Served {
        /// The interface.
        interface: String,
        /// The other one's program.
        id: u32,
        /// What binding met.
        source: SetupError,
    },
    /// The packet memory.
    #[error("packet memory: {0}")]
    Memory(SetupError),
    /// The XDP program.
    #[error("{interface}: {source}")]
    Program {
        /// The interface.
        interface: String,
        /// Why.
        source: Box<ProgramError>,
    },
    /// Fewer queues than workers: some worker could not transmit there.
    #[error(
        "{interface} has {queues} queue(s) and there are {workers} workers, but each worker needs a queue of its own: \
         set workers.count = {queues}, or `ethtool -L {interface} combined {workers}` (a veth pair: create it with \
         `numrxqueues {workers} numtxqueues {workers}`)"
    )]
    FewQueues {
        /// The interface.
        interface: String,
        /// Its queues.
        queues: u32,
        /// The workers.
        workers: usize,
    },
    /// So many queues that the frames do not go round.
    #[error(
        "{interface} has {queues} queue(s), and of umem.chunks = {chunks} there are {each} to receive with for each, \
         fewer than {FILL_FRAMES_MIN}: set umem.chunks = {wanted}, or `ethtool -L {interface} combined {workers}`"
    )]
    FewChunks {
        /// The interface.
        interface: String,
        /// Its queues.
        queues: u32,
        /// Frames in all.
        chunks: u32,
        /// Frames for each queue.
        each: u32,
        /// Chunks that would do.
        wanted: u32,
        /// The workers: no queues are needed beyond theirs.
        workers: usize,
    },
    /// More queues than the program has places for sockets; packets of the rest would pass by.
    #[error(
        "{interface} has {queues} queues; Weir serves at most {QUEUES_MAX}: `ethtool -L {interface} combined {QUEUES_MAX}`"
    )]
    ManyQueues {
        /// The interface.
        interface: String,
        /// Its queues.
        queues: u32,
    },
}

impl OpenError {
    /// Whether a lower rung of the ladder may work where this one did not.
    pub(super) fn is_rung_refusal(&self) -> bool {
        match self {
            Self::Socket { source, .. } => source.is_rung_refusal(),
            Self::Program { source, .. } => matches!(**source, ProgramError::Attach { .. }),
            _ => false,
        }
    }
}
