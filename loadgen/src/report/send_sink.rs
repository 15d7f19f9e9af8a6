//! What a run reports, as text and as JSON.

use std::fmt;

use serde::Serialize;

use crate::pace::KEPT_UP;
use crate::result::End;
use crate::template::Kind;

/// What was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SendReport {
    pub(crate) interface: String,
    pub(crate) queue: u32,
    pub(crate) mode: String,
    pub(crate) protocol: Kind,
    pub(crate) length: usize,
    /// Different combinations of addresses and ports.
    pub(crate) flows: String,
    /// Packets that the kernel took and gave back as sent.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets given to the kernel that had not come back when the wait for them ended.
    pub(crate) unconfirmed: u64,
    pub(crate) elapsed_s: f64,
    /// `None`: a flood.
    pub(crate) requested_pps: Option<u64>,
    pub(crate) achieved_pps: f64,
    pub(crate) ended_by: End,
    /// Why the run must not be used, if so.
    pub(crate) void: Option<String>,
}

impl SendReport {
    /// Whether the result must not be used.
    pub(crate) fn is_void(&self) -> bool {
        self.void.is_some()
    }
}

/// Why a run is void: `None` if it is not.
pub(crate) fn void(requested_pps: Option<u64>, achieved_pps: f64, end: End) -> Option<String> {
    if end == End::DeviceLost {
        return Some("the interface was switched off or vanished during the run".to_owned());
    }
    #[expect(clippy::cast_precision_loss, reason = "rates are below 2^53")]
    let requested = requested_pps? as f64;
    (achieved_pps < requested * KEPT_UP).then(|| {
        let share = 100.0 * achieved_pps / requested;
        format!("the generator could not keep up: {share:.1} % of the requested rate")
    })
}

impl fmt::Display for SendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requested = self.requested_pps.map_or("flood".to_owned(), |rate| format!("{rate} pps"));
        let end = match self.ended_by {
            End::Duration => "its duration was over",
            End::Count => "all packets were sent",
            End::Interrupt => "interrupted",
            End::DeviceLost => "the interface was lost",
        };
        writeln!(
            f,
            "sent       {} packets, {} bytes, in {:.3} s",
            self.packets, self.bytes, self.elapsed_s
        )?;
        writeln!(f, "requested  {requested}")?;
        writeln!(f, "achieved   {:.0} pps ({})", self.achieved_pps, self.mode)?;
        write!(f, "ended      {end}")?;
        if self.unconfirmed > 0 {
            write!(
                f,
                "\nunsure     {} more packets were not confirmed by the kernel",
                self.unconfirmed
            )?;
        }
        match &self.void {
            Some(why) => write!(f, "\nVOID       {why}"),
            None => Ok(()),
        }
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amount {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SinkReport {
    pub(crate) interface: String,
    pub(crate) mode: String,
    pub(crate) queues: usize,
    pub(crate) received: Amount,
    /// For the machine itself (ARP, multicast), passed up and not received here.
    pub(crate) passed_up: Amount,
    /// Arrived, but lost before this program for want of room in its rings.
    pub(crate) lost_packets: u64,
    pub(crate) elapsed_s: f64,
    /// From the first packet to the last.
    pub(crate) active_s: f64,
    /// Over the active time.
    pub(crate) average_pps: f64,
    /// Of each second from the start, the last one perhaps cut short.
    pub(crate) each_second: Vec<Amount>,
    pub(crate) interrupted: bool,
}

impl fmt::Display for SinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount { packets, bytes } = self.received;
        writeln!(
            f,
            "received   {packets} packets, {bytes} bytes, in {:.3} s ({})",
            self.elapsed_s, self.mode
        )?;
        writeln!(
            f,
            "average    {:.0} pps over the {:.3} s from first to last",
            self.average_pps, self.active_s
        )?;
        writeln!(f, "lost       {} packets for want of room here", self.lost_packets)?;
        write!(f, "passed up  {} packets for the machine itself", self.passed_up.packets)?;
        for (second, amount) in self.each_second.iter().enumerate() {
            write!(
                f,
                "\n  {second:>4} s   {:>10} packets  {:>12} bytes",
                amount.packets, amount.bytes
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_could_not_keep_up_is_void() {
        assert_eq!(void(Some(1000), 990.0, End::Duration), None);
        let why = void(Some(1000), 989.0, End::Interrupt).unwrap();
        assert_eq!(why, "the generator could not keep up: 98.9 % of the requested rate");
        assert_eq!(void(None, 1.0, End::Count), None);
        assert!(void(None, 1.0, End::DeviceLost).is_some());
    }
}
