//! One UMEM over several queues and devices.

use af_xdp::{Mode, RxWake, SetupError, Socket, TxWake, nic};

use crate::support::namespace::in_namespace;
use crate::support::{area, bind, config, impatient};

#[test]
fn one_umem_serves_two_devices_with_two_queues() {
    in_namespace(|namespace| {
        namespace.veth("a", "a-far");
        namespace.veth("b", "b-far");
        let area = area();
        let mut sockets = vec![bind(&area, "a", 0)];
        for (ifname, queue) in [("a", 1), ("b", 0), ("b", 1)] {
            // Through the one bound last, so that the first has no special part.
            let share = sockets.last().unwrap().handle();
            let ifindex = nic::ifindex(ifname).unwrap();
            let socket = Socket::bind(&area, Some(&share), ifindex, queue, &config()).unwrap();
            assert_eq!((socket.mode(), socket.queue()), (Mode::Copy, queue));
            sockets.push(socket);
        }
        // The first one may go, and its queue be bound again.
        drop(sockets.remove(0));
        let share = sockets[0].handle();
        let ifindex = nic::ifindex("a").unwrap();
        assert!(Socket::bind(&area, Some(&share), ifindex, 0, &config()).is_ok());
    });
}

#[test]
fn sharing_needs_the_same_area_and_another_queue() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let (area, other) = (area(), area());
        let first = bind(&area, "a", 0);
        let share = first.handle();
        let ifindex = nic::ifindex("a").unwrap();
        let error = Socket::bind(&other, Some(&share), ifindex, 1, &config()).unwrap_err();
        assert!(matches!(error, SetupError::AreaMismatch { queue: 1, .. }), "{error}");
        let error = Socket::bind(&area, Some(&share), ifindex, 0, &config()).unwrap_err();
        assert!(matches!(error, SetupError::QueueBusy { queue: 0, .. }), "{error}");
    });
}

#[test]
fn queue_of_another_umem_is_busy_for_a_shared_bind_too() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let (area, other) = (area(), area());
        let first = bind(&area, "a", 0);
        let _second = bind(&other, "b", 0);
        let ifindex = nic::ifindex("b").unwrap();
        let share = Some(first.handle());
        let error = Socket::bind(&area, share.as_ref(), ifindex, 0, &impatient()).unwrap_err();
        assert!(matches!(error, SetupError::QueueBusy { queue: 0, .. }), "{error}");
    });
}

#[test]
fn socket_of_a_deleted_device_shares_no_more_but_any_other_does() {
    in_namespace(|namespace| {
        namespace.veth("a", "a-far");
        namespace.veth("b", "b-far");
        let area = area();
        let first = bind(&area, "a", 0);
        let b = nic::ifindex("b").unwrap();
        let second = Socket::bind(&area, Some(&first.handle()), b, 0, &config()).unwrap();

        namespace.ip("link del dev a");
        assert_eq!(first.wake_tx().unwrap(), TxWake::DeviceGone);
        assert_eq!(first.wake_rx().unwrap(), RxWake::DeviceGone);
        assert!(first.statistics().is_ok());
        namespace.veth("a", "a-far");
        let a = nic::ifindex("a").unwrap();
        let error = Socket::bind(&area, Some(&first.handle()), a, 0, &config()).unwrap_err();
        assert!(matches!(error, SetupError::SharedGone { queue: 0, .. }), "{error}");
        let reborn = Socket::bind(&area, Some(&second.handle()), a, 0, &config()).unwrap();
        assert_eq!((reborn.mode(), reborn.ifindex()), (Mode::Copy, a));
        drop(first);
        assert_eq!(reborn.wake_tx().unwrap(), TxWake::Done);
    });
}

#[test]
fn device_that_is_down_says_so_and_comes_back() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let socket = bind(&area(), "a", 0);
        assert_eq!(socket.wake_tx().unwrap(), TxWake::Done);
        namespace.ip("link set dev a down");
        assert_eq!(socket.wake_tx().unwrap(), TxWake::DeviceDown);
        assert_eq!(socket.wake_rx().unwrap(), RxWake::DeviceDown);
        namespace.ip("link set dev a up");
        assert_eq!(socket.wake_tx().unwrap(), TxWake::Done);
        assert_eq!(socket.wake_rx().unwrap(), RxWake::Done);
    });
}
