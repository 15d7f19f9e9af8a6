//! The sockets: asking the kernel for its tables, hearing of changes, asking for neighbours.
//!
//! Caveats of netlink(7) that shape this file:
//!
//! * Notices are dropped when the socket's buffer is full, and the next receive says `ENOBUFS`: from then on the mirror
//!   is wrong until it has read everything again.
//! * A dump comes in many pieces. When a table changes between two, the kernel sets `NLM_F_DUMP_INTR` on one of them:
//!   entries may be missing or double, so the dump is done again, a bounded number of times.
//! * Routes are listed without the lock that changes hold. A notice that comes before the change it tells of is done
//!   would lead to a list of what was; so the lock is waited for first.
//! * A namespace is that of the thread which opens the socket; which thread uses it later does not matter.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::Change;
use super::stale::Part;

/// The kernel fills at most 32 KiB per receive in a dump; a notice is one page or so.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long the kernel may take to go on with a dump.
const DUMP_PATIENCE: Duration = Duration::from_secs(5);

/// How often an interrupted dump is done again.
const DUMP_ATTEMPTS_MAX: usize = 20;

/// `RTNLGRP_LINK`, `_NEIGH`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV4_RULE`, `_NEXTHOP` (`linux/rtnetlink.h`).
const GROUPS: [u32; 6] = [1, 3, 5, 7, 8, 32];

/// `RTNLGRP_IPV6_IFADDR`, `_IPV6_ROUTE`, `_IPV6_RULE`.
const GROUPS6: [u32; 3] = [9, 11, 19];

/// `RTM_NEWNEXTHOP` and `RTM_DELNEXTHOP`, which the parser does not know.
const NEXTHOP_MESSAGES: [u16; 2] = [104, 105];

/// What one receive brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Messages, all handed over.
    Messages,
    /// Nothing is queued.
    Nothing,
    /// Notices were lost, or one could not be read.
    Lost,
}

/// The mirror's two sockets. Notices come on one, so that answers never wait behind them on the other.
#[derive(Debug)]
pub(crate) struct Netlink {
    notices: Socket,
    requests: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    /// Whether IPv6 is followed, too.
    ipv6: bool,
}

impl Netlink {
    /// Opens the sockets in the calling thread's network namespace and subscribes. `notices_bytes` is how much may
    /// queue up before notices are lost.
    pub(crate) fn open(notices_bytes: usize, ipv6: bool) -> io::Result<Self> {
        let mut notices = Socket::new(NETLINK_ROUTE)?;
        notices.bind_auto()?;
        // Beyond the system's limit takes CAP_NET_ADMIN; without it, the limit has to do.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&notices, notices_bytes).is_err()
        {
            let bytes = i32::try_from(notices_bytes).unwrap_or(i32::MAX);
            notices.set_rx_buf_sz(bytes)?;
        }
        for group in GROUPS.into_iter().chain(GROUPS6.into_iter().filter(|_| ipv6)) {
            notices.add_membership(group)?;
        }
        notices.set_non_blocking(true)?;
        let mut requests = Socket::new(NETLINK_ROUTE)?;
        requests.bind_auto()?;
        requests.set_non_blocking(true)?;
        Ok(Self { notices, requests, buffer: vec![0; BUFFER_BYTES], sequence: 0, ipv6 })
    }

    /// Waits until something happens: a notice, an answer, or `bell` becomes readable. `None` waits for ever.
    pub(crate) fn wait(
        &self,
        bell: rustix::fd::BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let mut fds = [
            PollFd::new(&self.notices, PollFlags::IN),
            PollFd::new(&self.requests, PollFlags::IN),
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
        ];
        poll_for(&mut fds, timeout).map(drop)
    }

    /// Hands over the changes that one queued datagram tells of.
    pub(crate) fn notices(&mut self, mut take: impl FnMut(Change)) -> io::Result<Received> {
        let bytes = match receive(&self.notices, &mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) if is(&error, rustix::io::Errno::NOBUFS) => return Ok(Received::Lost),
            Err(error) => return Err(error),
        };
        let mut received = Received::Messages;
        let (nexthops, others): (Vec<_>, Vec<_>) = raw_messages(&self.buffer[..bytes])
            .partition(|raw| raw.is_some_and(|raw| NEXTHOP_MESSAGES.contains(&kind_of(raw))));
        if !nexthops.is_empty() {
            take(Change::Nexthop);
        }
        for message in others.into_iter().map(|raw| raw.and_then(parse)) {
            match message {
                Some(NetlinkMessage {
                    header,
                    payload: NetlinkPayload::InnerMessage(inner),
                    ..
                }) => {
                    if let Some(change) = Change::parse(inner, header.flags) {
                        take(change);
                    }
                }
                Some(NetlinkMessage { payload: NetlinkPayload::Overrun(_), .. }) | None => {
                    received = Received::Lost;
                }
                Some(_) => {}
            }
        }
        Ok(received)
    }

    /// Reads a part of the kernel's tables. `begin` is called before each attempt, `take` for each entry.
    pub(crate) fn dump<T>(
        &mut self,
        part: Part,
        target: &mut T,
        begin: impl Fn(&mut T),
        mut take: impl FnMut(&mut T, Change),
    ) -> io::Result<()> {
        if matches!(part, Part::Routes | Part::Routes6) {
            // The kernel says first that an interface is down, and drops its routes then.
            self.wait_for_change()?;
        }
        for _ in 0..DUMP_ATTEMPTS_MAX {
            begin(target);
            self.drain_answers();
            self.sequence = self.sequence.wrapping_add(1);
            let request = dump_request(part, self.ipv6);
            let request = encode(request, NLM_F_REQUEST | NLM_F_DUMP, self.sequence);
            self.requests.send_to(&request, &SocketAddr::new(0, 0), 0)?;
            if self.take_dump(|change| take(target, change))? {
                return Ok(());
            }
        }
        Err(io::Error::new(ErrorKind::Interrupted, "it changed during every attempt to read it"))
    }

    /// Receives a dump to its end; false when it was interrupted.
    fn take_dump(&mut self, mut take: impl FnMut(Change)) -> io::Result<bool> {
        let mut whole = true;
        loop {
            let bytes = self.receive_answer()?;
            for message in messages(&self.buffer[..bytes]) {
                // An entry that cannot be read is left out: reading again would not mend it.
                let Some(message) = message else { continue };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => {
                        // A dump lists routes of one key in their order.
                        if let Some(change) = Change::parse(inner, NLM_F_APPEND) {
                            take(change);
                        }
                    }
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                    }
                    NetlinkPayload::Done(_) => return Ok(whole),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// Which table the kernel finds the route to one of its own addresses in. `None` when it finds none.
    pub(crate) fn table_of(&mut self, address: Ipv4Addr) -> io::Result<Option<u32>> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.header.flags = RouteFlags::LookupTable;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
        let answer = self.ask(RouteNetlinkMessage::GetRoute(message))?;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = answer else {
            return Ok(None);
        };
        let given = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
        Ok(Some(given.unwrap_or(route.header.table.into())))
    }

    /// Waits until the kernel has ended the change that it is in the middle of. Describing an interface takes the lock
    /// that every change holds (RTNL), so the answer comes after it.
    fn wait_for_change(&mut self) -> io::Result<()> {
        let mut message = LinkMessage::default();
        // The loopback interface. Were it missing, the answer would be an error, and come as late.
        message.header.index = 1;
        self.ask(RouteNetlinkMessage::GetLink(message)).map(drop)
    }

    /// Asks for one thing and returns the answer, which may be an error of the kernel's.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<NetlinkPayload<RouteNetlinkMessage>> {
        self.drain_answers();
        self.sequence = self.sequence.wrapping_add(1);
        let request = encode(message, NLM_F_REQUEST, self.sequence);
        self.requests.send_to(&request, &SocketAddr::new(0, 0), 0)?;
        loop {
            let bytes = self.receive_answer()?;
            let answer = messages(&self.buffer[..bytes])
                .flatten()
                .find(|message| message.header.sequence_number == self.sequence);
            if let Some(answer) = answer {
                return Ok(answer.payload);
            }
        }
    }

    /// Waits for a datagram of answers and receives it.
    fn receive_answer(&mut self) -> io::Result<usize> {
        loop {
            let mut fds = [PollFd::new(&self.requests, PollFlags::IN)];
            if poll_for(&mut fds, Some(DUMP_PATIENCE))? == 0 {
                return Err(io::Error::new(ErrorKind::TimedOut, "the kernel does not answer"));
            }
            match receive(&self.requests, &mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// Tells the kernel that these neighbours, given as (interface, address), are in use: it resolves those it does
    /// not know and confirms those it has not heard of for a while. Failures come later, as answers.
    pub(crate) fn use_neighbours(&mut self, neighbours: &[(u32, IpAddr)]) -> io::Result<()> {
        // Half a buffer's worth of messages of less than 64 bytes each.
        for chunk in neighbours.chunks(BUFFER_BYTES / 128) {
            let mut datagram = Vec::with_capacity(chunk.len() * 64);
            for &(ifindex, address) in chunk {
                datagram.extend(use_neighbour(ifindex, address));
            }
            self.requests.send_to(&datagram, &SocketAddr::new(0, 0), 0)?;
        }
        Ok(())
    }

    /// Throws away answers to requests of which only failures are answered; returns how many there were.
    pub(crate) fn drain_answers(&mut self) -> u64 {
        let mut failures = 0;
        // Its end is `WouldBlock`; any other error shows up at the next request.
        while let Ok(bytes) = receive(&self.requests, &mut self.buffer) {
            failures += messages(&self.buffer[..bytes])
                .flatten()
                .filter(|message| matches!(message.payload, NetlinkPayload::Error(_)))
                .count() as u64;
        }
        failures
    }
}

fn is(error: &io::Error, errno: rustix::io::Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// `poll(2)`, in which a signal counts as nothing having happened.
fn poll_for(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(fds.len()),
        other => Ok(other?),
    }
}

/// Receives one datagram from the kernel; what others send is skipped.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut room = &mut *buffer;
        let (bytes, sender) = socket.recv_from(&mut room, libc::MSG_TRUNC)?;
        if bytes > buffer.len() {
            // As good as lost.
            return Err(rustix::io::Errno::NOBUFS.into());
        }
        if sender.port_number() == 0 {
            return Ok(bytes);
        }
    }
}

/// The messages of a datagram, parsed; `None` for one that cannot be read.
pub(crate) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Option<NetlinkMessage<RouteNetlinkMessage>>> {
    raw_messages(datagram).map(|raw| raw.and_then(parse))
}

fn parse(raw: &[u8]) -> Option<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(raw).ok()
}

fn kind_of(raw: &[u8]) -> u16 {
    NetlinkBuffer::new_checked(&raw).map_or(0, |buffer| buffer.message_type())
}

/// The messages of a datagram; `None` and the end where it makes no sense.
fn raw_messages(mut datagram: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Some(message) = first_message(datagram) else {
            datagram = &[];
            return Some(None);
        };
        let padded = message.len().next_multiple_of(4).min(datagram.len());
        datagram = &datagram[padded..];
        Some(Some(message))
    })
}

/// The bytes of the first message, when its header is sound.
fn first_message(datagram: &[u8]) -> Option<&[u8]> {
    let length = NetlinkBuffer::new_checked(&datagram).ok()?.length();
    datagram.get(..usize::try_from(length).ok()?)
}

/// Of both families, where the kernel lists them at one time and `ipv6` says so.
fn dump_request(part: Part, ipv6: bool) -> RouteNetlinkMessage {
    let family = if ipv6 { AddressFamily::Unspec } else { AddressFamily::Inet };
    match part {
        Part::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
        Part::Addresses => {
            let mut message = AddressMessage::default();
            message.header.family = family;
            RouteNetlinkMessage::GetAddress(message)
        }
        Part::Rules => {
            let mut message = RuleMessage::default();
            message.header.family = family;
            RouteNetlinkMessage::GetRule(message)
        }
        Part::Routes | Part::Routes6 => {
            let six = part == Part::Routes6;
            let mut message = RouteMessage::default();
            message.header.address_family =
                if six { AddressFamily::Inet6 } else { AddressFamily::Inet };
            RouteNetlinkMessage::GetRoute(message)
        }
        Part::Neighbours => {
            let mut message = NeighbourMessage::default();
            message.header.family = family;
            RouteNetlinkMessage::GetNeighbour(message)
        }
    }
}

/// `NTF_USE` has the kernel treat the neighbour as if it were sending to it (`neigh_add` in `net/core/neighbour.c`);
/// `NLM_F_CREATE` lets it be a new one. No acknowledgement is asked for.
fn use_neighbour(ifindex: u32, address: IpAddr) -> Vec<u8> {
    let mut message = NeighbourMessage::default();
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = ifindex;
    message.header.flags = NeighbourFlags::Use;
    message.attributes.push(NeighbourAttribute::Destination(address));
    encode(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REQUEST | NLM_F_CREATE, 0)
}

pub(crate) fn encode(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
