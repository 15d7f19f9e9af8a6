//! What the limiter pushes, and what it hears back.

use std::net::IpAddr;

use weir_dataplane::early_drop::{
    ANY_PORT, Condition, ConditionNumber, Counted, EarlyDrop, FOR_EVER, Feedback, Hook, Net,
    PushRefusal, Pushed,
};
use weir_dataplane::program::PacketCount;

use crate::frame;
use crate::lists::{NOW_NS, net, set_conditions};
use crate::model::Model;
use crate::spec::{SIZES, condition};

const SECOND_NS: u64 = 1_000_000_000;

fn pushed(source: &str) -> Pushed {
    let source = net(source);
    Pushed {
        source,
        acceptance: 1 << 24,
        until_ns: NOW_NS + SECOND_NS,
        condition: condition(source),
    }
}

fn lists() -> (Model, EarlyDrop<Model>) {
    let model = Model::new(SIZES);
    let mut lists = EarlyDrop::new(model.clone(), SIZES);
    set_conditions(&mut lists);
    (model, lists)
}

/// What becomes of one push.
fn push(lists: &mut EarlyDrop<Model>, source: &str) -> Result<(), PushRefusal> {
    lists.push(&[pushed(source)], NOW_NS).expect("maps")[0]
}

#[test]
fn what_is_pushed_is_thrown_for_and_counted() {
    let (model, mut lists) = lists();
    assert_eq!(push(&mut lists, "10.0.0.1"), Ok(()));
    let source: IpAddr = [10, 0, 0, 1].into();
    let frame = frame::from(source);
    let bytes = frame.len() as u64;
    assert!(!model.drops(source, &frame, NOW_NS, (1 << 24) - 1), "below its acceptance");
    assert!(model.drops(source, &frame, NOW_NS, 1 << 24));
    assert!(!model.drops(source, &frame, NOW_NS + SECOND_NS, u32::MAX), "it is over");
    let arp = frame::ethernet(0x0806, &[0; 28]);
    assert!(!model.drops(source, &arp, NOW_NS, u32::MAX), "the condition is not met");

    let number = condition(net("10.0.0.1"));
    let counted = |packets| Counted {
        source: net("10.0.0.1"),
        condition: number,
        dropped: PacketCount { packets, bytes: packets * bytes },
    };
    let feedback = |counted: &[Counted], gone: &[Net]| Feedback {
        counted: counted.to_vec(),
        gone: gone.to_vec(),
    };
    assert_eq!(lists.feedback(NOW_NS).expect("maps"), feedback(&[counted(1)], &[]));
    assert_eq!(lists.feedback(NOW_NS).expect("maps"), Feedback::default(), "once");

    // Renewed, it counts on; taken back, what is just being counted is not lost.
    assert_eq!(push(&mut lists, "10.0.0.1"), Ok(()));
    assert!(model.drops(source, &frame, NOW_NS, u32::MAX));
    lists.take_back(&[net("10.0.0.1")], NOW_NS).expect("maps");
    assert!(!model.drops(source, &frame, NOW_NS, u32::MAX));
    assert_eq!(lists.feedback(NOW_NS).expect("maps"), feedback(&[counted(1)], &[]));
    assert_eq!(lists.feedback(NOW_NS + SECOND_NS).expect("maps"), Feedback::default());
    assert_eq!(lists.dropped().expect("maps"), counted(2).dropped);
}

#[test]
fn the_limiter_hears_of_what_ends_by_itself() {
    let (_, mut lists) = lists();
    for source in ["10.0.0.1", "10.1.0.0/16", "10.2.0.1", "10.3.0.1", "fd00::1"] {
        assert_eq!(push(&mut lists, source), Ok(()), "{source}");
    }
    lists.block(net("10.0.0.1"), FOR_EVER, None, NOW_NS).expect("room");
    lists.allow(net("10.1.5.1"), FOR_EVER, None, NOW_NS).expect("room");
    lists.take_back(&[net("10.2.0.1")], NOW_NS).expect("maps");
    assert_eq!(lists.feedback(NOW_NS).expect("maps").gone, [net("10.0.0.1"), net("10.1.0.0/16")]);
    lists.set_condition(condition(net("fd00::1")), None, NOW_NS).expect("maps");
    lists.tick(NOW_NS + SECOND_NS).expect("maps");
    assert_eq!(lists.feedback(NOW_NS).expect("maps").gone, [net("fd00::1"), net("10.3.0.1")]);
    assert_eq!(lists.pushed_len(), 0);
}

#[test]
fn a_push_that_could_not_be_kept_is_refused() {
    let (_, mut lists) = lists();
    lists.block(net("10.1.0.0/16"), FOR_EVER, None, NOW_NS).expect("room");
    lists.allow(net("10.2.0.1"), FOR_EVER, None, NOW_NS).expect("room");
    assert_eq!(push(&mut lists, "10.3.0.0/24"), Ok(()));
    assert_eq!(push(&mut lists, "10.4.0.1"), Ok(()));
    for (source, refusal) in [
        ("10.1.0.0/16", PushRefusal::Blocked),
        ("10.1.2.3", PushRefusal::Blocked),
        ("10.0.0.0/8", PushRefusal::Blocked),
        ("10.2.0.1", PushRefusal::Allowed),
        ("10.2.0.0/24", PushRefusal::Allowed),
        ("10.3.0.1", PushRefusal::Overlaps),
        ("10.3.0.0/16", PushRefusal::Overlaps),
        ("10.4.0.0/24", PushRefusal::Overlaps),
    ] {
        assert_eq!(push(&mut lists, source), Err(refusal), "{source}");
    }
    let over = Pushed { until_ns: NOW_NS, ..pushed("10.5.0.1") };
    let never = Pushed { until_ns: FOR_EVER, ..over };
    let other_family = Pushed { condition: condition(net("::1")), ..pushed("10.5.0.1") };
    let third = ConditionNumber::all().nth(2).expect("a third");
    let unknown = Pushed { condition: third, ..pushed("10.5.0.1") };
    let another_s = Pushed { condition: third, ..pushed("10.4.0.1") };
    let meaning = Condition {
        destination_ports: (80, 80),
        ..Condition::any(Hook::Forward, net("0.0.0.0/0"))
    };
    let outcomes = lists.push(&[over, never, other_family, unknown], NOW_NS).expect("maps");
    assert_eq!(
        outcomes,
        [
            PushRefusal::Until,
            PushRefusal::Until,
            PushRefusal::NoCondition,
            PushRefusal::NoCondition
        ]
        .map(Err)
    );
    lists.set_condition(third, Some(meaning), NOW_NS).expect("maps");
    assert_eq!(lists.push(&[another_s], NOW_NS).expect("maps"), [Err(PushRefusal::Overlaps)]);
    assert_eq!(meaning.source_ports, ANY_PORT);
}

#[test]
fn the_operator_comes_before_the_limiter_where_there_is_no_room() {
    let (_, mut lists) = lists();
    for last in 1..=6_u8 {
        let end =
            Pushed { until_ns: NOW_NS + u64::from(10 - last), ..pushed(&format!("10.0.0.{last}")) };
        assert_eq!(lists.push(&[end], NOW_NS).expect("maps"), [Ok(())]);
    }
    assert_eq!(push(&mut lists, "10.0.0.7"), Err(PushRefusal::Full));
    lists
        .block(net("10.0.0.8"), FOR_EVER, None, NOW_NS)
        .expect("the one that ends first gives way");
    assert_eq!(lists.feedback(NOW_NS).expect("maps").gone, [net("10.0.0.6")]);
}
