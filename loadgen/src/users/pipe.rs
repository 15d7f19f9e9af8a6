//! A virtual way between two ends, for tests: it loses, doubles, delays and so reorders, all by its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the way does to what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of 1,000 are lost.
    pub(crate) loss: u64,
    /// Of 1,000 arrive twice.
    pub(crate) doubled: u64,
    /// The time of the way, in nanoseconds.
    pub(crate) delay_ns: u64,
    /// Up to so much more, different for each: what overtakes each other.
    pub(crate) jitter_ns: u64,
}

impl Weather {
    /// Nothing happens.
    pub(crate) const FAIR: Self = Self { loss: 0, doubled: 0, delay_ns: 1_000_000, jitter_ns: 0 };
}

/// See the module. What is put in comes out at its time, in either direction.
pub(crate) struct Pipe<T> {
    weather: Weather,
    dice: fastrand::Rng,
    count: u64,
    on_the_way: BinaryHeap<Reverse<(u64, u64)>>,
    things: std::collections::HashMap<u64, (bool, T)>,
}

impl<T: Clone> Pipe<T> {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        let (dice, on_the_way) = (fastrand::Rng::with_seed(seed), BinaryHeap::new());
        Self { weather, dice, count: 0, on_the_way, things: std::collections::HashMap::new() }
    }

    /// Puts something in; `to_right` is its direction.
    pub(crate) fn put(&mut self, now_ns: u64, to_right: bool, thing: &T) {
        let copies = match self.dice.u64(0..1_000) {
            roll if roll < self.weather.loss => 0,
            roll if roll < self.weather.loss + self.weather.doubled => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let jitter_ns = self.dice.u64(0..=self.weather.jitter_ns);
            self.put_at(now_ns + self.weather.delay_ns + jitter_ns, to_right, thing.clone());
        }
    }

    fn put_at(&mut self, at_ns: u64, to_right: bool, thing: T) {
        self.on_the_way.push(Reverse((at_ns, self.count)));
        self.things.insert(self.count, (to_right, thing));
        self.count += 1;
    }

    /// When the next thing arrives.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.on_the_way.peek().map(|Reverse((at_ns, _))| *at_ns)
    }

    /// What has arrived, with its direction.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<(bool, T)> {
        self.due_ns().filter(|at_ns| *at_ns <= now_ns)?;
        let Reverse((_, number)) = self.on_the_way.pop()?;
        self.things.remove(&number)
    }
}

/// The seed of tests: `WEIR_SEED`, or 0x5eed.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    println!("WEIR_SEED={seed}");
    seed
}
