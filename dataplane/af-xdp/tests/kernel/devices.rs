//! Questions about devices, and programs attached to them.

use std::os::fd::AsFd;

use af_xdp::nic::{self, Queues};
use af_xdp::{AttachMode, Link};

use crate::support::bpf::pass_program;
use crate::support::namespace::in_namespace;

#[test]
fn veth_answers() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        namespace.ip("link set dev a address 02:00:00:00:00:0a mtu 3000");
        let ifindex = nic::ifindex("a").unwrap();
        assert_eq!(nic::name(ifindex).unwrap(), "a");
        assert_eq!(nic::queues("a").unwrap(), Queues { rx: 2, tx: 2 });
        assert_eq!(nic::driver("a").unwrap(), "veth");
        assert_eq!(nic::mtu("a").unwrap(), 3000);
        assert_eq!(nic::mac("a").unwrap(), [2, 0, 0, 0, 0, 0x0a]);
        assert!(nic::is_up("a").unwrap());
        namespace.ip("link set dev a down");
        assert!(!nic::is_up("a").unwrap());
    });
}

#[test]
fn longest_possible_name_works() {
    in_namespace(|namespace| {
        namespace.ip("link add name fifteen-letters type veth peer name b");
        let ifindex = nic::ifindex("fifteen-letters").unwrap();
        assert_eq!(nic::name(ifindex).unwrap(), "fifteen-letters");
        assert_eq!(nic::driver("fifteen-letters").unwrap(), "veth");
        assert_eq!(nic::queues("fifteen-letters").unwrap(), Queues { rx: 1, tx: 1 });
    });
}

#[test]
fn link_holds_the_device_until_it_is_dropped() {
    in_namespace(|namespace| {
        namespace.veth("a", "b");
        let program = pass_program();
        let ifindex = nic::ifindex("a").unwrap();
        for mode in [AttachMode::Driver, AttachMode::Skb] {
            let link = Link::attach(program.as_fd(), ifindex, mode).unwrap();
            let error = Link::attach(program.as_fd(), ifindex, mode).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
            drop(link);
        }
    });
}

#[test]
fn driver_without_xdp_takes_the_skb_mode_only() {
    in_namespace(|_| {
        let program = pass_program();
        let ifindex = nic::ifindex("lo").unwrap();
        let error = Link::attach(program.as_fd(), ifindex, AttachMode::Driver).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
        assert!(Link::attach(program.as_fd(), ifindex, AttachMode::Skb).is_ok());
        let error = Link::attach(program.as_fd(), 999_999, AttachMode::Skb).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}
