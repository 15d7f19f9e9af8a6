//! A trial on the engine: a profile, sent by two sides at the rate that is asked for.

use super::{Failure, Offer, Outcome, Trial, nanoseconds};
use crate::engine::{self, Options, Ports, Snapshot};
use crate::pace::Schedule;
use crate::profile::Profile;
use crate::report::study::Joined;
use crate::result::{Expect, RunResult, StreamResult};
use crate::stop::Stop;

/// How long a burst may take at most, in seconds.
const BURST_MAX_S: f64 = 60.0;

/// Runs a profile, and keeps every result.
pub struct EngineTrial<'a> {
    profile: Profile,
    ports: &'a mut Ports,
    options: &'a Options,
    stop: &'a Stop,
    observer: &'a mut dyn FnMut(&Snapshot),
    voided: &'a mut dyn FnMut(&str),
    /// Every run, in the order in which it was made.
    pub runs: Vec<RunResult>,
}

impl<'a> EngineTrial<'a> {
    /// `observer` is called ten times a second; `voided` is told why a trial says nothing, whenever one does.
    ///
    /// # Errors
    /// The profile has a stream that need not pass: what is lost of it says nothing. Or it has users, who would run
    /// along uncounted.
    pub fn new(
        profile: Profile,
        ports: &'a mut Ports,
        options: &'a Options,
        stop: &'a Stop,
        observer: &'a mut dyn FnMut(&Snapshot),
        voided: &'a mut dyn FnMut(&str),
    ) -> Result<Self, Failure> {
        if let Some(stream) = profile.streams.iter().find(|stream| stream.expect != Expect::Pass) {
            return Err(Failure::Setting {
                what: "stream",
                value: stream.name.clone(),
                allowed: "a search counts what is lost, so every stream is to pass: expect = \"pass\"",
            });
        }
        if profile.users.is_some() {
            return Err(Failure::Setting {
                what: "profile",
                value: profile.name,
                allowed: "its [users] would run along uncounted: search with streams alone, or with `weirgen \
                          connections` for connections",
            });
        }
        if profile.streams.is_empty() {
            let (value, allowed) =
                (profile.name.clone(), "a search sends packets: the profile needs a stream");
            return Err(Failure::Setting { what: "profile", value, allowed });
        }
        Ok(Self { profile, ports, options, stop, observer, voided, runs: Vec::new() })
    }

    fn profile_for(&self, offer: Offer) -> Result<Profile, Failure> {
        let mut profile = match offer {
            Offer::Rate { per_second, duration_s } => {
                let changed = self.profile.at_rate(per_second);
                let mut profile = changed
                    .map_err(|why| Failure::Lost(format!("the profile cannot be sent at {why}")))?;
                profile.duration_ns = nanoseconds(duration_s);
                // The duration bounds it.
                profile.packets_max = u64::MAX;
                profile
            }
            Offer::Burst { frames } => {
                let mut profile = self.profile.clone();
                profile.streams.iter_mut().for_each(|stream| stream.schedule = Schedule::Flood);
                (profile.packets_max, profile.duration_ns) = (frames, nanoseconds(BURST_MAX_S));
                profile
            }
            Offer::Hold { .. } => {
                let allowed = "packets are sent here, and no connections made";
                return Err(Failure::Setting {
                    what: "offer",
                    value: "connections".to_owned(),
                    allowed,
                });
            }
        };
        profile.name.clone_from(&self.profile.name);
        Ok(profile)
    }
}

impl Trial for EngineTrial<'_> {
    fn measure(&mut self, offer: Offer) -> Result<Outcome, Failure> {
        let profile = self.profile_for(offer)?;
        let result = engine::run(&profile, self.ports, self.options, self.stop, self.observer)
            .map_err(|error| Failure::Lost(error.to_string()))?;
        let outcome = outcome(&result);
        if let Some(why) = &outcome.void {
            (self.voided)(why);
        }
        let ended = Failure::of(&result);
        self.runs.push(result);
        ended.map_or(Ok(outcome), Err)
    }
}

/// What a search wants to know of a run.
pub(crate) fn outcome(result: &RunResult) -> Outcome {
    let sum = |of: fn(&StreamResult) -> u64| result.streams.iter().map(of).sum::<u64>();
    let (offered, completed) = (sum(|stream| stream.sent), sum(|stream| stream.received));
    // Where all was sent and nothing came, the box lost it: that is an answer.
    let void = result.void.clone().filter(|_| !result.is_silent);
    let latencies = || result.streams.iter().filter_map(|stream| stream.latency.as_ref());
    let latency = match (latencies().next(), Joined::of(latencies())) {
        (Some(first), _) if latencies().count() == 1 => Some(first.clone()),
        (_, Some(joined)) => Some(joined.latency()),
        _ => None,
    };
    Outcome { offered, completed, elapsed_s: result.elapsed_s, latency, tries: 1, void }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn probe() -> RunResult {
        let mut run = sample::study("box", 0.0, 1);
        run.users = None;
        run
    }

    #[test]
    fn what_is_void_and_what_is_lost_are_told_apart() {
        let run = probe();
        let found = outcome(&run);
        assert_eq!((found.offered, found.completed, found.void.clone()), (10_000, 9_990, None));
        assert_eq!(found.latency, run.streams[0].latency);
        assert!((found.loss_ratio() - 0.001).abs() < 1e-12);
        // All sent, nothing arrived: the engine calls the run void, the search calls it lost.
        let mut silent = probe();
        (silent.streams[0].received, silent.void) = (0, Some("nothing arrived".to_owned()));
        silent.is_silent = true;
        assert_eq!((outcome(&silent).void, outcome(&silent).loss_ratio()), (None, 1.0));
        // Nothing arrived either, but it was never sent, or not in time: void, whatever the rates say.
        let unsent =
            RunResult { is_silent: false, void: Some("never confirmed".to_owned()), ..silent };
        assert_eq!(outcome(&unsent).void.as_deref(), Some("never confirmed"));
    }

    #[test]
    fn several_streams_are_one_distribution() {
        let mut run = probe();
        let mut second = run.streams[0].clone();
        second.latency = Some(sample::latency(2_000_000));
        run.streams.push(second);
        let found = outcome(&run).latency.unwrap();
        assert_eq!((found.count, found.min_ns, found.max_ns), (20_000, 10_050, 100_000_000));
        assert_eq!(found.p90_ns, 3_000_000);
        assert_eq!(found.buckets.len(), 12);
    }
}
