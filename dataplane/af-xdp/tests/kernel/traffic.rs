//! Frames through sockets.

use std::time::Duration;

use af_xdp::{AttachMode, Desc, Rung, Socket, SocketConfig, Statistics, TxWake, nic};

use crate::support::bpf::Steering;
use crate::support::frames::{frame, lend, read, receive, send, write};
use crate::support::namespace::in_namespace;
use crate::support::{area, bind, config, eventually};

/// alice -- a [forwarder] b -- bob: received on one device, sent on the other from the same chunk.
#[test]
fn frames_cross_two_devices_without_leaving_their_chunk() {
    in_namespace(|namespace| {
        namespace.veth("a", "alice");
        namespace.veth("b", "bob");
        let far = area();
        let mut alice = bind(&far, "alice", 1);
        let bob = nic::ifindex("bob").unwrap();
        let mut bob = Socket::bind(&far, Some(&alice.handle()), bob, 0, &config()).unwrap();
        let bob_steering = Steering::attach("bob", AttachMode::Driver);
        bob_steering.add(&bob);
        lend(&mut bob, 100..164);

        let area = area();
        let mut a = bind(&area, "a", 1);
        let b = nic::ifindex("b").unwrap();
        let mut b = Socket::bind(&area, Some(&a.handle()), b, 0, &config()).unwrap();
        let a_steering = Steering::attach("a", AttachMode::Driver);
        a_steering.add(&a);
        lend(&mut a, 0..64);

        for round in 0..8_u8 {
            let frames: Vec<Vec<u8>> = (0..5).map(|i| frame(round * 5 + i)).collect();
            let descs: Vec<Desc> =
                (0..).zip(&frames).map(|(chunk, bytes)| write(&far, chunk, bytes)).collect();
            let sent = send(&mut alice, &descs);
            assert_eq!(sent, descs.iter().map(|desc| desc.addr).collect::<Vec<_>>());

            let received = receive(&mut a, 5);
            for (desc, bytes) in received.iter().zip(&frames) {
                assert_eq!(&read(&area, *desc), bytes);
                assert_eq!((desc.addr % 4096, desc.is_continued()), (256, false));
            }
            let sent = send(&mut b, &received);
            assert_eq!(sent, received.iter().map(|desc| desc.addr).collect::<Vec<_>>());
            // The kernel rounds the address down to the chunk when it is lent again.
            let mut slots = a.fill.reserve(5);
            assert_eq!(slots.extend(sent), 5);
            slots.submit();

            for (desc, bytes) in receive(&mut bob, 5).iter().zip(&frames) {
                assert_eq!(&read(&far, *desc), bytes);
            }
        }
        for socket in [&alice, &a, &b, &bob] {
            let statistics = socket.statistics().unwrap();
            let looked_at_empty = statistics.tx_ring_empty_descs;
            assert_eq!(
                statistics,
                Statistics { tx_ring_empty_descs: looked_at_empty, ..Statistics::default() }
            );
        }
    });
}

#[test]
fn each_queue_receives_its_own_frames() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let (near, far) = (area(), area());
        let steering = Steering::attach("b", AttachMode::Driver);
        let ifindex = |name| nic::ifindex(name).unwrap();
        let mut senders = vec![bind(&near, "a", 0)];
        let share = senders[0].handle();
        senders.push(Socket::bind(&near, Some(&share), ifindex("a"), 1, &config()).unwrap());
        let mut receivers = vec![bind(&far, "b", 0)];
        let share = receivers[0].handle();
        receivers.push(Socket::bind(&far, Some(&share), ifindex("b"), 1, &config()).unwrap());
        for (socket, chunks) in receivers.iter_mut().zip([0..32, 32..64]) {
            steering.add(socket);
            lend(socket, chunks);
        }
        for (queue, serial) in [(0, 10), (1, 11)] {
            let desc = write(&near, queue, &frame(serial));
            let queue = queue as usize;
            send(&mut senders[queue], &[desc]);
            let received = receive(&mut receivers[queue], 1);
            assert_eq!(read(&far, received[0]), frame(serial));
            assert_eq!(receivers[1 - queue].rx.available(), 0);
        }
    });
}

#[test]
fn skb_rung_and_the_socket_without_need_wakeup_carry_frames() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let (near, far) = (area(), area());
        let config = SocketConfig { rung: Rung::Skb, need_wakeup: false, ..config() };
        let ifindex = |name| nic::ifindex(name).unwrap();
        let mut sender = Socket::bind(&near, None, ifindex("a"), 0, &config).unwrap();
        let mut receiver = Socket::bind(&far, None, ifindex("b"), 0, &config).unwrap();
        let steering = Steering::attach("b", AttachMode::Skb);
        steering.add(&receiver);
        lend(&mut receiver, 0..8);
        send(&mut sender, &[write(&near, 3, &frame(42))]);
        assert!(receiver.wait(Duration::from_secs(10)).unwrap());
        let received = receive(&mut receiver, 1);
        assert_eq!(read(&far, received[0]), frame(42));
    });
}

#[test]
fn one_wake_sends_up_to_the_budget() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let ifindex = nic::ifindex("a").unwrap();
        let desc = write(&area, 0, &frame(1));
        for (tx_budget, left) in [(32, 68), (64, 36), (128, 0)] {
            let config = SocketConfig { tx_budget, ..config() };
            let mut socket = Socket::bind(&area, None, ifindex, 0, &config).unwrap();
            if socket.tx_budget() != tx_budget {
                eprintln!("SKIPPED: this kernel has no tx budget");
                return;
            }
            let mut slots = socket.tx.reserve(100);
            assert_eq!(slots.extend(std::iter::repeat(desc)), 100);
            slots.submit();
            let expected = if left == 0 { TxWake::Done } else { TxWake::Again };
            assert_eq!(socket.wake_tx().unwrap(), expected);
            assert_eq!(socket.tx.pending(), left, "budget {tx_budget}");
        }
    });
}

#[test]
fn mistakes_and_shortages_are_counted() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let (near, far) = (area(), area());
        let mut sender = bind(&near, "a", 0);
        let mut receiver = bind(&far, "b", 0);
        let steering = Steering::attach("b", AttachMode::Driver);
        steering.add(&receiver);

        // A descriptor behind the area, and one across two chunks: neither is sent. The kernel
        // stops behind each, and a further wake-up goes on. Some kernels return such addresses on
        // the completion ring, others never.
        let bad = [Desc::new(near.bytes() as u64, 60), Desc::new(4090, 60)];
        let mut slots = sender.tx.reserve(2);
        slots.extend(bad);
        slots.submit();
        eventually("count", || {
            assert!(sender.wake_tx().is_ok());
            (sender.statistics().unwrap().tx_invalid_descs == 2).then_some(())
        });
        let returned = sender.completion.peek(8);
        assert!(returned.len() <= 2);
        assert!(returned.iter().all(|addr| bad.iter().any(|desc| desc.addr == addr)));
        returned.release();
        assert_eq!(receiver.statistics().unwrap(), Statistics::default());

        // No chunk to receive into, and then one outside the area, which the kernel skips: packets
        // are lost alike.
        let lost = |receiver: &Socket, count| {
            eventually("count", || {
                let now = receiver.statistics().unwrap();
                let expected =
                    Statistics { rx_dropped: count, rx_fill_ring_empty_descs: count, ..now };
                (now == expected).then_some(())
            });
        };
        send(&mut sender, &[write(&near, 0, &frame(1))]);
        lost(&receiver, 1);
        let mut slots = receiver.fill.reserve(1);
        slots.extend([far.bytes() as u64]);
        slots.submit();
        send(&mut sender, &[write(&near, 0, &frame(2))]);
        lost(&receiver, 2);
        assert_eq!((receiver.rx.available(), receiver.fill.pending()), (0, 0));
    });
}

#[test]
fn packets_beyond_the_rx_ring_are_counted_and_their_chunks_used_later() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let (near, far) = (area(), area());
        let mut sender = bind(&near, "a", 0);
        let ifindex = nic::ifindex("b").unwrap();
        let config = SocketConfig { rx_entries: 16, ..config() };
        let mut receiver = Socket::bind(&far, None, ifindex, 0, &config).unwrap();
        let steering = Steering::attach("b", AttachMode::Driver);
        steering.add(&receiver);
        lend(&mut receiver, 0..20);
        let descs: Vec<Desc> = (0..20_u8).map(|i| write(&near, u32::from(i), &frame(i))).collect();
        send(&mut sender, &descs);
        eventually("count", || (receiver.statistics().unwrap().rx_ring_full == 4).then_some(()));
        let received = receive(&mut receiver, 16);
        for (serial, desc) in (0..).zip(&received) {
            assert_eq!(read(&far, *desc), frame(serial));
        }
        // Four chunks are neither on a ring nor ours: the kernel keeps them for the next packets.
        assert_eq!(receiver.rx.available(), 0);
        send(&mut sender, &descs[..4]);
        let mut chunks: Vec<Option<u32>> = received
            .into_iter()
            .chain(receive(&mut receiver, 4))
            .map(|desc| far.chunk_of(desc.addr))
            .collect();
        chunks.sort_unstable();
        assert_eq!(chunks, (0..20).map(Some).collect::<Vec<_>>());
        assert_eq!(
            receiver.statistics().unwrap(),
            Statistics { rx_ring_full: 4, ..Statistics::default() }
        );
    });
}
