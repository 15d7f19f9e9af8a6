//! Why live frames cannot be sent.

use std::io;

/// Each says why, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum LiveFramesError {
    /// The kernel or the rights of this process do not allow our programs.
    #[error(
        "live frames on {interface}: the kernel does not load our programs: {source}; they take Linux 5.18 with BTF \
         (CONFIG_DEBUG_INFO_BTF), and CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: be root, or use --engine af-xdp"
    )]
    Load {
        /// The interface.
        interface: String,
        /// Why.
        source: libbpf_rs::Error,
    },
    /// The device that holds the program in the kernel's dispatcher.
    #[error(
        "live frames on {interface}: no TUN device to hold the program by: {source}; `modprobe tun`, or use --engine af-xdp"
    )]
    Hold {
        /// The interface.
        interface: String,
        /// Why.
        source: af_xdp::SetupError,
    },
    /// A run of the program failed.
    #[error(
        "live frames on {interface}: the kernel refuses the run: {source}; use --engine af-xdp"
    )]
    Run {
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// The device took none of the frames that were tried.
    #[error(
        "live frames on {interface}: the device takes no redirected frames. Of a veth pair the other end has to run an \
         XDP program in the driver, or GRO there: `ethtool -K OTHER-END gro on`; other drivers need ndo_xdp_xmit. Or use \
         --engine af-xdp"
    )]
    NotTaken {
        /// The interface.
        interface: String,
    },
    /// The ports of this run are no devices of the kernel's.
    #[error("live frames: these ports are no devices of the kernel")]
    NoDevice,
}
