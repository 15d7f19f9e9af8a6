//! Fragments of IPv6: as they are where nothing is tracked, else put together to be judged and sent on as they came.

use super::*;

const TRACKED: Sizes = Sizes { always_track: true, ..Sizes::ONE };

/// A datagram of 40 bytes in pieces of 16, 16 and 8.
fn pieces(id: u32) -> (Packet6, [Packet6; 3]) {
    let whole = Packet6::udp((ALICE6, 1), (BOB6, 2), &[3; 32]);
    let all = [(0..16, true), (16..32, true), (32..40, false)];
    let all = all.map(|(range, more)| whole.piece(range, more, id));
    (whole, all)
}

fn inject(world: &mut World, worker: usize, packet: &Packet6) -> usize {
    let frame = from_alice(packet);
    let bytes = frame.len();
    world.inject(worker, EAST, frame);
    bytes
}

#[test]
fn untracked_they_pass_each_as_it_is() {
    let mut world = world6(Sizes::ONE);
    for piece in pieces(7).1 {
        goes_through(&mut world, &piece);
    }
    world.shut_down();
}

#[test]
fn tracked_they_wait_for_each_other_and_leave_in_order() {
    let mut world = world6(TRACKED);
    let (_, [first, middle, last]) = pieces(7);
    // Each has a hop limit of its own; the first one's counts.
    let [middle, last] = [middle, last].map(|piece| Packet6 { hop_limit: 9, ..piece });
    let mut held = 0;
    for piece in [&last, &first] {
        let bytes = inject(&mut world, 0, piece);
        held += 1;
        assert_eq!(world.expect(&[In(0, 1, bytes), Count(Counter::Held, 1)]), []);
    }
    // The same again is useless.
    let bytes = inject(&mut world, 0, &last);
    world.expect(&[In(0, 1, bytes), Drop(DropReason::Reassembly, 1)]);
    let bytes = inject(&mut world, 0, &middle);
    let sizes: usize = [&first, &middle, &last].map(|piece| from_alice(piece).len()).iter().sum();
    let left = world.expect(&[In(0, 1, bytes), Count(Counter::Held, -held), Out(1, 3, sizes)]);
    let routed = [first, middle, last].map(|piece| {
        let piece = Packet6 { hop_limit: 63, ..piece };
        (WEST, from_weir(WEST, BOB6, &piece))
    });
    assert_eq!(left, routed);
    assert_eq!(world.engine(0).conntrack().len(), 1);
    assert_eq!(world.engine(0).conntrack().stats().invalid, 0, "with its checksum");
    world.shut_down();
}

#[test]
fn overlaps_and_late_ones_are_dropped() {
    let mut world = world6(TRACKED);
    let (whole, [first, ..]) = pieces(7);
    let overlap = whole.piece(8..24, true, 7);
    let bytes = inject(&mut world, 0, &first);
    world.expect(&[In(0, 1, bytes), Count(Counter::Held, 1)]);
    let bytes = inject(&mut world, 0, &overlap);
    world.expect(&[In(0, 1, bytes), Count(Counter::Held, -1), Drop(DropReason::Reassembly, 2)]);
    // Of another datagram: it waits for a minute.
    let bytes = inject(&mut world, 0, &pieces(8).1[0]);
    world.expect(&[In(0, 1, bytes), Count(Counter::Held, 1)]);
    world.now_ns += 59_999_000_000;
    world.expect(&[]);
    world.now_ns += 1_000_000;
    world.expect(&[Count(Counter::Held, -1), Drop(DropReason::Reassembly, 1)]);
    // Not the last, and no multiple of eight bytes.
    let bytes = inject(&mut world, 0, &whole.piece(0..15, true, 9));
    world.expect(&[In(0, 1, bytes), Drop(DropReason::Reassembly, 1)]);
    world.shut_down();
}

#[test]
fn behind_other_headers_and_with_several_workers_they_find_each_other() {
    let mut world = world6(Sizes { always_track: true, ..Sizes::TWO });
    for id in 0..16 {
        // The destination options are part of what was cut up.
        let mut whole =
            Packet6::udp((ALICE6, 1000 + u16::try_from(id).expect("small")), (BOB6, 2), &[3; 32]);
        whole.payload.splice(0..0, [17, 0, 1, 4, 0, 0, 0, 0]);
        whole.next = 60;
        let all =
            [(0..16, true), (16..48, false)].map(|(range, more)| whole.piece(range, more, id));
        let hop_by_hop = |mut piece: Packet6| {
            piece.extensions.splice(0..0, [44, 0, 5, 2, 0, 0, 1, 0]);
            Packet6 { next: 0, ..piece }
        };
        let all = all.map(hop_by_hop);
        for (worker, piece) in all.iter().enumerate() {
            inject(&mut world, worker, piece);
        }
        world.settle();
        let routed = all.map(|piece| (WEST, from_weir(WEST, BOB6, &piece.routed())));
        assert_eq!(world.left_by_port(), routed);
    }
    let each = [0, 1].map(|worker| world.engine(worker).conntrack().len());
    assert_eq!(each.iter().sum::<usize>(), 16);
    assert!(each.iter().all(|flows| *flows > 0), "{each:?}");
    let invalid = [0, 1].map(|worker| world.engine(worker).conntrack().stats().invalid);
    assert_eq!(invalid, [0, 0]);
    world.shut_down();
}

#[test]
fn a_datagram_whose_largest_piece_is_too_big_is_answered_once() {
    let mut world = world6(TRACKED);
    let whole = Packet6::udp((ALICE6, 1), (ip6("2001:db8:71::1"), 2), &[3; 1400]);
    let [first, last] =
        [(0..1280, true), (1280..1408, false)].map(|(range, more)| whole.piece(range, more, 7));
    let mut bytes = [0; 2];
    bytes[0] = inject(&mut world, 0, &first);
    world.expect(&[In(0, 1, bytes[0]), Count(Counter::Held, 1)]);
    bytes[1] = inject(&mut world, 0, &last);
    let error = refuse::error([2, 0], 1300, &whole);
    let left = world.expect(&[
        In(0, 1, bytes[1]),
        Count(Counter::Held, -1),
        Drop(DropReason::MtuExceeded, 2),
        Count(Counter::Originated, 1),
        Out(0, 1, error.len()),
    ]);
    assert_eq!(left, [(EAST, error)]);
    world.shut_down();
}
