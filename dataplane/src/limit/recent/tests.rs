//! The table beside a literal model of the kernel's: a list of addresses in the order in which they were noted, each
//! with its ring, looked through from one end to the other.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use weir_control::rule::{Family, Negatable};

use super::*;

/// As `struct recent_entry`.
#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    ttl: u8,
    index: usize,
    count: usize,
    stamps: Vec<u64>,
}

/// As `struct recent_table`: the entry noted longest ago comes first.
struct Model {
    entries: Vec<Entry>,
    addresses: usize,
    stamps: usize,
}

impl Model {
    fn place(&self, key: Key, ttl: u8) -> Option<usize> {
        let is = |entry: &Entry| entry.key == key && (ttl == 0 || [0, ttl].contains(&entry.ttl));
        self.entries.iter().position(is)
    }

    fn begin(&mut self, key: Key, ttl: u8, now: u64) {
        if self.entries.len() >= self.addresses {
            self.entries.remove(0);
        }
        let mut stamps = vec![0; self.stamps];
        stamps[0] = now;
        self.entries.push(Entry { key, ttl, index: 1, count: 1, stamps });
    }

    fn update(&mut self, place: usize, now: u64) {
        let mut entry = self.entries.remove(place);
        entry.index %= self.stamps;
        entry.stamps[entry.index] = now;
        entry.index += 1;
        entry.count = entry.count.max(entry.index);
        self.entries.push(entry);
    }

    fn ask(&mut self, ask: &Ask, key: Key, ttl: u8, now: u64) -> bool {
        let mut ret = ask.negated;
        let Some(place) = self.place(key, if ask.rttl { ttl } else { 0 }) else {
            if ask.action == RecentAction::Set {
                self.begin(key, ttl, now);
                ret = !ret;
            }
            return ret;
        };
        match ask.action {
            RecentAction::Set => ret = !ret,
            RecentAction::Remove => {
                self.entries.remove(place);
                return !ret;
            }
            RecentAction::Rcheck | RecentAction::Update => {
                let time = ask.jiffies.map(|jiffies| i128::from(now) - i128::from(jiffies));
                let stamps = &self.entries[place].stamps[..self.entries[place].count];
                let counts = |stamp: &&u64| time.is_none_or(|time| time <= i128::from(**stamp));
                let hits = stamps.iter().filter(counts).count();
                if hits > 0 && hits >= ask.hitcount as usize {
                    ret = !ret;
                }
                let oldest = &self.entries[0];
                let late = i128::from(oldest.stamps[oldest.index - 1]) < time.unwrap_or(0);
                if ask.reap && late {
                    self.entries.remove(0);
                    // The kernel's `e` would dangle if it was this one.
                    if place == 0 {
                        return ret;
                    }
                    return self.finish(ask, place - 1, (ttl, now), ret);
                }
            }
        }
        self.finish(ask, place, (ttl, now), ret)
    }

    fn finish(&mut self, ask: &Ask, place: usize, (ttl, now): (u8, u64), ret: bool) -> bool {
        let update = ask.action == RecentAction::Update && ret;
        if ask.action == RecentAction::Set || update {
            self.entries[place].ttl = ttl;
            self.update(place, now);
        }
        ret
    }

    fn in_order(&self) -> Vec<Known> {
        let known = |entry: &Entry| {
            let (older, newer) = entry.stamps[..entry.count].split_at(entry.index);
            let jiffies = newer.iter().chain(older).copied().collect();
            Known { key: entry.key, ttl: entry.ttl, jiffies }
        };
        self.entries.iter().map(known).collect()
    }
}

#[derive(Debug, Clone)]
enum Event {
    Ask { ask: Ask, key: Key, ttl: u8 },
    Note(Key),
    Forget(Key),
    Flush,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let key = || (0_u128..9, prop::bool::weighted(0.2)).prop_map(|(bits, ipv6)| Key { bits, ipv6 });
    let ask = (
        prop::sample::select(RecentAction::ALL.to_vec()),
        any::<bool>(),
        prop::option::of(prop_oneof![0_u64..40, 1_000_u64..2_000]),
        0_u32..=8,
        any::<(bool, bool)>(),
    );
    let ask = ask.prop_map(|(action, negated, jiffies, hitcount, (rttl, reap))| {
        let plain = Ask { action, negated, jiffies: None, hitcount: 0, rttl: false, reap: false };
        match action.checks() {
            true => Ask { jiffies, hitcount, rttl, reap: reap && jiffies.is_some(), ..plain },
            false => plain,
        }
    });
    prop_oneof![
        20 => (ask, key(), 1_u8..4).prop_map(|(ask, key, ttl)| Event::Ask { ask, key, ttl }),
        2 => key().prop_map(Event::Note),
        2 => key().prop_map(Event::Forget),
        1 => Just(Event::Flush),
        10 => prop_oneof![0_u64..3, 0_u64..60].prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn it_says_and_keeps_what_the_kernels_would(
        addresses in 1_u32..7,
        stamps in prop::sample::select(vec![8_u32, 16]),
        events in prop::collection::vec(event(), 1..300),
    ) {
        let mut entries = Entries::new(addresses, stamps, RandomState::with_seeds(1, 2, 3, 4));
        let (addresses, stamps) = (addresses as usize, stamps as usize);
        let mut model = Model { entries: Vec::new(), addresses, stamps };
        let mut now = 0;
        for event in events {
            match event {
                Event::Ask { ask, key, ttl } => {
                    prop_assert_eq!(entries.ask(&ask, key, ttl, now), model.ask(&ask, key, ttl, now));
                }
                Event::Note(key) => {
                    entries.note_by_hand(key, now);
                    match model.place(key, 0) {
                        Some(place) => model.update(place, now),
                        None => model.begin(key, 0, now),
                    }
                }
                Event::Forget(key) => {
                    let place = model.place(key, 0);
                    prop_assert_eq!(entries.forget(key), place.is_some());
                    place.into_iter().for_each(|place| drop(model.entries.remove(place)));
                }
                Event::Flush => {
                    entries.forget_oldest(u32::MAX);
                    model.entries.clear();
                }
                Event::Wait(ticks) => now += ticks,
            }
            prop_assert_eq!(entries.in_order(), model.in_order());
            prop_assert_eq!(entries.len() as usize, model.entries.len());
        }
    }

    #[test]
    fn longer_rings_hold_what_the_shorter_held(
        noted in prop::collection::vec((0_u32..6, 1_u64..5), 1..80),
        more in prop::collection::vec((0_u32..6, 1_u64..5), 0..80),
    ) {
        let (short, long) = (RecentTable::new(5, 8, mask()), RecentTable::new(5, 32, mask()));
        let mut now_ns = 0;
        for (host, ticks) in noted {
            now_ns += ticks * super::super::JIFFY_NS;
            let host = Ipv4Addr::from_bits(host).into();
            [&short, &long].iter().for_each(|table| table.note(host, now_ns));
        }
        short.widen(32);
        let last = |entry: RecentEntry, most: usize| {
            let from = entry.jiffies.len().saturating_sub(most);
            (entry.address, entry.jiffies[from..].to_vec())
        };
        let all = |table: &RecentTable, most| {
            let mut all: Vec<_> = table.list().into_iter().map(|entry| last(entry, most)).collect();
            all.sort();
            all
        };
        prop_assert_eq!(all(&short, 99), all(&long, 8));
        for (host, ticks) in more {
            now_ns += ticks * super::super::JIFFY_NS;
            let host = Ipv4Addr::from_bits(host).into();
            [&short, &long].iter().for_each(|table| table.note(host, now_ns));
        }
        prop_assert_eq!(all(&short, 8), all(&long, 8));
    }
}

fn mask() -> IpAddr {
    Family::V4.host_mask()
}

fn asked(action: RecentAction) -> RecentMatch {
    RecentMatch { action: Some(Negatable::is(action)), ..RecentMatch::of(Family::V4) }
}

#[test]
fn workers_that_ask_one_table_let_as_many_through_as_one_would() {
    // The pair of lines that everybody uses, with one source and with several at the table's bound.
    let set = Ask::new(&asked(RecentAction::Set)).expect("an action");
    let update = RecentMatch { seconds: Some(60), hitcount: 20, ..asked(RecentAction::Update) };
    let update = Ask::new(&update).expect("an action");
    let table = RecentTable::new(4, stamps_for(20), mask());
    let flood = |source: u32| {
        let source = Ipv4Addr::from_bits(source).into();
        let passes = |_: &u32| {
            table.ask(&set, source, 64, 0);
            !table.ask(&update, source, 64, 0)
        };
        (0..5_000).filter(passes).count()
    };
    for sources in [[1; 4], [2, 3, 4, 5]] {
        let passed: Vec<usize> = std::thread::scope(|scope| {
            let flood = &flood;
            let worker = |source| scope.spawn(move || flood(source));
            sources.map(worker).map(|worker| worker.join().expect("it counts")).into()
        });
        let sum: usize = passed.iter().sum();
        match sources {
            // The 20th of those that were noted and all that follow are over; of those before, such as were looked at
            // only after the 20th had been noted.
            [1, ..] => assert!((16..=19).contains(&sum), "{passed:?}"),
            _ => assert_eq!(passed, [19; 4]),
        }
    }
    assert_eq!((table.len(), table.capacity()), (4, 4));
}

#[test]
fn masks_make_one_of_many_and_families_stay_apart() {
    let table = RecentTable::new(10, 32, Ipv4Addr::new(255, 255, 0, 255).into());
    let set = Ask::new(&asked(RecentAction::Set)).expect("an action");
    for source in ["10.1.2.3", "10.1.9.3", "10.1.2.4", "2001:db8::1", "2001:db8::2"] {
        assert!(table.ask(&set, source.parse().expect("an address"), 64, 0));
    }
    table.note("10.1.2.3".parse().expect("an address"), 0);
    let mut known: Vec<_> =
        table.list().iter().map(|entry| (entry.address.to_string(), entry.ttl)).collect();
    known.sort();
    let known: Vec<_> = known.iter().map(|(address, ttl)| (&**address, *ttl)).collect();
    let all = [("10.1.0.3", 64), ("10.1.0.4", 64), ("10.1.2.3", 0), ("2001:db8::1", 64)];
    assert_eq!(known, [&all[..], &[("2001:db8::2", 64)]].concat());
    assert!(table.forget("10.1.2.3".parse().expect("an address")));
    assert!(!table.forget("10.1.2.3".parse().expect("an address")));
    table.flush();
    assert!(table.is_empty());
}

#[test]
fn rings_are_as_long_as_the_rules_ask() {
    let all = [0, 1, 20, 32, 33, 64, 65, 65_535, 70_000].map(stamps_for);
    assert_eq!(all, [32, 32, 32, 32, 64, 64, 128, 65_536, 65_536]);
}
