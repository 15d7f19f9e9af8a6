//! What connection tracking counts.

/// Counts of one worker since its start, named as `conntrack -S` names them where it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets that were part of no flow.
    pub invalid: u64,
    /// Flows put into the table.
    pub insert: u64,
    /// Flows not put into the table for want of room; their packets were dropped.
    pub insert_failed: u64,
    /// Packets dropped for want of room.
    pub drop: u64,
    /// Flows that gave way to new ones, of whatever kind.
    pub early_drop: u64,
    /// Of them, connections whose handshake was not over.
    pub early_drop_half_open: u64,
    /// Of them, assured connections that were closing.
    pub early_drop_closing: u64,
    /// ICMP messages that could not be related to a flow, or were malformed.
    pub error: u64,
    /// Flows that reached the end of their time.
    pub expired: u64,
    /// Flows deleted on request.
    pub delete: u64,
}
