//! Sockets alone on their queue.

use std::thread;
use std::time::Duration;

use af_xdp::{BusyPoll, Mode, Rung, SetupError, Socket, SocketConfig, Statistics, nic};

use crate::support::namespace::in_namespace;
use crate::support::{area, bind, config, impatient};

#[test]
fn copy_mode_is_bound_and_read_back() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let mut socket = bind(&area, "a", 1);
        assert_eq!((socket.mode(), socket.rung()), (Mode::Copy, Rung::DriverCopy));
        assert_eq!((socket.ifindex(), socket.queue()), (nic::ifindex("a").unwrap(), 1));
        assert_eq!((socket.fill.entries(), socket.completion.entries()), (64, 128));
        assert_eq!((socket.rx.entries(), socket.tx.entries()), (64, 128));
        assert_eq!((socket.fill.free(), socket.tx.free()), (64, 128));
        assert_eq!((socket.rx.available(), socket.completion.available()), (0, 0));
        assert_eq!(socket.statistics().unwrap(), Statistics::default());
        assert!(socket.tx_needs_wake(), "copy mode sends inside the call");
        assert!(!socket.wait(Duration::ZERO).unwrap());
    });
}

#[test]
fn skb_rung_is_bound_in_copy_mode() {
    in_namespace(|_| {
        let config = SocketConfig { rung: Rung::Skb, ..config() };
        let ifindex = nic::ifindex("lo").unwrap();
        let socket = Socket::bind(&area(), None, ifindex, 0, &config).unwrap();
        assert_eq!((socket.mode(), socket.rung()), (Mode::Copy, Rung::Skb));
    });
}

#[test]
fn tx_budget_in_force_lies_between_the_kernels_ends() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let ifindex = nic::ifindex("a").unwrap();
        let in_force = |tx_budget, tx_entries| {
            let config = SocketConfig { tx_budget, tx_entries, ..config() };
            Socket::bind(&area, None, ifindex, 0, &config).unwrap().tx_budget()
        };
        if in_force(64, 128) == 32 {
            eprintln!("SKIPPED: this kernel has no tx budget");
            return;
        }
        assert_eq!(in_force(64, 128), 64);
        assert_eq!(in_force(0, 128), 32);
        assert_eq!(in_force(1000, 128), 128);
        assert_eq!(in_force(1000, 16), 32);
    });
}

#[test]
fn busy_polling_can_be_switched_on() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let busy_poll = Some(BusyPoll { busy_poll_us: 20, budget: 64 });
        let config = SocketConfig { busy_poll, ..config() };
        let ifindex = nic::ifindex("a").unwrap();
        let socket = Socket::bind(&area(), None, ifindex, 0, &config).unwrap();
        assert!(socket.wake_rx().is_ok());
    });
}

#[test]
fn busy_queue_is_named_at_once_or_waited_for() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let ifindex = nic::ifindex("a").unwrap();
        let first = bind(&area, "a", 0);
        let error = Socket::bind(&area, None, ifindex, 0, &impatient()).unwrap_err();
        assert!(matches!(&error, SetupError::QueueBusy { queue: 0, .. }), "{error}");
        assert!(error.to_string().contains("queue 0 of a (ifindex "), "{error}");
        assert!(!error.is_rung_refusal());

        // The other queue is free; and this one is, once its socket goes while we wait.
        drop(bind(&area, "a", 1));
        let closer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(first);
        });
        let second = Socket::bind(&area, None, ifindex, 0, &config()).unwrap();
        closer.join().unwrap();
        assert_eq!(second.mode(), Mode::Copy);
    });
}

#[test]
fn queue_is_free_again_after_each_close() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        for _ in 0..10 {
            drop(bind(&area, "a", 0));
        }
    });
}

#[test]
fn strong_handle_keeps_the_socket_open_and_a_weak_one_does_not() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let ifindex = nic::ifindex("a").unwrap();
        let socket = bind(&area, "a", 0);
        let strong = socket.handle();
        let weak = strong.downgrade();
        drop(socket);
        assert!(weak.upgrade().is_some());
        assert_eq!(strong.statistics().unwrap(), Statistics::default());
        let error = Socket::bind(&area, None, ifindex, 0, &impatient()).unwrap_err();
        assert!(matches!(error, SetupError::QueueBusy { .. }), "{error}");

        drop(strong);
        assert!(weak.upgrade().is_none());
        drop(bind(&area, "a", 0));
    });
}
