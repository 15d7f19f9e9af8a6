//! What does not work says why and what to do.

use std::thread;

use af_xdp::{Mode, Rung, SetupError, Socket, SocketConfig, nic};

use crate::support::namespace::in_namespace;
use crate::support::{area, bind, config, impatient};

#[test]
fn zero_copy_is_refused_by_the_driver() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let ifindex = nic::ifindex("a").unwrap();
        let zero_copy = SocketConfig { rung: Rung::DriverZeroCopy, ..config() };
        let error = Socket::bind(&area, None, ifindex, 0, &zero_copy).unwrap_err();
        let SetupError::DriverWithout { queue: 0, rung: Rung::DriverZeroCopy, source, .. } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(source.raw_os_error(), Some(libc::EOPNOTSUPP));
        assert!(error.is_rung_refusal());
        let expected = format!(
            "bind to queue 0 of a (ifindex {ifindex}) in mode driver zero-copy: \
             the driver refuses ("
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        // The next rung is not disturbed by the attempt.
        drop(bind(&area, "a", 0));
    });
}

#[test]
fn shared_mode_that_differs_is_a_mismatch() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let first = bind(&area, "a", 0);
        let ifindex = nic::ifindex("b").unwrap();
        let zero_copy = SocketConfig { rung: Rung::DriverZeroCopy, ..config() };
        let error = Socket::bind(&area, Some(&first.handle()), ifindex, 0, &zero_copy).unwrap_err();
        assert!(
            matches!(
                &error,
                SetupError::ModeMismatch {
                    queue: 0,
                    wanted: Rung::DriverZeroCopy,
                    got: Mode::Copy,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.is_rung_refusal());
        let again = Socket::bind(&area, Some(&first.handle()), ifindex, 0, &config()).unwrap();
        assert_eq!(again.mode(), Mode::Copy);
    });
}

#[test]
fn queue_that_does_not_exist_is_named_with_those_that_do() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let first = bind(&area, "b", 0);
        for (ifname, queue, expected, share) in [
            ("a", 2, 2, None),
            ("a", u32::MAX, 2, None),
            ("a", 7, 2, Some(first.handle())),
            ("lo", 1, 1, None),
        ] {
            let ifindex = nic::ifindex(ifname).unwrap();
            let error =
                Socket::bind(&area, share.as_ref(), ifindex, queue, &impatient()).unwrap_err();
            let SetupError::NoSuchQueue { queue: named, queues, .. } = error else {
                panic!("{error}");
            };
            assert_eq!((named, queues), (queue, expected));
        }
    });
}

#[test]
fn device_that_does_not_exist_is_named() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let area = area();
        let first = bind(&area, "a", 0);
        for share in [None, Some(first.handle())] {
            let error = Socket::bind(&area, share.as_ref(), 999_999, 0, &impatient()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "ifindex 999999: no such device in this network namespace; \
                 ip link shows those there are"
            );
        }
    });
}

#[test]
fn bad_ring_size_is_refused_before_the_kernel_is_asked() {
    let config = SocketConfig { tx_entries: 100, ..config() };
    let error = Socket::bind(&area(), None, 1, 0, &config).unwrap_err();
    assert!(matches!(error, SetupError::RingSize { ring: "tx", entries: 100 }), "{error}");
}

#[test]
fn missing_capability_is_named() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let ifindex = nic::ifindex("a").unwrap();
        let error = thread::spawn(move || {
            // The raw call changes this thread only, where the C library's would change the
            // process.
            // SAFETY: takes no pointers.
            let failed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(failed, 0, "setresuid: {}", std::io::Error::last_os_error());
            Socket::bind(&area(), None, ifindex, 0, &config()).map(drop).unwrap_err()
        })
        .join()
        .unwrap();
        assert!(matches!(error, SetupError::NoCapability { .. }), "{error}");
        let expected = format!(
            "open an AF_XDP socket for queue 0 of a (ifindex {ifindex}): not permitted; \
             run as root, or"
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
    });
}
