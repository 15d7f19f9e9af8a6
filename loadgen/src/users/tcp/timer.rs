//! What happens when nothing happens.

use super::{Connection, End, Flags, NEVER, State, TcpSettings};

impl Connection {
    /// Does what has become due. Returns the end if the connection has come to one, which is told once: what was in
    /// TIME-WAIT is only closed.
    pub fn timer(&mut self, settings: &TcpSettings, now_ns: u64) -> Option<End> {
        if now_ns >= self.ack_ns {
            self.ack_ns = NEVER;
            self.flags.clear(Flags::ACK_LATER);
            self.flags.set(Flags::ACK_NOW);
        }
        if now_ns < self.timer_ns {
            return None;
        }
        self.timer_ns = NEVER;
        match self.state {
            State::Closed => None,
            State::TimeWait => {
                self.close();
                None
            }
            // The peer has acknowledged our FIN and never sent its own: Linux forgets the connection, too.
            State::FinWait2 => {
                self.close();
                Some(End::TimedOut)
            }
            _ => self.repeat(settings, now_ns),
        }
    }

    /// The peer has not acknowledged, or keeps its window shut.
    fn repeat(&mut self, settings: &TcpSettings, now_ns: u64) -> Option<End> {
        if self.retries >= self.retries_max(settings) {
            self.close();
            return Some(End::TimedOut);
        }
        self.retries += 1;
        self.round_trip.back_off();
        if self.flight() == 0 && self.is_synchronized() {
            // RFC 9293 section 3.8.6.1.
            self.flags.set(Flags::PROBE);
            self.start_timer(settings, now_ns);
            return None;
        }
        if self.una == 0 {
            self.flags.set(Flags::SYN_LOST);
        }
        self.congestion.timed_out(self.una, self.flight(), u32::from(self.mss), self.retries == 1);
        self.flags.clear(Flags::TIMING);
        self.flags.clear(Flags::AGAIN);
        self.nxt = self.una;
        self.watch_window(settings, now_ns);
        None
    }

    fn retries_max(&self, settings: &TcpSettings) -> u8 {
        match self.state {
            State::SynSent => settings.syn_retries,
            State::SynReceived => settings.synack_retries,
            _ => settings.data_retries,
        }
    }

    /// Starts the timer for what was just sent, or anew.
    pub(super) fn start_timer(&mut self, settings: &TcpSettings, now_ns: u64) {
        let linear = if self.state == State::SynSent { settings.syn_linear } else { 0 };
        self.timer_ns = now_ns.saturating_add(self.round_trip.wait_ns(settings, linear));
    }

    /// The wait of TIME-WAIT and of FIN-WAIT-2.
    pub(super) fn wait(&mut self, settings: &TcpSettings, now_ns: u64) {
        let wait_ns = match self.state {
            State::TimeWait => settings.time_wait_ns,
            _ => settings.fin_wait_ns,
        };
        self.timer_ns = now_ns.saturating_add(wait_ns);
    }
}
