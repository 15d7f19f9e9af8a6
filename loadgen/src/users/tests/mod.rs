//! Both ends over a virtual way, and through boxes that meddle.

mod middlebox;
mod world;

use proptest::prelude::*;

use super::pipe::{Weather, seed};
use super::settings::{Closer, CookieUse};
use super::*;
use middlebox::{Honest, Middlebox, Reset, SynProxy};
use world::{World, config};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn settings(change: impl FnOnce(&mut UsersConfig)) -> Settings {
    let mut config = config();
    change(&mut config);
    config.check().expect("settings of a test")
}

/// What must hold when all is over, whatever happened: every connection counted once, nothing left behind.
fn assert_conserved(world: &World) {
    let ends = world.clients.ends();
    let result = world.result();
    assert_eq!((ends.unfinished(), result.unfinished), (0, 0), "{ends:?}");
    assert_eq!(
        ends.attempted,
        ends.completed + ends.failed_connect + ends.failed_transfer + ends.reset
    );
    assert_eq!(
        (world.clients.remembered(), world.server.remembered()),
        (0, 0),
        "slots left behind"
    );
    assert_eq!(world.server.half_open(), 0);
    assert!(world.clients.is_idle() && world.server.is_idle());
    assert!(ends.connected >= ends.completed && result.server.accepted >= ends.completed);
    assert!(result.goodput_bytes >= ends.completed * u64::from(world.settings.response.bytes()));
    let shared = result.shared.expect("a shared address");
    assert_eq!(shared.attempted, shared.completed + shared.failed);
}

#[test]
fn in_fair_weather_all_complete_and_times_are_the_ways() {
    for (six, closes_first) in [(false, Closer::Server), (true, Closer::Client)] {
        let settings = settings(|config| {
            config.closes_first = closes_first;
            config.service_us = 3_000;
            if six {
                config.clients = "2001:db8::/112".into();
                config.shared_address = Some("2001:db8:1::1".into());
                config.servers = "2001:db8:2::1".into();
            }
        });
        let mut world = World::new(&settings, Weather::FAIR, seed());
        world.play(&mut Honest, 2 * SECOND);
        assert_conserved(&world);
        let result = world.result();
        assert!(result.attempted.abs_diff(400) < 80, "{}", result.attempted);
        assert_eq!(result.completed, result.attempted);
        assert_eq!((result.client_retransmissions, result.server_retransmissions), (0, 0));
        assert_eq!(result.goodput_bytes, result.completed * 4_000);
        let shared = result.shared.as_ref().unwrap();
        assert!(shared.attempted > 40 && shared.completed == shared.attempted);
        // There and back is 2 ms; the service time, and up to one slot of the wheel, come on top.
        let (connect, first) = (result.connect.unwrap(), result.first_byte.unwrap());
        assert!((2 * MS..2 * MS + 50_000).contains(&connect.max_ns), "{connect:?}");
        assert!((7 * MS..7 * MS + 200_000).contains(&first.max_ns), "{first:?}");
        assert_eq!(
            (result.server.syns, result.server.accepted),
            (result.attempted, result.attempted)
        );
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let play = |seed| {
        let weather = Weather { loss: 50, doubled: 20, delay_ns: 10 * MS, jitter_ns: 5 * MS };
        let mut world = World::new(&settings(|_| ()), weather, seed);
        world.play(&mut Honest, SECOND);
        world.result()
    };
    assert!(play(1) == play(1) && play(1) != play(2));
}

/// Nobody at home: each gives up by itself after its repetitions, or when its user has waited long enough.
#[test]
fn without_a_server_all_are_given_up() {
    for (patience_s, seconds) in [(1_000.0, 127), (20.0, 20)] {
        let settings = settings(|config| config.patience_s = patience_s);
        let mut world = World::new(&settings, Weather { loss: 1_000, ..Weather::FAIR }, seed());
        let end_ns = world.play(&mut Honest, SECOND);
        assert_conserved(&world);
        let ends = world.clients.ends();
        assert_eq!(ends.failed_connect, ends.attempted);
        assert!((end_ns / SECOND).abs_diff(seconds) <= 2, "{}", end_ns / SECOND);
    }
}

#[test]
fn a_full_backlog_throws_away_or_sends_cookies() {
    for cookies in [CookieUse::Off, CookieUse::WhenFull, CookieUse::Always] {
        let settings = settings(|config| {
            config.backlog = 4;
            config.syn_cookies = cookies;
            config.rate = 2_000.0;
        });
        let mut world =
            World::new(&settings, Weather { delay_ns: 20 * MS, ..Weather::FAIR }, seed());
        world.play(&mut Honest, SECOND);
        assert_conserved(&world);
        let result = world.result();
        let server = &result.server;
        assert_eq!(result.completed, result.attempted - result.failed_connect);
        let dropped = server.backlog_dropped > 0 && server.half_open_max == 4;
        match cookies {
            CookieUse::Off => {
                assert!(dropped && server.cookies_sent == 0 && result.client_retransmissions > 100)
            }
            CookieUse::WhenFull => {
                assert!(server.cookies_sent > 1_000 && result.completed == result.attempted)
            }
            CookieUse::Always => {
                assert_eq!((server.cookies_sent, server.half_open_max), (result.attempted, 0))
            }
        }
    }
}

/// One address with ten ports, each of them in TIME-WAIT for a minute: the eleventh connection finds none.
#[test]
fn an_address_runs_out_of_ports() {
    for (reuse, time_wait_max, begun) in [(false, 100, 10), (true, 100, 30), (false, 0, 30)] {
        let settings = settings(|config| {
            config.clients = "198.18.0.2".into();
            config.client_ports = "1000-1009".into();
            config.closes_first = Closer::Client;
            config.shared_share = Some(0.0);
            (config.rate, config.spacing) = (5.0, arrivals::Spacing::Constant);
            (config.reuse_time_wait, config.time_wait_max) = (reuse, Some(time_wait_max));
        });
        let mut world = World::new(&settings, Weather::FAIR, seed());
        world.play(&mut Honest, 6 * SECOND - MS);
        assert_conserved(&world);
        let ends = world.clients.ends();
        assert_eq!(
            (ends.completed, ends.not_begun),
            (begun, 30 - begun),
            "{reuse} {time_wait_max}"
        );
    }
}

#[test]
fn a_box_that_proves_clients_by_cookies_is_passed() {
    let weather = Weather { loss: 20, doubled: 10, delay_ns: 5 * MS, jitter_ns: 3 * MS };
    let mut world = World::new(&settings(|_| ()), weather, seed());
    let mut proxy = SynProxy::default();
    world.play(&mut proxy, SECOND);
    assert_conserved(&world);
    let result = world.result();
    assert!(proxy.proved > 100, "{}", proxy.proved);
    // What it loses between its own two handshakes it does not repeat; those users are the few that fail.
    assert!(result.completed * 10 >= result.attempted * 9, "{result:?}");
}

#[test]
fn resets_on_the_way_are_counted_as_such() {
    let mut world = World::new(&settings(|_| ()), Weather::FAIR, seed());
    world.play(&mut Reset { every: 7, count: 0 }, SECOND);
    assert_conserved(&world);
    let ends = world.clients.ends();
    assert!(ends.reset > 50 && ends.completed > 5, "{ends:?}");
}

#[test]
fn a_way_that_dies_leaves_nothing_behind() {
    let mut world = World::new(&settings(|config| config.patience_s = 10_000.0), Weather::FAIR, 3);
    world.dies_at_ns = Some(SECOND / 2);
    world.play(&mut Honest, SECOND);
    assert_conserved(&world);
    let ends = world.clients.ends();
    assert!(ends.completed > 50 && ends.failed_connect > 50, "{ends:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Loss up to one in ten, doubles and disorder: every connection ends in exactly one counted way, and all complete.
    #[test]
    fn connections_survive_bad_weather(
        loss in 0_u64..=100,
        doubled in 0_u64..=50,
        jitter_ms in 0_u64..=20,
        cookies in prop::sample::select(vec![CookieUse::Off, CookieUse::WhenFull, CookieUse::Always]),
        closes_first in prop::sample::select(vec![Closer::Client, Closer::Server]),
        timestamps in any::<bool>(),
        request_bytes in 1_u32..4_000,
        response_bytes in 1_u32..30_000,
        seed in any::<u64>(),
    ) {
        let settings = settings(|config| {
            (config.rate, config.patience_s, config.idle_s) = (50.0, 5_000.0, 2_000.0);
            (config.syn_cookies, config.closes_first) = (cookies, closes_first);
            (config.request_bytes, config.response_bytes) = (request_bytes, response_bytes);
            config.tcp.timestamps = Some(timestamps);
            config.tcp.syn_retries = Some(12);
            config.tcp.fin_wait_s = Some(2_000.0);
        });
        let weather = Weather { loss, doubled, delay_ns: 5 * MS, jitter_ns: jitter_ms * MS };
        let mut world = World::new(&settings, weather, seed);
        world.play(&mut Honest, SECOND);
        assert_conserved(&world);
        let ends = world.clients.ends();
        // What overtakes the return of a cookie is of no connection yet, and is reset (as by Linux).
        let reset = if cookies == CookieUse::Always { ends.reset } else { 0 };
        prop_assert_eq!(ends.completed + reset, ends.attempted, "{:?}", ends);
    }

    /// The same through a box that resets, or a way that dies: they need not complete, but all are counted and gone.
    #[test]
    fn nothing_is_left_behind(
        loss in 0_u64..=400,
        every in 3_u64..50,
        dies_ms in 0_u64..2_000,
        closes_first in prop::sample::select(vec![Closer::Client, Closer::Server]),
        seed in any::<u64>(),
    ) {
        let settings = settings(|config| (config.rate, config.closes_first) = (50.0, closes_first));
        let weather = Weather { loss, doubled: 50, delay_ns: 5 * MS, jitter_ns: 20 * MS };
        let mut world = World::new(&settings, weather, seed);
        world.dies_at_ns = Some(dies_ms * MS);
        world.play(&mut Reset { every, count: 0 } as &mut dyn Middlebox, SECOND);
        assert_conserved(&world);
    }
}
