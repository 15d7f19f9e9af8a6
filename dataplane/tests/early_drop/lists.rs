//! The lists against the specification, over a model of the program; and what is refused.

use std::net::IpAddr;

use weir_control::address_list::AddressList;
use weir_dataplane::early_drop::{
    By, Condition, EXPIRED_A_TICK_MAX, EarlyDrop, EarlyDropError, FOR_EVER, Guarded, GuardedBy,
    Hook, Maps, Net, Sizes,
};
use weir_dataplane::program::PacketCount;

use crate::chance::{Chance, Seed};
use crate::frame;
use crate::model::Model;
use crate::spec::{Change, SIZES, Spec, address, condition};

/// Any time, far from 0.
pub(crate) const NOW_NS: u64 = 10_000_000_000_000;

pub(crate) fn net(text: &str) -> Net {
    let (address, len) =
        text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let address: IpAddr = address.parse().expect(text);
    match len {
        None => Net::host(address),
        Some(len) => Net::new(address, len.parse().expect(text)).expect(text),
    }
}

/// Conditions 1 and 2: everything that is forwarded, of IPv4 and of IPv6.
pub(crate) fn set_conditions<M: Maps>(lists: &mut EarlyDrop<M>) {
    for all in ["0.0.0.0/0", "::/0"] {
        let all = net(all);
        let meaning = Condition::any(Hook::Forward, all);
        lists.set_condition(condition(all), Some(meaning), NOW_NS).expect("maps");
    }
}

#[test]
fn the_lists_mean_what_a_linear_search_finds() {
    let seed = crate::seed();
    let (_seed, mut chance) = (Seed(seed), Chance::new(seed));
    let (mut dropped, mut passed) = (0, 0);
    for _ in 0..80 {
        let model = Model::new(SIZES);
        let mut lists = EarlyDrop::new(model.clone(), SIZES);
        set_conditions(&mut lists);
        let mut spec = Spec::default();
        let mut sum = PacketCount::default();
        for step in 0..60 {
            let change = Change::draw(&mut chance, NOW_NS);
            let taken = change.make(&mut lists, NOW_NS);
            assert_eq!(taken, spec.make(change, NOW_NS), "step {step}: {change:?}");
            for _ in 0..20 {
                let source = address(&mut chance);
                let frame = frame::from(source);
                let drops = model.drops(source, &frame, NOW_NS, 0);
                assert_eq!(
                    drops,
                    spec.drops(source, NOW_NS),
                    "step {step}: {source} after {change:?}"
                );
                *(if drops { &mut dropped } else { &mut passed }) += 1;
                if drops {
                    sum += PacketCount { packets: 1, bytes: frame.len() as u64 };
                }
            }
            assert_eq!(lists.dropped().expect("maps"), sum);
        }
    }
    assert!(dropped > 5_000 && passed > 5_000, "{dropped} and {passed}: it tested little");
}

#[test]
fn entries_are_counted_and_listed_in_the_order_of_addresses() {
    let model = Model::new(SIZES);
    let mut lists = EarlyDrop::new(model.clone(), SIZES);
    for source in ["fd00::/64", "10.0.0.1", "10.0.0.0/8", "9.255.255.255"] {
        lists.block(net(source), FOR_EVER, Some(source.to_owned()), NOW_NS).expect("room");
    }
    let one: IpAddr = [10, 0, 0, 1].into();
    let frame = frame::from(one);
    for _ in 0..3 {
        assert!(model.drops(one, &frame, NOW_NS, 0));
    }
    // Whatever an entry is given anew, it counts on.
    lists.block(net("10.0.0.1"), NOW_NS + 1, None, NOW_NS).expect("it is there");
    let all = lists.page(None, 10).expect("maps");
    let counted = PacketCount { packets: 3, bytes: 3 * frame.len() as u64 };
    let shown: Vec<_> = all.iter().map(|entry| (entry.source.to_string(), entry.dropped)).collect();
    let none = PacketCount::default();
    assert_eq!(
        shown,
        [
            ("9.255.255.255".to_owned(), none),
            ("10.0.0.0/8".to_owned(), none),
            ("10.0.0.1".to_owned(), counted),
            ("fd00::/64".to_owned(), none)
        ]
    );
    assert_eq!((&all[2].by, all[2].until_ns), (&By::Operator(None), NOW_NS + 1));
    assert_eq!(lists.page(Some(all[1].source), 1).expect("maps"), all[2..3]);
    // A new entry begins at zero, also where another has counted.
    lists.unblock(net("10.0.0.1"), NOW_NS).expect("it is there");
    lists.tick(NOW_NS + 1_000_000_000).expect("maps");
    lists.block(net("10.0.0.1"), FOR_EVER, None, NOW_NS).expect("room");
    assert_eq!(lists.page(Some(net("10.0.0.0/8")), 1).expect("maps")[0].dropped, none);
    assert_eq!(lists.dropped().expect("maps"), counted, "and nothing is forgotten");
}

#[test]
fn expired_entries_are_taken_out_a_bounded_number_at_a_time() {
    let sizes = Sizes { sources_max: 3_000, prefixes_max: 1 };
    let mut lists = EarlyDrop::new(Model::new(sizes), sizes);
    for number in 0..2_500_u32 {
        lists
            .block(Net::host(number.to_be_bytes().into()), NOW_NS + 5, None, NOW_NS)
            .expect("room");
    }
    lists.block(net("10.0.0.1"), NOW_NS + 6, None, NOW_NS).expect("room");
    let left = |lists: &EarlyDrop<Model>| lists.len(AddressList::Blocklist);
    assert!(!lists.tick(NOW_NS + 4).expect("maps"));
    assert_eq!(left(&lists), 2_501);
    assert!(lists.tick(NOW_NS + 5).expect("maps"));
    assert_eq!(left(&lists), 2_501 - EXPIRED_A_TICK_MAX);
    assert!(lists.tick(NOW_NS + 5).expect("maps"));
    assert!(!lists.tick(NOW_NS + 5).expect("maps"));
    assert_eq!(left(&lists), 1);
}

#[test]
fn what_there_is_no_room_for_is_refused() {
    let mut lists = EarlyDrop::new(Model::new(SIZES), SIZES);
    for last in 0..6 {
        lists.block(Net::host([10, 0, 0, last].into()), FOR_EVER, None, NOW_NS).expect("room");
    }
    let error = lists.block(net("10.0.0.6"), FOR_EVER, None, NOW_NS).expect_err("it is full");
    assert!(matches!(error, EarlyDropError::Full { max: 6, .. }), "{error}");
    // Each family and each kind has room of its own.
    lists.block(net("fd00::1"), FOR_EVER, None, NOW_NS).expect("room");
    lists.block(net("10.0.0.0/8"), FOR_EVER, None, NOW_NS).expect("room");
    let error = lists.unblock(net("10.0.0.6"), NOW_NS).expect_err("it is not there");
    assert!(matches!(error, EarlyDropError::NotThere { .. }), "{error}");
    assert_eq!(lists.flush(AddressList::Blocklist, NOW_NS).expect("maps"), 8);
    assert!(lists.is_empty(AddressList::Blocklist));
}

#[test]
fn what_the_machine_depends_on_is_found() {
    let mut lists = EarlyDrop::new(Model::new(SIZES), SIZES);
    let guard = |address: [u8; 4], by| Guarded { address: address.into(), by };
    let own = guard([10, 0, 0, 1], GuardedBy::Own);
    let router = guard([192, 168, 0, 254], GuardedBy::Gateway);
    let guarded = [own, router];
    let exposed = |lists: &EarlyDrop<Model>, text: &str| {
        lists.exposed_by_block(net(text), FOR_EVER, &guarded)
    };
    assert_eq!(exposed(&lists, "10.0.0.2"), None);
    assert_eq!(exposed(&lists, "10.0.0.1"), Some(own));
    assert_eq!(exposed(&lists, "192.0.0.0/8"), Some(router));
    assert_eq!(exposed(&lists, "0.0.0.0/0"), Some(own));
    assert_eq!(exposed(&lists, "::/0"), None);

    lists.allow(net("10.0.0.0/24"), NOW_NS + 10, None, NOW_NS).expect("room");
    assert_eq!(exposed(&lists, "10.0.0.1"), Some(own), "it is allowed for less long");
    assert_eq!(lists.exposed_by_block(net("10.0.0.1"), NOW_NS + 10, &guarded), None);
    lists.allow(net("10.0.0.0/24"), FOR_EVER, None, NOW_NS).expect("it is there");
    assert_eq!(exposed(&lists, "10.0.0.0/8"), None);

    // Nothing is blocked yet; then it is, but for the allowlist.
    assert_eq!(lists.exposed_by_unallow(None, &guarded), None);
    lists.block(net("10.0.0.0/8"), FOR_EVER, None, NOW_NS).expect("room");
    assert_eq!(lists.exposed(&guarded), []);
    assert_eq!(lists.exposed_by_unallow(Some(net("10.0.0.0/24")), &guarded), Some(own));
    assert_eq!(lists.exposed_by_unallow(None, &guarded), Some(own));
    lists.allow(net("10.0.0.1"), FOR_EVER, None, NOW_NS).expect("room");
    assert_eq!(
        lists.exposed_by_unallow(Some(net("10.0.0.0/24")), &guarded),
        None,
        "the other entry stays"
    );
    lists.flush(AddressList::Allowlist, NOW_NS).expect("maps");
    assert_eq!(lists.exposed(&guarded), [own]);
}
