//! A trial with connections on the engine: the users of a profile at a rate, or so many of them at once.
//!
//! ```text
//!   rate      begin ─── duration ───┤ settle ┤            each asks, is answered and closes as soon as it can
//!   at once   begin ─── n / ramp ───┤─ held ─┤─ n / ramp ─┤   the server thinks until all are there, then answers
//! ```
//!
//! That all were held is seen by the answers, which come by each connection at the end (RFC 9411 section 7.5 has a
//! transaction on each for the same reason): a box that has forgotten one lets no answer through.

use super::{Failure, Offer, Outcome, Trial, nanoseconds};
use crate::engine::{self, Options, Ports, Snapshot};
use crate::pace::KEPT_UP;
use crate::profile::Profile;
use crate::result::{RunResult, UsersResult};
use crate::stop::Stop;
use crate::users::Settings;
use crate::users::arrivals::Spacing;

/// What is open when the last one began is waited for so long at least: a SYN that was lost is sent again after 1 s.
const SETTLE_NS_MIN: u64 = 5_000_000_000;

/// How much later than due the last one may begin, in seconds.
const SPARE_S: f64 = 1.0;

/// Most connections that may be asked for at once (`users.connections_max`).
pub const CONNECTIONS_MAX: u64 = 1 << 24;

/// How connections are held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holding {
    /// Connections begun a second until all are there.
    pub ramp_per_second: f64,
    /// Seconds for which all are open.
    pub hold_s: f64,
}

/// Runs a profile's users, and keeps every result.
pub struct UsersTrial<'a> {
    profile: Profile,
    users: Settings,
    holding: Holding,
    ports: &'a mut Ports,
    options: &'a Options,
    stop: &'a Stop,
    /// Is told of every run.
    observer: &'a mut dyn FnMut(&Offer, &RunResult),
    /// Every run, in the order in which it was made.
    pub runs: Vec<RunResult>,
}

impl<'a> UsersTrial<'a> {
    /// `observer` is told of every run when it is over.
    ///
    /// # Errors
    /// The profile has no users.
    pub fn new(
        profile: Profile,
        holding: Holding,
        ports: &'a mut Ports,
        options: &'a Options,
        stop: &'a Stop,
        observer: &'a mut dyn FnMut(&Offer, &RunResult),
    ) -> Result<Self, Failure> {
        let Some(mut users) = profile.users.clone() else {
            return Err(Failure::Setting {
                what: "profile",
                value: profile.name,
                allowed: "connections are its users': it needs a table [users]",
            });
        };
        // What was to begin is a number, and no chance.
        users.spacing = Spacing::Constant;
        Ok(Self { profile, users, holding, ports, options, stop, observer, runs: Vec::new() })
    }

    /// The profile that makes an offer.
    fn profile_for(&self, offer: Offer) -> Result<Profile, Failure> {
        let mut profile = self.profile.clone();
        let mut users = self.users.clone();
        profile.packets_max = u64::MAX;
        match offer {
            Offer::Rate { per_second, duration_s } => {
                users.rate = per_second;
                profile.duration_ns = nanoseconds(duration_s);
                profile.settle_ns = profile.settle_ns.max(SETTLE_NS_MIN);
            }
            Offer::Hold { connections } => self.hold(connections, &mut profile, &mut users)?,
            Offer::Burst { .. } => {
                let (value, allowed) =
                    ("frames".to_owned(), "connections are made here, and no bursts of packets");
                return Err(Failure::Setting { what: "offer", value, allowed });
            }
        }
        profile.users = Some(users);
        Ok(profile)
    }

    /// So many connections at once: the server thinks until all of them are there and have been held.
    fn hold(
        &self,
        connections: u64,
        profile: &mut Profile,
        users: &mut Settings,
    ) -> Result<(), Failure> {
        let refused = |allowed| Failure::Setting {
            what: "connections",
            value: connections.to_string(),
            allowed,
        };
        if connections > CONNECTIONS_MAX {
            return Err(refused("at most 16777216"));
        }
        let ports = u64::from(users.client_ports.1 - users.client_ports.0) + 1;
        if connections > u64::from(users.clients.count()).saturating_mul(ports) {
            return Err(refused(
                "users.clients times users.client_ports are fewer: give more addresses",
            ));
        }
        let count = u32::try_from(connections).unwrap_or(u32::MAX);
        let Holding { ramp_per_second, hold_s } = self.holding;
        let ramp_s = f64::from(count) / ramp_per_second;
        users.rate = ramp_per_second;
        users.connections_max = users.connections_max.max(count);
        users.service_ns = nanoseconds(ramp_s + SPARE_S + hold_s);
        users.patience_ns =
            users.patience_ns.saturating_add(nanoseconds(ramp_s + SPARE_S + hold_s));
        users.attempts_max = connections;
        // With time to spare: a generator that is a little late begins the last one all the same.
        profile.duration_ns = nanoseconds(ramp_s + SPARE_S);
        profile.settle_ns = users.service_ns.saturating_add(SETTLE_NS_MIN.max(profile.settle_ns));
        Ok(())
    }
}

impl Trial for UsersTrial<'_> {
    fn measure(&mut self, offer: Offer) -> Result<Outcome, Failure> {
        let profile = self.profile_for(offer)?;
        let mut nobody = |_: &Snapshot| {};
        let result = engine::run(&profile, self.ports, self.options, self.stop, &mut nobody)
            .map_err(|error| Failure::Lost(error.to_string()))?;
        (self.observer)(&offer, &result);
        let outcome = outcome(offer, &result);
        let ended = Failure::of(&result);
        self.runs.push(result);
        ended.map_or(Ok(outcome), Err)
    }
}

/// What a search wants to know of a run.
fn outcome(offer: Offer, result: &RunResult) -> Outcome {
    let none = UsersResult::default();
    let users = result.users.as_ref().unwrap_or(&none);
    let void = result.void.clone().filter(|_| !result.is_silent).or_else(|| short(offer, users));
    Outcome {
        offered: users.attempted,
        completed: users.completed,
        elapsed_s: result.elapsed_s,
        latency: users.last_byte.clone(),
        tries: 1,
        void,
    }
}

/// Why our own users were too slow for the offer, or did not hold what the box would have let them.
#[expect(clippy::cast_precision_loss, reason = "connections are below 2^53")]
fn short(offer: Offer, users: &UsersResult) -> Option<String> {
    let (wanted, had, what) = match offer {
        // One connection more or less is the rounding of the time.
        Offer::Rate { per_second, duration_s } => {
            (per_second * duration_s * KEPT_UP - 1.0, users.attempted, "connections were begun")
        }
        Offer::Hold { connections } if users.attempted < connections => {
            (connections as f64, users.attempted, "connections were begun")
        }
        Offer::Hold { connections } if users.completed == users.attempted => {
            (connections as f64, users.concurrent_max, "connections were open at once")
        }
        _ => return None,
    };
    ((had as f64) < wanted)
        .then(|| format!("the generator could not keep up: {had} of {wanted:.0} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn run(attempted: u64, completed: u64, concurrent_max: u64) -> RunResult {
        let mut run = sample::study("box", 0.0, 1);
        run.streams.clear();
        let users = run.users.as_mut().unwrap();
        (users.attempted, users.completed, users.concurrent_max) =
            (attempted, completed, concurrent_max);
        run
    }

    #[test]
    fn connections_that_fail_are_the_boxs_and_those_that_never_began_are_ours() {
        let rate = Offer::Rate { per_second: 100.0, duration_s: 10.0 };
        let found = outcome(rate, &run(1_000, 900, 50));
        assert_eq!((found.offered, found.completed, found.void), (1_000, 900, None));
        assert!(outcome(rate, &run(980, 980, 50)).void.unwrap().contains("980 of 989"));
        let hold = Offer::Hold { connections: 1_000 };
        assert_eq!(outcome(hold, &run(1_000, 1_000, 1_000)).void, None);
        assert!(outcome(hold, &run(1_000, 1_000, 700)).void.unwrap().contains("700 of 1000"));
        // Those that failed were not open: that is the box's doing.
        assert_eq!(outcome(hold, &run(1_000, 700, 700)).void, None);
        let mut late = run(1_000, 0, 0);
        late.void = Some("an interface".to_owned());
        assert_eq!(outcome(rate, &late).void.as_deref(), Some("an interface"));
    }
}
