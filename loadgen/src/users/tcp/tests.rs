//! Two connections over a virtual way.

use proptest::prelude::*;
use weir_dataplane::wire::TcpFlags;

use super::*;
use crate::users::pipe::{Pipe, Weather};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// One end with its user: says so much, hears so much, closes first or second.
struct Party {
    connection: Option<Connection>,
    settings: TcpSettings,
    says: u32,
    hears: u32,
    /// Says its message only when it has heard the other's.
    answers: bool,
    has_said: bool,
    closes_first: bool,
    heard: u32,
    sent: Vec<(u64, Segment)>,
    ends: Vec<End>,
    connected: u32,
    repeated: u32,
}

impl Party {
    fn new(
        settings: &TcpSettings,
        says: u32,
        hears: u32,
        answers: bool,
        closes_first: bool,
    ) -> Self {
        Self {
            connection: None,
            settings: settings.clone(),
            says,
            hears,
            answers,
            has_said: false,
            closes_first,
            heard: 0,
            sent: Vec::new(),
            ends: Vec::new(),
            connected: 0,
            repeated: 0,
        }
    }

    fn receive(&mut self, now_ns: u64, segment: &Segment) -> Option<Segment> {
        if self.connection.is_none()
            && self.ends.is_empty()
            && self.answers
            && segment.flags == TcpFlags::SYN
        {
            let start = Start { sequence: 0xffff_fff0, clock_offset: 99 };
            self.connection = Some(Connection::accept(&self.settings, start, segment));
            return None;
        }
        let Some(connection) = &mut self.connection else { return stray_reset(segment) };
        let outcome = connection.receive(&self.settings, now_ns, segment);
        self.heard += outcome.bytes;
        self.connected += u32::from(outcome.connected);
        self.ends.extend(outcome.end);
        self.act();
        if outcome.refused { stray_reset(segment) } else { None }
    }

    fn act(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let ready = connection.is_synchronized() && (!self.answers || self.heard == self.hears);
        if ready && !self.has_said {
            self.has_said = true;
            connection.say(self.says);
        }
        let done = self.has_said && self.heard == self.hears;
        if done && (self.closes_first || connection.peer_has_closed()) {
            connection.finish();
        }
        if connection.state() == State::Closed {
            self.connection = None;
        }
    }

    fn timer(&mut self, now_ns: u64) {
        let Some(connection) = &mut self.connection else { return };
        if connection.due_ns().is_some_and(|due| due <= now_ns) {
            self.ends.extend(connection.timer(&self.settings, now_ns));
            self.act();
        }
    }

    fn next(&mut self, now_ns: u64) -> Option<Segment> {
        let connection = self.connection.as_mut()?;
        let had = connection.has_next();
        let next = connection.next(&self.settings, now_ns);
        assert_eq!(had, next.is_some(), "{connection:?}");
        let (segment, again) = next?;
        self.repeated += u32::from(again);
        self.sent.push((now_ns, segment));
        Some(segment)
    }
}

/// Plays until nothing is left to happen; returns the time.
fn play(parties: &mut [Party; 2], weather: Weather, seed: u64) -> u64 {
    let mut pipe = Pipe::new(weather, seed);
    let mut now_ns = 7 * SECOND;
    for _ in 0..1_000_000 {
        for (side, to_right) in [(0, true), (1, false)] {
            parties[side].timer(now_ns);
            while let Some(segment) = parties[side].next(now_ns) {
                pipe.put(now_ns, to_right, &segment);
            }
        }
        let timers = parties.iter().filter_map(|party| party.connection.as_ref()?.due_ns());
        let Some(due_ns) = timers.chain(pipe.due_ns()).min() else { return now_ns };
        now_ns = now_ns.max(due_ns);
        while let Some((to_right, segment)) = pipe.take(now_ns) {
            if let Some(reset) = parties[usize::from(to_right)].receive(now_ns, &segment) {
                pipe.put(now_ns, !to_right, &reset);
            }
        }
    }
    panic!("it does not end: {:?} {:?}", parties[0].connection, parties[1].connection);
}

fn pair(settings: &TcpSettings, request: u32, response: u32, client_first: bool) -> [Party; 2] {
    let mut client = Party::new(settings, request, response, false, client_first);
    client.connection = Some(Connection::open(Start { sequence: 0xffff_ff00, clock_offset: 5 }));
    [client, Party::new(settings, response, request, true, !client_first)]
}

fn flags(party: &Party) -> Vec<String> {
    let text = |(_, segment): &(u64, Segment)| format!("{} {}", segment.flags, segment.data_bytes);
    party.sent.iter().map(text).collect()
}

/// The handshake's last segment goes alone, as a kernel's does; the answer carries the acknowledgment of the question.
#[test]
fn a_short_exchange_has_seven_segments() {
    let mut parties = pair(&TcpSettings::default(), 100, 200, false);
    play(&mut parties, Weather::FAIR, 1);
    assert_eq!(
        flags(&parties[0]),
        ["SYN 0", "ACK 0", "PSH,ACK 100", "FIN,ACK 0"].map(String::from)
    );
    assert_eq!(flags(&parties[1]), ["SYN,ACK 0", "FIN,PSH,ACK 200", "ACK 0"].map(String::from));
    assert_eq!(
        (parties[0].ends.clone(), parties[1].ends.clone()),
        (vec![End::Closed], vec![End::Closed])
    );
}

/// RFC 6298: 1 s, then twice as long each time; six repetitions, and the end at 127 s (`tcp_syn_retries`).
#[test]
fn nobody_answers() {
    let mut parties = pair(&TcpSettings::default(), 1, 1, false);
    let end_ns = play(&mut parties, Weather { loss: 1_000, ..Weather::FAIR }, 1);
    let at: Vec<u64> = parties[0].sent.iter().map(|(at, _)| at / SECOND - 7).collect();
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 63]);
    assert_eq!((end_ns / SECOND - 7, parties[0].ends.clone()), (127, vec![End::TimedOut]));
}

/// Linux since 6.5 repeats four times at the same distance first.
#[test]
fn linear_timeouts_come_first() {
    let settings = TcpSettings { syn_linear: 4, ..TcpSettings::default() };
    let mut parties = pair(&settings, 1, 1, false);
    play(&mut parties, Weather { loss: 1_000, ..Weather::FAIR }, 1);
    let at: Vec<u64> = parties[0].sent.iter().map(|(at, _)| at / SECOND - 7).collect();
    assert_eq!(at, [0, 1, 2, 3, 4, 5, 7]);
}

#[test]
fn a_reset_refuses_a_connection() {
    let mut parties = pair(&TcpSettings::default(), 1, 1, false);
    parties[1].answers = false;
    play(&mut parties, Weather::FAIR, 1);
    assert_eq!(parties[0].ends, [End::Reset]);
}

/// What a middlebox says to see whether we are real: a SYN-ACK with a wrong acknowledgment. RFC 9293 3.10.7.3: a reset,
/// and the connection goes on waiting.
#[test]
fn a_wrong_syn_ack_is_reset_and_survived() {
    let settings = TcpSettings::default();
    let mut client = Connection::open(Start { sequence: 1_000, clock_offset: 0 });
    let (syn, _) = client.next(&settings, 0).unwrap();
    let mut answer = Segment {
        sequence: 50,
        acknowledgment: 5_000,
        flags: TcpFlags::SYN | TcpFlags::ACK,
        window: 1_000,
        ..Segment::default()
    };
    let outcome = client.receive(&settings, 1, &answer);
    assert_eq!(outcome, Outcome { refused: true, ..Outcome::default() });
    let reset = stray_reset(&answer).unwrap();
    assert_eq!((reset.flags, reset.sequence), (TcpFlags::RST, 5_000));
    answer.acknowledgment = syn.sequence + 1;
    assert!(client.receive(&settings, 2, &answer).connected);
}

/// SYNPROXY: the cookie comes with window 0, and the window only when the server behind it has been reached.
#[test]
fn a_shut_window_is_waited_for_and_asked_after() {
    let settings = TcpSettings::default();
    let mut client = Connection::open(Start { sequence: 1_000, clock_offset: 0 });
    client.next(&settings, 0).unwrap();
    let mut answer = Segment {
        sequence: 50,
        acknowledgment: 1_001,
        flags: TcpFlags::SYN | TcpFlags::ACK,
        ..Segment::default()
    };
    assert!(client.receive(&settings, MS, &answer).connected);
    client.say(100);
    client.watch_window(&settings, MS);
    assert_eq!(client.next(&settings, MS).unwrap().0.flags, TcpFlags::ACK);
    assert!(client.next(&settings, MS).is_none(), "the window is shut");
    let due_ns = client.due_ns().unwrap();
    assert_eq!(client.timer(&settings, due_ns), None);
    let (probe, _) = client.next(&settings, due_ns).unwrap();
    assert_eq!((probe.sequence, probe.flags, probe.data_bytes), (1_000, TcpFlags::ACK, 0));
    answer = Segment { sequence: 51, flags: TcpFlags::ACK, window: 500, ..answer };
    client.receive(&settings, due_ns, &answer);
    let (data, _) = client.next(&settings, due_ns).unwrap();
    assert_eq!((data.sequence, data.data_bytes), (1_001, 100));
}

/// Three acknowledgments of the same byte bring the lost segment at once, long before the timer.
#[test]
fn a_lost_segment_comes_again_after_three_duplicates() {
    let settings = TcpSettings::default();
    let mut parties = pair(&settings, 10, 20 * 1_448, false);
    let [client, server] = &mut parties;
    let mut now_ns = SECOND;
    let mut lost = 0;
    for _ in 0..40 {
        now_ns += MS;
        while let Some(segment) = client.next(now_ns) {
            server.receive(now_ns, &segment);
        }
        while let Some(segment) = server.next(now_ns) {
            if segment.data_at == 2 * 1_448 && lost == 0 {
                lost += 1;
            } else {
                client.receive(now_ns, &segment);
            }
        }
    }
    assert_eq!((lost, client.heard, server.repeated), (1, 20 * 1_448, 1));
    assert!(now_ns < SECOND + 200 * MS, "no timer was needed");
}

#[test]
fn both_open_at_once() {
    let settings = TcpSettings::default();
    let mut one = Connection::open(Start { sequence: 1, clock_offset: 0 });
    let mut two = Connection::open(Start { sequence: 100, clock_offset: 0 });
    let (first, second) = (one.next(&settings, 0).unwrap().0, two.next(&settings, 0).unwrap().0);
    one.receive(&settings, 1, &second);
    two.receive(&settings, 1, &first);
    let (first, second) = (one.next(&settings, 1).unwrap().0, two.next(&settings, 1).unwrap().0);
    assert_eq!(
        (first.flags, second.flags),
        (TcpFlags::SYN | TcpFlags::ACK, TcpFlags::SYN | TcpFlags::ACK)
    );
    assert!(one.receive(&settings, 2, &second).connected);
    assert!(two.receive(&settings, 2, &first).connected);
    assert_eq!((one.state(), two.state()), (State::Established, State::Established));
}

/// A blind attacker's reset, SYN or old acknowledgment ends nothing (RFC 5961).
#[test]
fn what_may_be_forged_is_challenged() {
    let settings = TcpSettings::default();
    let mut parties = pair(&settings, 10, 10, true);
    let [client, server] = &mut parties;
    let syn = client.next(SECOND).unwrap();
    server.receive(SECOND, &syn);
    let answer = server.next(SECOND).unwrap();
    client.receive(SECOND, &answer);
    client.next(SECOND);
    let connection = client.connection.as_mut().unwrap();
    let base = Segment { sequence: answer.sequence.wrapping_add(1), ..Segment::default() };
    let forged = [
        Segment { sequence: base.sequence.wrapping_add(9), flags: TcpFlags::RST, ..base },
        Segment { flags: TcpFlags::SYN, ..base },
        Segment { flags: TcpFlags::ACK, acknowledgment: syn.sequence.wrapping_add(9_999), ..base },
    ];
    let mut now_ns = SECOND;
    for segment in forged {
        now_ns += SECOND;
        assert_eq!(connection.receive(&settings, now_ns, &segment), Outcome::default());
        assert_eq!(connection.state(), State::Established);
        while let Some((challenge, _)) = connection.next(&settings, now_ns) {
            assert!(challenge.has(TcpFlags::ACK), "{challenge:?}");
        }
    }
    let reset = Segment { flags: TcpFlags::RST, ..base };
    assert_eq!(connection.receive(&settings, now_ns, &reset).end, Some(End::Reset));
}

fn settings() -> impl Strategy<Value = TcpSettings> {
    let bits = any::<(bool, bool, bool)>();
    let sizes = (
        prop::sample::select(vec![100_u16, 536, 1_460]),
        prop::sample::select(vec![3_000_u32, 65_535, 1 << 20]),
    );
    (bits, sizes).prop_map(|((timestamps, sack, window_scale), (mss, window_bytes))| TcpSettings {
        timestamps,
        sack,
        window_scale,
        mss,
        window_bytes,
        ..TcpSettings::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Every byte arrives once, and both ends end well, in weather that loses up to one in ten.
    #[test]
    fn what_is_said_is_heard(
        settings in settings(),
        request in 0_u32..5_000,
        response in 0_u32..60_000,
        client_first in any::<bool>(),
        loss in 0_u64..=100,
        doubled in 0_u64..=100,
        jitter_ms in 0_u64..=30,
        seed in any::<u64>(),
    ) {
        let weather = Weather { loss, doubled, delay_ns: 10 * MS, jitter_ns: jitter_ms * MS };
        let mut parties = pair(&settings, request, response, client_first);
        play(&mut parties, weather, seed);
        let [client, server] = &parties;
        prop_assert_eq!((client.heard, server.heard), (response, request));
        prop_assert_eq!((client.connected, server.connected), (1, 1));
        prop_assert_eq!(client.ends.len(), 1);
        prop_assert_eq!(server.ends.len(), 1);
        prop_assert!(client.connection.is_none() && server.connection.is_none());
    }

    /// Nothing that arrives makes it panic, or grow beyond its numbers.
    #[test]
    fn no_segment_is_too_strange(
        segments in prop::collection::vec(
            (
                (any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>()),
                (0_u32..3_000, any::<Option<(u32, u32)>>(), 0_u64..3),
            ),
            1..60,
        ),
        near in any::<bool>(),
        server in any::<bool>(),
    ) {
        let settings = TcpSettings::default();
        let start = Start { sequence: 0xffff_ff00, clock_offset: 5 };
        let syn = Segment { sequence: 77, flags: TcpFlags::SYN, window: 100, ..Segment::default() };
        let mut connection =
            if server { Connection::accept(&settings, start, &syn) } else { Connection::open(start) };
        connection.say(10_000);
        let mut now_ns = 0;
        for ((sequence, acknowledgment, flags, window), (data_bytes, timestamps, step)) in segments {
            now_ns += step * 700 * MS;
            let (sequence, acknowledgment) = if near {
                (77_u32.wrapping_add(sequence % 4_000), 0xffff_ff00_u32.wrapping_add(acknowledgment % 4_000))
            } else {
                (sequence, acknowledgment)
            };
            let options = Options { timestamps: timestamps.filter(|_| !near), ..Options::default() };
            let flags = TcpFlags(flags);
            let segment = Segment { sequence, acknowledgment, flags, window, options, data_bytes, data_at: 0 };
            connection.receive(&settings, now_ns, &segment);
            if connection.due_ns().is_some_and(|due| due <= now_ns) {
                connection.timer(&settings, now_ns);
            }
            if acknowledgment % 3 == 0 {
                connection.finish();
            }
            let mut sent = 0;
            while connection.next(&settings, now_ns).is_some() {
                sent += 1;
                prop_assert!(sent < 1_000);
            }
            prop_assert!(connection.una <= connection.nxt && connection.nxt <= connection.max);
        }
    }
}
