use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// How often it was asked for, and what it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count(u32, u8);

impl State for Count {
    fn weight(&self) -> u8 {
        self.1
    }
}

fn table(keys: usize, expire: u32) -> Table<u32, Count> {
    Table::new(keys, expire, 7, Count(0, 0))
}

/// Asks for a key; how often that has been done.
fn ask(table: &Table<u32, Count>, key: u32, now: u64, weight: u8) -> u32 {
    table.with(
        key,
        now,
        || Count(0, 0),
        |count, _| {
            *count = Count(count.0 + 1, weight);
            count.0
        },
    )
}

#[test]
fn what_finds_entries_is_a_cache_line_and_those_of_sources_are_two() {
    assert!(size_of::<Head>() + 8 <= 64);
    let lines = |bytes: usize| bytes / buckets_for(6) / 64;
    assert_eq!(lines(Table::<u32, [u32; 4]>::bytes_for(6)), 3);
    assert_eq!(lines(Table::<crate::limit::key::Key4, [u32; 4]>::bytes_for(6)), 4);
    assert_eq!(lines(Table::<crate::limit::key::Key6, [u32; 4]>::bytes_for(6)), 7);
}

impl State for [u32; 4] {
    fn weight(&self) -> u8 {
        0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map_with_expiry_as_long_as_there_is_room(
        steps in prop::collection::vec((0_u32..40, 0_u64..30), 1..400),
    ) {
        // 40 keys in room for thousands: hardly two buckets meet, and none is full.
        let (table, mut model, mut now) = (table(1000, 100), BTreeMap::new(), 1 << 33);
        for (key, step) in steps {
            now += step;
            let (count, seen) = model.entry(key).or_insert((0, now));
            if now - *seen >= 100 {
                *count = 0;
            }
            (*count, *seen) = (*count + 1, now);
            prop_assert_eq!(ask(&table, key, now, 0), *count);
        }
        let mut there: Vec<_> =
            table.entries(now).map(|entry| (entry.key, entry.state.0, entry.age)).collect();
        there.sort_unstable();
        let expected: Vec<_> = model
            .iter()
            .filter(|(_, (_, seen))| now - seen < 100)
            .map(|(key, (count, seen))| (*key, *count, (now - seen) as u32))
            .collect();
        prop_assert_eq!(there, expected);
    }

    #[test]
    fn it_never_holds_more_than_its_entries_and_the_last_key_is_always_there(
        keys in 1_usize..200, seed in any::<u64>(), asked in prop::collection::vec(any::<u32>(), 1..2000),
    ) {
        let table = Table::new(keys, u32::MAX, seed, Count(0, 0));
        let entries = buckets_for(keys) * WAYS;
        for key in asked {
            ask(&table, key, 5, 1);
            prop_assert!(ask(&table, key, 5, 1) >= 2);
        }
        prop_assert!(table.entries(5).count() <= entries);
    }
}

#[test]
fn as_many_keys_as_it_is_made_for_nearly_all_fit() {
    for keys in [1000, 65_536] {
        let table = table(keys, 1000);
        (0..keys as u32).for_each(|key| assert_eq!(ask(&table, key, 1, 0), 1));
        let there = table.entries(1).count();
        assert!(there * 100 >= keys * 98, "{there} of {keys}");
    }
}

#[test]
fn a_flood_of_strangers_drives_out_no_one_that_is_held_back() {
    let table = table(1000, u32::MAX);
    let held_back = 0..200_u32;
    for round in 1..=5 {
        for key in held_back.clone() {
            assert_eq!(ask(&table, key, round, 9), round as u32, "{key} is known");
        }
        for stranger in 0..20_000 {
            ask(&table, (round as u32) << 20 | stranger, round, 0);
        }
    }
    // And one that comes for the first time is known at once.
    assert_eq!([1, 2, 3].map(|_| ask(&table, u32::MAX, 6, 0)), [1, 2, 3]);
}

#[test]
fn what_weighs_the_least_and_was_asked_for_the_longest_time_ago_gives_way() {
    let head = |seen: [u32; WAYS], ranks: [u8; WAYS]| Head {
        tags: Default::default(),
        seen: seen.map(AtomicU32::new),
        ranks: ranks.map(AtomicU8::new),
    };
    let full = head([10, 20, 30, 40, 50, 60], [3, 2, 2, 255, 3, 2]);
    assert_eq!(full.victim(71, 1000), 1);
    assert_eq!(full.victim(71, 45), 0, "it has expired");
    assert_eq!(full.victim(71, 20), 0, "and this longest ago");
    full.ranks[5].store(FREE, Relaxed);
    assert_eq!(full.victim(71, 45), 5, "it is free");
    // A clock that has gone round.
    assert_eq!(head([u32::MAX, 2, 3, 4, 5, 6], [1; WAYS]).victim(7, 1000), 0);
}

#[test]
fn what_was_asked_for_a_little_later_is_there() {
    let table = table(100, 50);
    ask(&table, 7, 1000, 0);
    let there = |now| table.entries(now).map(|entry| entry.age).collect::<Vec<_>>();
    assert_eq!((there(998), there(1000), there(1049)), (vec![0], vec![0], vec![49]));
    assert!(table.knows(&7, 990) && table.knows(&7, 1049) && !table.knows(&8, 1000));
    assert!(there(1050).is_empty() && !table.knows(&7, 1050));
}

#[test]
fn workers_that_meet_lose_nothing() {
    let table = table(100, u32::MAX);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..30_000_u32).for_each(|n| assert!(ask(&table, n % 10, 1, 0) > 0)));
        }
    });
    assert_eq!((0..10).map(|key| ask(&table, key, 1, 0)).collect::<Vec<_>>(), [9001; 10]);
    assert!(table.forget(&3, 1) && !table.forget(&3, 1) && !table.forget(&77, 1));
    assert_eq!(table.entries(1).count(), 9);
}

/// Whoever has the source of this program finds keys of one bucket under a seed of his own: there they drive out each
/// other, and his victim. Under one that he does not know all of them have room.
#[test]
fn keys_that_meet_under_one_seed_do_not_under_another() {
    let (known, unknown) =
        (table(1000, u32::MAX), Table::new(1000, u32::MAX, !0x5eed, Count(0, 0)));
    let victim = known.place(&77).0;
    let meets = |key: &u32| std::ptr::eq(known.place(key).0, victim);
    let chosen: Vec<u32> = (1000..).filter(meets).take(300).collect();
    for key in std::iter::once(77).chain(chosen) {
        ask(&known, key, 5, 1);
        ask(&unknown, key, 5, 1);
    }
    assert_eq!(known.entries(5).count(), WAYS);
    assert!(!known.knows(&77, 5));
    assert_eq!(unknown.entries(5).count(), 301);
}
