//! What can go wrong with the XDP program, and what to do about it.

use std::io;

use super::attached::Place;
use super::netlink::Refusal;
use super::{LOCAL_ADDRESSES_MAX, QUEUES_MAX};
use crate::early_drop::Sizes;

/// Why the XDP program could not be loaded, attached, removed or spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The kernel or libbpf refused to load the program.
    #[error("cannot load the XDP program: {source}; {}", load_remedy(.source))]
    Load {
        /// What libbpf says. Its log, the verifier's included, goes to tracing.
        source: libbpf_rs::Error,
    },
    /// The maps of early drop could not be made.
    #[error(
        "cannot make the XDP program's maps for [early_drop] sources_max = {}, prefixes_max = {}: {source}; {}",
        .sizes.sources_max, .sizes.prefixes_max, load_remedy(.source)
    )]
    EarlyMaps {
        /// The sizes.
        sizes: Sizes,
        /// What libbpf says.
        source: libbpf_rs::Error,
    },
    /// There is no such interface, or it vanished.
    #[error("interface {ifname} (index {ifindex}) does not exist; `ip link` lists those that do")]
    NoInterface {
        /// Name the caller gave.
        ifname: String,
        /// Index the caller gave.
        ifindex: u32,
    },
    /// A program that is not Weir's sits on the interface. Weir never removes it unasked.
    #[error(
        "interface {ifname} already has the XDP program {name:?} (id {id}, {place}{}), which is \
         not Weir's; {}",
        by_link(*.link), foreign_remedy(.ifname, *.place, *.link)
    )]
    Foreign {
        /// The interface.
        ifname: String,
        /// The program's name as the kernel knows it (at most 15 bytes).
        name: String,
        /// The program's id (`bpftool prog show id N`).
        id: u32,
        /// Where it sits.
        place: Place,
        /// Id of the bpf_link that holds it, if one does.
        link: Option<u32>,
    },
    /// A program of Weir's sits there by a bpf_link, so its process lives (or somebody pinned the
    /// link).
    #[error(
        "interface {ifname} is in use by another Weir (XDP program id {id}, {place}, bpf_link id \
         {link}); stop that one first, \
         `bpftool link show id {link}` names its process"
    )]
    InUse {
        /// The interface.
        ifname: String,
        /// The program's id.
        id: u32,
        /// Where it sits.
        place: Place,
        /// Id of the bpf_link that holds it.
        link: u32,
    },
    /// A program is attached, but the kernel does not let us see whose it is.
    #[error(
        "interface {ifname} already has an XDP program (id {id}, {place}) and it cannot be \
         inspected: {source}; looking at \
         programs of others needs CAP_SYS_ADMIN: start as root, or remove it (`ip link set dev \
         {ifname} xdp off`)"
    )]
    Inspect {
        /// The interface.
        ifname: String,
        /// The program's id.
        id: u32,
        /// Where it sits.
        place: Place,
        /// What libbpf says.
        source: libbpf_rs::Error,
    },
    /// The kernel did not say what is attached.
    #[error("cannot ask the kernel which XDP program interface {ifname} has: {source}")]
    Query {
        /// The interface.
        ifname: String,
        /// What netlink said.
        source: io::Error,
    },
    /// The kernel or the driver refused the program.
    #[error(
        "cannot attach the XDP program to {ifname} ({place}): {refusal}; {}",
        attach_remedy(.ifname, *.place, &.refusal.error)
    )]
    Attach {
        /// The interface.
        ifname: String,
        /// Where it should have sat.
        place: Place,
        /// What the kernel said.
        refusal: Refusal,
    },
    /// The kernel refused to take the program off.
    #[error(
        "cannot remove Weir's XDP program from {ifname} ({place}): {refusal}; by hand: `ip link \
         set dev {ifname} xdp off`"
    )]
    Remove {
        /// The interface.
        ifname: String,
        /// Where it sits.
        place: Place,
        /// What the kernel said.
        refusal: Refusal,
    },
    /// More local addresses than the program's map holds. Nothing was changed.
    #[error(
        "{count} local {family} addresses are more than the XDP program holds \
         ({LOCAL_ADDRESSES_MAX})"
    )]
    TooManyAddresses {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// How many different ones were given.
        count: usize,
    },
    /// A queue number beyond the socket map.
    #[error("rx queue {queue} is out of range: the XDP program serves queues 0 to {}; `ethtool \
     -L` reduces the number of queues", QUEUES_MAX - 1)]
    Queue {
        /// The queue.
        queue: u32,
    },
    /// A map of the program could not be read or written.
    #[error("XDP program: {action}: {source}")]
    Map {
        /// What was being done.
        action: &'static str,
        /// What libbpf says.
        source: libbpf_rs::Error,
    },
    /// The program could not be run on a packet of ours.
    #[error(
        "cannot test-run the XDP program on {bytes} bytes (14 to about 3,500 are possible): \
         {source}"
    )]
    TestRun {
        /// Length of the packet.
        bytes: usize,
        /// What libbpf says.
        source: libbpf_rs::Error,
    },
}

fn load_remedy(error: &libbpf_rs::Error) -> &'static str {
    match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => {
            "run as root, or give the process CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (programs), and CAP_NET_RAW \
             (AF_XDP sockets); in a container also a seccomp profile that allows bpf(2)"
        }
        libbpf_rs::ErrorKind::OutOfMemory => {
            "raise the memory limit of the service (systemd: MemoryMax)"
        }
        _ => "it needs Linux 5.11 or newer with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS",
    }
}

fn by_link(link: Option<u32>) -> String {
    link.map(|id| format!(", held by bpf_link id {id}")).unwrap_or_default()
}

fn foreign_remedy(ifname: &str, place: Place, link: Option<u32>) -> String {
    match (link, place) {
        (Some(id), _) => {
            format!("stop the process that holds the link, or `bpftool link detach id {id}`")
        }
        (None, Place::Hardware) => {
            format!("remove it with `ip link set dev {ifname} xdpoffload off`")
        }
        (None, Place::Driver | Place::Skb) => {
            format!("remove it with `ip link set dev {ifname} xdp off`")
        }
    }
}

fn attach_remedy(ifname: &str, place: Place, error: &io::Error) -> String {
    match (error.raw_os_error(), place) {
        (Some(libc::EPERM | libc::EACCES), _) => {
            "it needs root, or CAP_NET_ADMIN and CAP_BPF".to_owned()
        }
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            format!(
                "something else attached a program meanwhile, or a bond or bridge above {ifname} \
                 has one"
            )
        }
        (Some(libc::EOPNOTSUPP), Place::Driver) => {
            "the driver has no native XDP: use mode skb".to_owned()
        }
        (Some(libc::EINVAL | libc::ERANGE | libc::EMSGSIZE | libc::ENOMEM), Place::Driver) => {
            format!(
                "drivers refuse native XDP for an MTU above about 3,500, with LRO on, or when \
                 too many queues are in use: \
             `ip link set dev {ifname} mtu 1500`, `ethtool -K {ifname} lro off`, `ethtool -L \
             {ifname} combined N`; or use mode skb"
            )
        }
        _ => "the kernel log may say more (`dmesg`)".to_owned(),
    }
}
