//! What became of the connections.

/// How connections ended, as their client sees it: each in exactly one way, or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Begun.
    pub attempted: u64,
    /// Due, and not begun for want of a port or of room.
    pub not_begun: u64,
    /// Handshakes completed.
    pub connected: u64,
    /// Answers received whole and connections closed.
    pub completed: u64,
    /// Given up: the handshake was never answered.
    pub failed_connect: u64,
    /// Given up later, or closed before the answer was whole.
    pub failed_transfer: u64,
    /// Ended by a reset.
    pub reset: u64,
}

impl Ends {
    /// Neither completed nor failed.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.attempted - self.completed - self.failed()
    }

    /// Given up or reset.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_connect + self.failed_transfer + self.reset
    }
}
