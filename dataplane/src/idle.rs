//! `Idle`: when a worker spins and when it sleeps.
//!
//! A poll loop that never sleeps answers at once and burns a core; one that sleeps pays a wake-up of
//! some microseconds for the next packet. So the worker spins for a while after the last packet, then
//! sleeps until the kernel reports a packet. How long it spins follows the traffic: a sleep that turns out
//! shorter than the longest spin was a sleep not worth its wake-up, and doubles the spin; a long one
//! halves it.

/// Bounds of the spin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleConfig {
    /// Shortest spin after the last packet, in nanoseconds.
    pub spin_ns_min: u64,
    /// Longest spin, in nanoseconds; `u64::MAX` for a worker that never sleeps.
    pub spin_ns_max: u64,
}

/// What an idle worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Poll again at once.
    Spin,
    /// Sleep until there is something to do.
    Sleep,
}

/// The state of the choice.
#[derive(Debug, Clone)]
pub struct Idle {
    config: IdleConfig,
    spin_ns: u64,
    busy_ns: u64,
}

impl Idle {
    /// Starts with the longest spin.
    #[must_use]
    pub fn new(config: IdleConfig, now_ns: u64) -> Self {
        Self { config, spin_ns: config.spin_ns_max, busy_ns: now_ns }
    }

    /// There was work at `now_ns`.
    pub fn busy(&mut self, now_ns: u64) {
        self.busy_ns = now_ns;
    }

    /// There was none.
    #[must_use]
    pub fn step(&self, now_ns: u64) -> Step {
        if now_ns.saturating_sub(self.busy_ns) < self.spin_ns { Step::Spin } else { Step::Sleep }
    }

    /// A sleep of `slept_ns` was ended by a packet.
    pub fn woke(&mut self, slept_ns: u64) {
        self.spin_ns = if slept_ns < self.config.spin_ns_max {
            self.spin_ns.saturating_mul(2)
        } else {
            self.spin_ns / 2
        }
        .clamp(self.config.spin_ns_min.max(1), self.config.spin_ns_max.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: IdleConfig = IdleConfig { spin_ns_min: 10, spin_ns_max: 80 };

    #[test]
    fn it_spins_then_sleeps() {
        let mut idle = Idle::new(CONFIG, 0);
        assert_eq!((idle.step(79), idle.step(80)), (Step::Spin, Step::Sleep));
        idle.busy(100);
        assert_eq!((idle.step(179), idle.step(180)), (Step::Spin, Step::Sleep));
    }

    #[test]
    fn the_spin_follows_the_traffic_within_bounds() {
        let mut idle = Idle::new(CONFIG, 0);
        for expected in [40, 20, 10, 10] {
            idle.woke(1_000_000);
            assert_eq!(idle.spin_ns, expected);
        }
        for expected in [20, 40, 80, 80] {
            idle.woke(79);
            assert_eq!(idle.spin_ns, expected);
        }
    }

    #[test]
    fn without_bound_it_never_sleeps() {
        let idle = Idle::new(IdleConfig { spin_ns_min: 0, spin_ns_max: u64::MAX }, 0);
        assert_eq!(idle.step(u64::MAX - 1), Step::Spin);
    }
}
