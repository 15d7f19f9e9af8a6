//! As much of a BPF loader as the tests need: a socket map, and a program of six instructions.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_FUNC_REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;

/// `bpf(command, attributes)`.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    let (pointer, size) = (std::ptr::from_ref(attributes), size_of::<T>());
    // SAFETY: `pointer` points to `size` bytes that the kernel reads, as do the pointers in them.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size) };
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(returned).map_err(io::Error::other)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open descriptor")
}

/// One BPF instruction.
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}

/// An XSKMAP for `entries` queues.
pub(crate) fn socket_map(entries: u32) -> OwnedFd {
    let attributes = [BPF_MAP_TYPE_XSKMAP, 4, 4, entries, 0];
    let fd = bpf(BPF_MAP_CREATE, &attributes).expect("a map");
    // SAFETY: just made by the kernel.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Lets packets that come in on `queue` go to `socket`.
pub(crate) fn put(map: BorrowedFd<'_>, queue: u32, socket: BorrowedFd<'_>) {
    #[repr(C)]
    struct Update {
        map_fd: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    let value = number(socket);
    let (key, value) = (std::ptr::from_ref(&queue) as u64, std::ptr::from_ref(&value) as u64);
    let attributes = Update { map_fd: number(map).into(), key, value, flags: 0 };
    bpf(BPF_MAP_UPDATE_ELEM, &attributes).expect("a bound socket");
}

/// A program that redirects every packet to the socket of its queue, and passes it where there is
/// none.
pub(crate) fn redirect_program(map: BorrowedFd<'_>) -> OwnedFd {
    load(&[
        instruction(0x61, 0x12, 16, 0), // r2 = ctx->rx_queue_index
        instruction(0x18, 0x11, 0, map.as_raw_fd()), // r1 = map, first half
        instruction(0, 0, 0, 0),        //           second half
        instruction(0xb7, 0x03, 0, XDP_PASS), // r3 = XDP_PASS
        instruction(0x85, 0, 0, BPF_FUNC_REDIRECT_MAP), // r0 = bpf_redirect_map(r1, r2, r3)
        instruction(0x95, 0, 0, 0),     // return r0
    ])
}

/// A program that passes everything.
pub(crate) fn pass_program() -> OwnedFd {
    load(&[instruction(0xb7, 0, 0, XDP_PASS), instruction(0x95, 0, 0, 0)])
}

fn load(instructions: &[Instruction]) -> OwnedFd {
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log: [u32; 4],
    }
    let attributes = Load {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(instructions.len()).expect("a few"),
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log: [0; 4],
    };
    let fd = bpf(BPF_PROG_LOAD, &attributes).expect("a program that the verifier takes");
    // SAFETY: just made by the kernel.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A redirecting program with its map, attached until dropped.
pub(crate) struct Steering {
    map: OwnedFd,
    _link: af_xdp::Link,
}

impl Steering {
    /// Attaches to the device.
    pub(crate) fn attach(ifname: &str, mode: af_xdp::AttachMode) -> Steering {
        let map = socket_map(2);
        let program = redirect_program(map.as_fd());
        let ifindex = af_xdp::nic::ifindex(ifname).expect("the test's device");
        let link = af_xdp::Link::attach(program.as_fd(), ifindex, mode).expect("a free device");
        Steering { map, _link: link }
    }

    /// Sends the packets of the socket's queue to it.
    pub(crate) fn add(&self, socket: &af_xdp::Socket) {
        put(self.map.as_fd(), socket.queue(), socket.as_fd());
    }
}
